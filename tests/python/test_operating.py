"""What an operator has: metrics that add up, a dashboard and alerts that name what is there, doctor, status --watch, logs."""

import json
import re
import resource
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.flight as flight
import pytest
import yaml
from conftest import REPOSITORY, Server, binary, query
from conftest import run as run_program

NAME = re.compile(r"\b(?:pintail|process)_[a-z_]+\b")


def http(server: Server, path: str) -> tuple[int, str]:
    deadline = time.monotonic() + 10
    while True:
        found = re.search(r'"http":"(http://[^"]+)"', "".join(server.log))
        if found:
            break
        assert time.monotonic() < deadline, "the log names no HTTP address"
        time.sleep(0.01)
    try:
        with urllib.request.urlopen(found.group(1) + path) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(server: Server) -> dict[tuple[str, tuple], float]:
    found = {}
    for line in http(server, "/metrics")[1].splitlines():
        if not line.startswith("#") and line:
            series, value = line.rsplit(" ", 1)
            name, _, labels = series.partition("{")
            pairs = re.findall(r'(\w+)="([^"]*)"', labels)
            found[name, tuple(sorted(pairs))] = float(value)
    return found


def total(found: dict, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (known, own), value in found.items() if known == name and wanted <= set(own))


def send(client, table: str, rows: pa.Table, **headers: str) -> dict:
    options = flight.FlightCallOptions(
        headers=[(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    )
    writer, reader = client.do_put(flight.FlightDescriptor.for_path(table), rows.schema, options)
    writer.write_table(rows)
    writer.done_writing()
    answer = reader.read()
    writer.close()
    return json.loads(answer.to_pybytes())


def numbers(first: int, count: int) -> pa.Table:
    return pa.table({"id": pa.array(range(first, first + count), pa.int64())})


def test_metrics_add_up_to_what_clients_were_told(server):
    """Many clients at once: puts, retries with keys, conflicts that are left out, refusals, reads."""
    query(server.client(), "CREATE TABLE unique_ids (id BIGINT PRIMARY KEY)")

    def work(number: int) -> dict[str, int]:
        client, told = server.client(), {"rows": 0, "ok": 0, "refused": 0, "duplicate": 0, "out": 0, "ignored": 0}

        def took(answer):
            told["rows"] += answer["rows"]
            told["ok"] += 1
            told["duplicate"] += bool(answer.get("duplicate"))
            told["ignored"] += answer.get("ignored", 0)

        for turn in range(8):
            first = (number * 8 + turn) * 1000
            took(send(client, "plain", numbers(first, 100 + turn)))
            took(send(client, "keyed", numbers(first, 7), pintail_idempotency_key=f"{number}-{turn}"))
            took(send(client, "keyed", numbers(first, 7), pintail_idempotency_key=f"{number}-{turn}"))
            took(send(client, "unique_ids", numbers(turn, 3), pintail_on_conflict="ignore"))
            for bad in (numbers(0, 3), pa.table({"id": ["no number"]})):
                with pytest.raises((flight.FlightError, pa.ArrowException)):
                    send(client, "unique_ids", bad)
                told["refused"] += 1
            told["out"] += query(client, f"SELECT range AS i FROM range({turn + 1})").num_rows
        return told

    with ThreadPoolExecutor(6) as pool:
        parts = list(pool.map(work, range(6)))
    told = {key: sum(part[key] for part in parts) for key in parts[0]}
    # The last call may still be ending when its client has its answer.
    deadline = time.monotonic() + 10
    while total(found := samples(server), "pintail_calls_total", method="DoPut") < told["ok"] + told["refused"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    assert total(found, "pintail_calls_total", method="DoPut", code="OK") == told["ok"]
    assert total(found, "pintail_calls_total", method="DoPut") == told["ok"] + told["refused"]
    assert total(found, "pintail_call_seconds_count", method="DoPut") == told["ok"] + told["refused"]
    assert total(found, "pintail_rows_total", direction="in") == told["rows"]
    assert total(found, "pintail_put_rows_total") == told["rows"]
    assert total(found, "pintail_duplicate_puts_total") == told["duplicate"] == 48
    assert total(found, "pintail_put_rows_total", outcome="ignored") == told["ignored"]
    stored = sum(query(server.client(), f"SELECT count(*) AS n FROM {t}")["n"][0].as_py() for t in ("plain", "keyed", "unique_ids"))
    assert total(found, "pintail_put_rows_total", outcome="inserted") == stored
    # The statement that made the table has given one row, the count.
    assert total(found, "pintail_rows_total", direction="out") == told["out"] + 1
    for name in ("pintail_ingest_inflight_bytes", "pintail_ingest_waiting_bytes", "pintail_ingest_streams"):
        assert total(found, name) == 0, name


def test_every_metric_of_the_dashboard_and_the_alerts_is_there(server):
    client = server.client()
    send(client, "t", numbers(0, 10))
    query(client, "SELECT * FROM t")
    next(client.do_action("pintail.checkpoint"))
    # Group commits of puts that come together.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: send(server.client(), "t", numbers(n, 1)), range(32)))
    there = {name for name, _ in samples(server)}
    dashboard = json.loads((REPOSITORY / "dashboards/pintail.json").read_text())
    alerts = yaml.safe_load((REPOSITORY / "dashboards/alerts.yml").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for rule in rules]
    expressions += [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    # A background checkpoint comes when the log is quiet for a while.
    deadline = time.monotonic() + 60
    named = set().union(*(NAME.findall(expression) for expression in expressions))
    while missing := named - there:
        assert time.monotonic() < deadline, missing
        time.sleep(0.2)
        there = {name for name, _ in samples(server)}
    for rule in rules:
        assert rule["annotations"]["summary"] and rule["annotations"]["action"], rule["alert"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    documented = (REPOSITORY / "docs/operating/monitoring.md").read_text()
    base = {re.sub("_(bucket|sum|count)$", "", name) for name in there}
    assert not (undocumented := {name for name in base if name not in documented}), undocumented


def doctor(*arguments: str, files: int, cwd) -> subprocess.CompletedProcess:
    """`pintail doctor` as a process that may have this many files open."""
    limits = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # noqa: E731
    return subprocess.run(
        [binary(), "doctor", *arguments], capture_output=True, text=True, timeout=60, cwd=cwd, preexec_fn=limits
    )


def test_doctor_finds_nothing_where_nothing_is_wrong(server, tmp_path):
    query(server.client(), "CREATE TABLE t (a INT)")
    done = doctor("--server", server.uri, files=8192, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "written by DuckDB v2" in done.stdout and "WRONG" not in done.stdout
    assert re.search(r"ok +server +pintail", done.stdout) and re.search(r"ok +clock +the server's", done.stdout)


def test_doctor_says_what_is_wrong(tmp_path):
    (tmp_path / "pintail.duckdb").write_text("not a database, but long enough to have the head of one, is it not? " * 9)
    (tmp_path / "tokens.toml").write_text("")
    (tmp_path / "tokens.toml").chmod(0o644)
    (tmp_path / "pintail.toml").write_text(
        "[database]\nmemory_limit = '90000 GiB'\n[auth]\ntokens_file = 'tokens.toml'\n"
    )
    done = doctor("--offline", "--config", "pintail.toml", files=256, cwd=tmp_path)
    assert done.returncode == 1
    wrong = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("WRONG")}
    assert set(wrong) == {"open", "memory", "files", "database"}, done.stdout
    assert "ulimit -n" in wrong["open"] and "lower database.memory_limit" in wrong["memory"]
    assert "chmod go= tokens.toml" in wrong["files"] and "not a DuckDB database" in wrong["database"]
    assert "4 checks found something wrong" in done.stderr


def test_doctor_finds_a_folder_that_is_not_there(tmp_path):
    env = {"PINTAIL_DATABASE__PATH": "none/x.duckdb"}
    done = run_program("doctor", "--offline", cwd=tmp_path, env=env, check=False)
    assert done.returncode == 1
    assert "none of database.path" in done.stdout and "cannot be written to" in done.stdout


def test_status_watch_fits_a_terminal_and_shows_rates(server):
    watching = subprocess.Popen(
        [binary(), "status", "--watch", "--server", server.uri], stdout=subprocess.PIPE, text=True
    )
    try:
        client, lines = server.client(), []
        send(client, "t", numbers(0, 100_000))
        while line := watching.stdout.readline().rstrip("\n"):
            lines.append(line)
        assert all(len(line) <= 80 for line in lines), lines
        text = "\n".join(lines)
        assert "healthy" in text and re.search(r"^in +[\d,.]+ rows/s", text, re.M), text
    finally:
        watching.kill()
        watching.wait()


def test_query_explain_draws_the_plan(server):
    query(server.client(), "CREATE TABLE t AS SELECT range AS i FROM range(1000)")
    sql = "SELECT i % 7 AS k, count(*) FROM t WHERE i > 5 GROUP BY k"
    done = run_program("query", sql, "--explain", "--server", server.uri)
    assert re.search(r"└─ .*SCAN .* 994 rows", done.stdout), done.stdout
    assert re.search(r"GROUP_BY .* 7 rows", done.stdout) and " ms (" in done.stdout


def lines_of(server: Server, message: str) -> list[dict]:
    return [entry for line in list(server.log) if (entry := json.loads(line)).get("message") == message]


def until(found, what: str):
    deadline = time.monotonic() + 10
    while not (value := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return value


def test_lines_name_who_and_what_without_literals(tmp_path):
    server = Server(tmp_path, env={"PINTAIL_LOG__SLOW_QUERY_MS": "0"})
    try:
        client = server.client()
        trace = "0af7651916cd43dd8448eb211c80319c"
        options = flight.FlightCallOptions(headers=[(b"traceparent", f"00-{trace}-b7ad6b7169203331-01".encode())])
        send(client, "t", numbers(0, 1000))
        client.do_get(flight.Ticket(b"SELECT count(*) FROM t WHERE id > 471 AND 'secret' <> 'x'"), options).read_all()
        with pytest.raises(pa.ArrowException):
            client.do_get(flight.Ticket(b"SELECT 'secret'::INT")).read_all()
        calls = until(lambda: [c for c in lines_of(server, "call") if c.get("trace_id") == trace], "no line")
        call = calls[0]
        assert call["what"] == "SELECT count(*) FROM t WHERE id > ? AND ? <> ?"
        assert call["method"] == "DoGet" and call["user"] == "anonymous" and call["peer"].startswith("127.0.0.1:")
        assert call["memory_before_mib"] > 0 and call["memory_mib"] > 0 and "first_batch=" in call["stages_ms"]
        plan = until(lambda: [p for p in lines_of(server, "plan of a slow query") if p["call"] == call["call"]], "no plan")
        assert "SCAN" in plan[0]["plan"] and "id > ?" in plan[0]["plan"] and "471" not in plan[0]["plan"]
        done = lambda: {(a["action"], a["outcome"], a["tables"]) for a in lines_of(server, "audit")}  # noqa: E731
        until(lambda: {("write", "ok", "t"), ("read", "ok", "t"), ("read", "failed", "")} <= done(), "no audit")
        assert all(a["target"] == "pintail::audit" for a in lines_of(server, "audit"))
        text = "".join(server.log)
        assert "secret" not in text and "471 AND" not in text
    finally:
        server.stop()
