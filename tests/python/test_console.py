"""The console in a real browser against a real server."""

import json
import os
import re
import shutil
import time

import pyarrow as pa
import pytest
import requests
from conftest import REPOSITORY, Server, put, run

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium here; install it with: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here; make test installs it")

PAGE = (REPOSITORY / "src/flight/web/console/index.html").read_text()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
        )
        yield browser
        browser.close()


class Console:
    """A page on a server; says afterwards where its requests went and what went wrong in it."""

    def __init__(self, browser, server, **options):
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.page = self.context.new_page()
        self.requests, self.errors = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(server.http + "/")

    def run(self, sql):
        self.page.fill("#sql", sql)
        self.page.keyboard.press("Control+Enter")

    def done(self, timeout=60_000):
        self.page.wait_for_selector("#run:enabled", timeout=timeout)
        return self.page.inner_text("#status")

    def rows(self):
        rows = self.page.locator("#rows .row").all_inner_texts()
        return [[cell for cell in row.split("\n") if cell][1:] for row in rows]


@pytest.fixture
def console(browser, server):
    console = Console(browser, server)
    yield console
    assert console.errors == []
    # Nothing leaves this host.
    assert all(url.startswith((server.http, "data:")) for url in console.requests), console.requests
    console.context.close()


def test_a_typed_query_shows_its_rows(console, server):
    console.run("SELECT i, 'ü' || i AS s, 18446744073709551615::UBIGINT AS big, NULL AS n FROM range(3) t(i)")
    assert console.done().startswith("3 rows")
    big = "18446744073709551615"
    assert console.rows() == [["0", "ü0", big, "NULL"], ["1", "ü1", big, "NULL"], ["2", "ü2", big, "NULL"]]
    console.run("SELEC 1")
    console.done()
    assert "INVALID_ARGUMENT" in console.page.inner_text("#message")
    console.run("CREATE TABLE t AS SELECT 1 AS a")
    console.done()
    assert "changed" in console.page.inner_text("#message")
    # What was typed before is there after a new start of the page.
    console.page.reload()
    assert "CREATE TABLE t" in console.page.inner_text("#history")


def test_an_error_after_rows_is_told(console):
    console.run("SELECT CASE WHEN i < 900000 THEN i ELSE error('the rest is missing') END AS i FROM range(1000000) t(i)")
    console.done()
    told = console.page.inner_text("#status") + console.page.inner_text("#message")
    assert "the rest is missing" in told


def test_names_are_completed(console, server):
    put(server.client(), "measurements", pa.table({"temperature": [1.0], "place of it": ["x"]}))
    console.page.reload()
    console.page.wait_for_selector("#tables summary >> text=measurements")
    console.page.locator("#sql").press_sequentially("SELECT * FROM meas")
    console.page.wait_for_selector("#complete div >> text=measurements")
    console.page.keyboard.press("Tab")
    console.page.locator("#sql").press_sequentially(" WHERE tempe")
    console.page.wait_for_selector("#complete div >> text=temperature")
    console.page.keyboard.press("Enter")
    assert console.page.input_value("#sql") == "SELECT * FROM measurements WHERE temperature"


def test_a_million_rows_are_scrolled(console):
    console.run("SELECT i, 'sensor-' || i % 50 AS sensor, i / 7 AS value, now() AS moment FROM range(1000000) t(i)")
    assert console.done(120_000).startswith("1,000,000 rows")
    session = console.context.new_cdp_session(console.page)
    for share, expected in [(0, 0), (0.5, 500_000), (1, 999_999)]:
        console.page.evaluate(f"document.getElementById('grid').scrollTop = document.getElementById('grid').scrollHeight * {share}")
        console.page.wait_for_timeout(200)
        found = [int(row[0]) for row in console.rows()]
        assert found == list(range(found[0], found[0] + len(found)))
        assert min(abs(row - expected) for row in found) < 5_000
    assert found[-1] == 999_999
    began = time.perf_counter()
    for step in range(30):
        console.page.evaluate(f"document.getElementById('grid').scrollTop = {step} * 300000; draw()")
    assert (time.perf_counter() - began) / 30 < 0.1
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")
    held = heap["totalSize"] + heap.get("backingStorageSize", 0) + heap.get("embedderHeapUsedSize", 0)
    print(f"{held / 1e6:.0f} MB for 1,000,000 rows")
    assert held < 300e6


def test_a_running_query_is_cancelled_by_its_button(browser, server, console):
    console.run("SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = 7")
    other = Console(browser, server)
    other.page.click("#tab-activity")
    other.page.wait_for_selector("#running td.sql >> text=range(100000000)")
    other.page.click("#running button.cancel")
    console.done(20_000)
    assert "cancelled" in console.page.inner_text("#message")
    other.page.wait_for_selector("#running >> text=nothing")
    # And by the one beside the editor.
    console.run("SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = 7")
    console.page.click("#stop")
    console.done(20_000)
    assert "cancelled" in console.page.inner_text("#message")
    other.page.wait_for_selector("#running >> text=nothing")
    other.context.close()


def test_a_load_is_watched_as_it_arrives(console, server):
    console.page.click("#tab-live")
    rows = console.page.locator(".card", has_text="Rows in").first.locator(".now")
    client = server.client()
    until = time.monotonic() + 30
    while rows.inner_text() in ("", "0/s") and time.monotonic() < until:
        put(client, "arriving", pa.table({"i": list(range(10_000))}))
        console.page.wait_for_timeout(100)
    assert re.match(r"[\d,.]+/s", rows.inner_text()) and rows.inner_text() != "0/s"
    console.page.wait_for_selector("#stages >> text=append")


def test_plans_are_drawn(console):
    console.run("CREATE TABLE t AS SELECT i FROM range(1000) t(i)")
    console.done()
    console.page.fill("#sql", "SELECT i % 7, count(*) FROM t WHERE i > 5 GROUP BY ALL")
    console.page.click("#explain")
    console.page.wait_for_selector("#plan .node")
    assert console.page.locator("#plan .node").count() >= 2


def test_a_reader_sees_only_their_tables(browser, tmp_path):
    for name, role in [("root", "admin"), ("rita", "reader")]:
        password = {"PINTAIL_NEW_PASSWORD": f"{name}-password"}
        run("user", "add", name, "--role", role, "--database", "pintail.duckdb", cwd=tmp_path, env=password)
    (tmp_path / "pintail.toml").write_text('[auth]\nanonymous = "off"\n')
    server = Server(tmp_path, "--config", "pintail.toml")
    try:
        root = {"auth": ("root", "root-password"), "headers": {"content-type": "application/sql"}}
        for sql in ["CREATE TABLE open_to_all AS SELECT 1 AS a", "CREATE TABLE secrets AS SELECT 2 AS b"]:
            assert requests.post(f"{server.http}/query", data=sql, **root, timeout=60).status_code == 200
        login = {"PINTAIL_SERVER": server.uri, "PINTAIL_USER": "root", "PINTAIL_PASSWORD": "root-password"}
        run("grant", "read", "--on", "main.open_to_all", "--to", "rita", env={**login, "HOME": str(tmp_path)})
        console = Console(browser, server)
        console.page.wait_for_selector("#login[open]")
        console.page.fill("#user", "rita")
        console.page.fill("#password", "wrong")
        console.page.click("#login-go")
        console.page.wait_for_selector("#login-why >> text=wrong")
        console.page.fill("#password", "rita-password")
        console.page.click("#login-go")
        console.page.wait_for_selector("#tables summary >> text=open_to_all")
        assert "secrets" not in console.page.inner_text("#tables")
        console.run("SELECT * FROM secrets")
        console.done()
        assert "PERMISSION_DENIED" in console.page.inner_text("#message")
        console.context.close()
    finally:
        server.stop()


def test_the_page_is_small_quick_and_closed(browser, server):
    answer = requests.get(server.http + "/", timeout=60)
    assert len(answer.content) < 200_000
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert requests.get(server.http + "/", headers={"host": "evil.example"}, timeout=60).status_code == 421
    Console(browser, server).context.close()
    times = []
    for _ in range(5):
        console = Console(browser, server)
        console.page.wait_for_timeout(300)
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        times.append(console.page.evaluate(paint))
        console.context.close()
    print("first paint after", sorted(times), "ms")
    assert sorted(times)[0] < 200


def test_the_page_fits_a_phone(browser, server):
    console = Console(browser, server, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    console.run("SELECT i AS number, repeat('x', 80) AS text FROM range(100) t(i)")
    assert console.done().startswith("100 rows")
    for tab in ["live", "activity", "query"]:
        console.page.click(f"#tab-{tab}")
        assert console.page.evaluate("document.documentElement.scrollWidth") <= 360
    console.page.click("#tree-toggle")
    assert console.page.is_visible("#filter")
    console.context.close()


def luminance(color: str) -> float:
    def linear(part):
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(color[at : at + 2]) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_texts_have_the_contrast_of_wcag_aa():
    themes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root[^{]*\{([^}]*)\}", PAGE)]
    assert len(themes) == 3
    for theme in themes:
        for text in ["text", "dim", "accent", "bad", "good", "keyword", "string", "number", "comment"]:
            for ground in ["bg", "panel"]:
                light, dark = sorted([luminance(theme[text]), luminance(theme[ground])], reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground, theme[text])
        light, dark = sorted([luminance(theme["accent"]), luminance(theme["accent-text"])], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5
        light, dark = sorted([luminance(theme["text"]), luminance(theme["select"])], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_everything_is_reached_by_keys(console):
    for key, view in [("Alt+2", "live"), ("Alt+3", "activity"), ("Alt+1", "query")]:
        console.page.keyboard.press(key)
        assert console.page.is_visible(f"#view-{view}")
    console.page.keyboard.press("F1")
    assert console.page.is_visible("#keys")
    console.page.keyboard.press("Escape")
    console.page.keyboard.press("Alt+F")
    assert console.page.evaluate("document.activeElement.id") == "filter"
    console.run("SELECT 1 AS a")
    console.done()
    console.run("SELECT 2 AS a")
    console.done()
    console.page.keyboard.press("Alt+ArrowUp")
    console.page.keyboard.press("Alt+ArrowUp")
    assert console.page.input_value("#sql") == "SELECT 1 AS a"
    assert json.loads(console.page.evaluate("localStorage.getItem('pintail.history')"))[0] == "SELECT 2 AS a"
