"""The HTTP port for people without Flight: POST /query and POST /ingest, with real clients of HTTP."""

import base64
import gzip
import http.client
import io
import json
import re
import threading
import time

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import requests
from conftest import Server, run

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
SQL = {"content-type": "application/sql"}


def query(server, sql, accept=NDJSON, **headers):
    return requests.post(f"{server.http}/query", data=sql, headers={**SQL, "accept": accept, **headers}, timeout=60)


def lines(response):
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def ingest(server, table, body, kind, **headers):
    headers = {"content-type": kind, **headers}
    return requests.post(f"{server.http}/ingest/{table}", data=body, headers=headers, timeout=60)


def stream_of(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, **options) as writer:
        writer.write_table(table, 1000)
    return sink.getvalue()


def refused(response, status, code, *texts):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    for text in texts:
        assert text in error["message"], error
    return error["message"]


def test_a_result_comes_in_the_form_that_is_asked_for(server):
    sql = "SELECT i::BIGINT AS i, 'ü' || i AS s, NULLIF(i, 1) AS n FROM range(3) t(i)"
    expected = [{"i": 0, "s": "ü0", "n": 0}, {"i": 1, "s": "ü1", "n": None}, {"i": 2, "s": "ü2", "n": 2}]
    assert lines(query(server, sql)) == expected
    assert lines(query(server, sql, "*/*")) == expected
    arrow = query(server, sql, ARROW)
    assert arrow.headers["content-type"] == ARROW
    assert pa.ipc.open_stream(arrow.content).read_all().to_pylist() == expected
    packed = query(server, sql, ARROW, **{"pintail-compression": "zstd"})
    assert pa.ipc.open_stream(packed.content).read_all().to_pylist() == expected
    assert query(server, sql, CSV).text == "i,s,n\n0,ü0,0\n1,ü1,\n2,ü2,2\n"
    assert pq.read_table(io.BytesIO(query(server, sql, PARQUET).content)).to_pylist() == expected
    empty = "SELECT 1 AS a WHERE false"
    assert lines(query(server, empty)) == []
    assert query(server, empty, CSV).text == "a\n"
    assert pa.ipc.open_stream(query(server, empty, ARROW).content).read_all().num_rows == 0
    refused(query(server, sql, "text/html"), 406, "INVALID_ARGUMENT", "accept")


def test_changes_answer_how_many_rows(server):
    assert query(server, "CREATE TABLE t (i BIGINT)").json() == {"rows": 0}
    assert query(server, "INSERT INTO t SELECT * FROM range(10)").json() == {"rows": 10}
    assert query(server, "DELETE FROM t WHERE i < 4").json() == {"rows": 4}
    assert lines(query(server, "INSERT INTO t VALUES (77) RETURNING i")) == [{"i": 77}]
    assert lines(query(server, "SELECT count(*) AS n FROM t")) == [{"n": 7}]


def test_parameters_are_values(server):
    def ask(sql, parameters):
        return requests.post(f"{server.http}/query", json={"sql": sql, "parameters": parameters}, timeout=60)

    assert lines(ask("SELECT ?::BIGINT + 1 AS a, ? AS b", [41, "x'; DROP TABLE t; --"])) == [
        {"a": 42, "b": "x'; DROP TABLE t; --"}
    ]
    assert lines(ask("SELECT $a::DOUBLE AS a, $b IS NULL AS b", {"b": None, "a": 1.5})) == [{"a": 1.5, "b": True}]
    assert lines(ask("SELECT i FROM range(10) t(i) WHERE i > ?", [7])) == [{"i": 8}, {"i": 9}]
    query(server, "CREATE TABLE t (a BIGINT, b VARCHAR)")
    assert ask("INSERT INTO t VALUES (?, ?)", [1, None]).json() == {"rows": 1}
    refused(ask("SELECT ?", []), 400, "INVALID_ARGUMENT", "parameter")
    refused(ask("SELECT ?", [[1]]), 400, "INVALID_ARGUMENT", "lists")
    refused(query(server, "SELECT ?"), 400, "INVALID_ARGUMENT", "parameter")


def test_errors_have_the_status_that_fits(server):
    refused(query(server, "SELEC 1"), 400, "INVALID_ARGUMENT")
    refused(query(server, "SELECT * FROM nowhere"), 404, "NOT_FOUND", "nowhere")
    query(server, "CREATE TABLE t (i INTEGER)")
    refused(query(server, "CREATE TABLE t (i INTEGER)"), 409, "ALREADY_EXISTS")
    refused(query(server, "SELECT 1", **{"pintail-timout-ms": "1"}), 400, "INVALID_ARGUMENT", "pintail-timeout-ms")
    slow = "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = 7"
    refused(query(server, slow, **{"pintail-timeout-ms": "300"}), 504, "DEADLINE_EXCEEDED")
    plain = requests.post(f"{server.http}/query", data="SELECT 1", headers={"content-type": ""}, timeout=60)
    refused(plain, 415, "INVALID_ARGUMENT", "content-type")
    form = requests.post(f"{server.http}/query", data={"sql": "SELECT 1"}, timeout=60)
    refused(form, 415, "INVALID_ARGUMENT", "content-type")
    got = requests.get(f"{server.http}/query", timeout=60)
    assert got.status_code == 405 and got.headers["allow"] == "POST"


def test_a_result_that_breaks_never_looks_complete(server):
    """An error after the first rows: the body breaks off, and JSON lines say why in their last one."""
    sql = "SELECT CASE WHEN i < 900000 THEN i ELSE error('the rest is missing') END AS i FROM range(1000000) t(i)"
    host = server.http.removeprefix("http://")
    for accept in [NDJSON, CSV, ARROW, PARQUET]:
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("POST", "/query", sql, {**SQL, "accept": accept})
        response = connection.getresponse()
        if response.status != 200:
            # Nothing had left yet.
            assert "the rest is missing" in response.read().decode()
            continue
        got = b""
        with pytest.raises(http.client.IncompleteRead):
            while piece := response.read(1 << 16):
                got += piece
        if accept == NDJSON:
            last = json.loads(got.splitlines()[-1])
            assert "the rest is missing" in last["error"]["message"]


def test_a_client_that_leaves_stops_its_query(server):
    host = server.http.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("POST", "/query", "SELECT i, repeat('x', 100) FROM range(10000000000) t(i)", SQL)
    response = connection.getresponse()
    response.read(1 << 16)

    def running():
        return float(re.search(r"^pintail_queries_running (\S+)", requests.get(f"{server.http}/metrics").text, re.M)[1])

    assert running() == 1
    connection.close()
    response.close()
    until = time.monotonic() + 20
    while running() and time.monotonic() < until:
        time.sleep(0.05)
    assert running() == 0


def test_results_are_streamed_in_flat_memory(server):
    def resident():
        with open(f"/proc/{server.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) >> 10

    before, most, count = resident(), 0, 0
    sql = "SELECT i, repeat('x', 200) AS s FROM range(6000000) t(i)"
    with requests.post(f"{server.http}/query", data=sql, headers={**SQL, "accept": CSV}, stream=True) as response:
        for piece in response.iter_content(1 << 20):
            count += piece.count(b"\n")
            most = max(most, resident())
    assert count == 6_000_001
    assert most - before < 500, (before, most)


def test_rows_of_every_form_are_stored(server):
    table = pa.table({"i": pa.array(range(5000), pa.int64()), "s": [f"ü{i}" for i in range(5000)]})
    parquet, csv = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    pa.csv.write_csv(table, csv)
    ndjson = "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode()
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    forms = [
        (ARROW, stream_of(table)),
        (ARROW, stream_of(table, options=pa.ipc.IpcWriteOptions(compression="lz4"))),
        (PARQUET, parquet.getvalue()),
        (CSV, csv.getvalue()),
        (NDJSON, ndjson),
        ("application/vnd.apache.arrow.file", file.getvalue()),
    ]
    for number, (kind, body) in enumerate(forms):
        for name, packed, headers in [
            ("plain", body, {}),
            ("gzip", gzip.compress(body), {"content-encoding": "gzip"}),
            ("zstd", pa.compress(body, "zstd", asbytes=True), {"content-encoding": "zstd"}),
        ]:
            target = f"{name}_{number}"
            answer = ingest(server, target, packed, kind, **headers)
            assert answer.status_code == 200, (kind, answer.text)
            assert answer.json() == {"table": target, "rows": 5000, "durable": True, "duplicate": False}
            got = query(server, f"SELECT i, s FROM {target} ORDER BY i", ARROW)
            assert pa.ipc.open_stream(got.content).read_all() == table, (kind, name)


def test_tables_are_named_by_their_path(server):
    query(server, "CREATE SCHEMA s")
    assert ingest(server, "s/t", b"a\n1\n", CSV).json()["table"] == "s.t"
    assert ingest(server, "s.t", b"a\n2\n", CSV).json()["rows"] == 1
    assert lines(query(server, "SELECT a FROM s.t ORDER BY a")) == [{"a": 1}, {"a": 2}]
    refused(ingest(server, "nowhere/t", b"a\n2\n", CSV), 404, "NOT_FOUND", "nowhere")
    refused(ingest(server, "t", b"a\n1\n", CSV, **{"pintail-mode": "append"}), 404, "NOT_FOUND")


def test_text_is_held_to_the_table(server):
    query(server, "CREATE TABLE t (a INTEGER, b DATE, c VARCHAR DEFAULT 'standard')")
    answer = ingest(server, "t", b'{"b": "2024-02-29", "a": 1}\n{"a": 2, "b": null}\n', NDJSON)
    assert answer.json()["rows"] == 2
    assert lines(query(server, "SELECT * FROM t ORDER BY a")) == [
        {"a": 1, "b": "2024-02-29", "c": "standard"},
        {"a": 2, "b": None, "c": "standard"},
    ]
    refused(ingest(server, "t", b"a,b\n1,2024-01-01\n2,2023-02-29\n", CSV), 400, "INVALID_ARGUMENT", "line 3", '"b"')
    refused(ingest(server, "t", b'{"a": 1}\n{"a": "x"}\n', NDJSON), 400, "INVALID_ARGUMENT", "line 2", '"a"')
    refused(ingest(server, "t", b"x,a\n1,1\n", CSV), 400, "INVALID_ARGUMENT", '"x"')
    assert lines(query(server, "SELECT count(*) AS n FROM t")) == [{"n": 2}]


def test_headers_mean_what_they_mean_for_a_put(server):
    body = b"k,v\n1,a\n2,b\n"
    key = {"pintail-idempotency-key": "once"}
    assert ingest(server, "t", body, CSV, **key).json()["duplicate"] is False
    assert ingest(server, "t", body, CSV, **key).json()["duplicate"] is True
    refused(ingest(server, "t", b"k,v\n9,z\n", CSV, **key), 409, "ALREADY_EXISTS", "pintail-idempotency-key")
    assert lines(query(server, "SELECT count(*) AS n FROM t")) == [{"n": 2}]
    query(server, "CREATE TABLE keyed (k BIGINT PRIMARY KEY, v VARCHAR)")
    assert ingest(server, "keyed", body, CSV).json()["rows"] == 2
    refused(ingest(server, "keyed", body, CSV), 409, "FAILED_PRECONDITION", "keyed")
    answer = ingest(server, "keyed", b"k,v\n2,B\n3,c\n", CSV, **{"pintail-on-conflict": "replace"}).json()
    assert (answer["inserted"], answer["replaced"]) == (1, 1)
    assert ingest(server, "t", b"k,v\n5,e\n", CSV, **{"pintail-mode": "replace"}).json()["rows"] == 1
    assert lines(query(server, "SELECT * FROM t")) == [{"k": 5, "v": "e"}]
    refused(ingest(server, "t", body, CSV, **{"pintail-idempotancy-key": "x"}), 400, "INVALID_ARGUMENT", "did you mean")
    refused(ingest(server, "t", body, "text/html"), 415, "INVALID_ARGUMENT", "content-type")
    refused(ingest(server, "t", body, CSV, **{"content-encoding": "br"}), 415, "INVALID_ARGUMENT", "zstd")


def test_a_producer_numbers_its_batches(server):
    rows = stream_of(pa.table({"a": list(range(2500))}))
    producer = {"pintail-producer": "sensor", "pintail-epoch": "1"}
    assert ingest(server, "t?seq=0", rows, ARROW, **producer).json()["seq"] == 2
    assert ingest(server, "t?seq=0", rows, ARROW, **producer).json()["duplicate"] is True
    assert lines(query(server, "SELECT count(*) AS n FROM t")) == [{"n": 2500}]
    refused(ingest(server, "t", rows, ARROW, **producer), 400, "INVALID_ARGUMENT", "?seq=N")
    refused(ingest(server, "t?seq=3", b"a\n1\n", CSV, **producer), 400, "INVALID_ARGUMENT", "Arrow IPC stream")


def test_bodies_that_are_broken_store_nothing(server):
    whole = stream_of(pa.table({"a": list(range(5000))}))
    for body in [b"", whole[: len(whole) // 2], b"\xff" * 64, whole[:100] + b"\0" * 50]:
        answer = ingest(server, "t", body, ARROW)
        assert answer.status_code == 400, answer.text
    refused(ingest(server, "t", b"PAR1" + b"x" * 40, PARQUET), 400, "INVALID_ARGUMENT", "body")
    refused(ingest(server, "t", b"\x1f\x8bnot", CSV, **{"content-encoding": "gzip"}), 400, "INVALID_ARGUMENT")
    refused(query(server, "FROM t"), 404, "NOT_FOUND")


def test_a_client_that_leaves_stores_nothing(server):
    query(server, "CREATE TABLE t (a BIGINT)")
    host = server.http.removeprefix("http://")
    for length in [{"content-length": "1000000"}, {"transfer-encoding": "chunked"}]:
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.putrequest("POST", "/ingest/t")
        for name, value in {"content-type": CSV, **length}.items():
            connection.putheader(name, value)
        connection.endheaders()
        body = b"a\n1\n2\n"
        connection.send(b"%x\r\n%s\r\n" % (len(body), body) if "transfer-encoding" in length else body)
        time.sleep(0.2)
        connection.close()
    until = time.monotonic() + 20
    while "pintail_ingest_streams 0" not in requests.get(f"{server.http}/metrics").text and time.monotonic() < until:
        time.sleep(0.05)
    assert lines(query(server, "SELECT count(*) AS n FROM t")) == [{"n": 0}]


def test_silent_bodies_end_and_leave_room_for_others(tmp_path):
    for name in ["root", "wendy"]:
        password = {"PINTAIL_NEW_PASSWORD": f"{name}-password"}
        run("user", "add", name, "--role", "admin", "--database", "pintail.duckdb", cwd=tmp_path, env=password)
    (tmp_path / "pintail.toml").write_text('[auth]\nanonymous = "off"\n[ingest]\nidle_timeout = "4 s"\n')
    server = Server(tmp_path, "--config", "pintail.toml")
    try:
        host = server.http.removeprefix("http://")
        login = "Basic " + base64.b64encode(b"wendy:wendy-password").decode()
        silent = []
        for _ in range(12):
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.putrequest("POST", "/ingest/t")
            for name, value in {"content-type": CSV, "content-length": "1000", "authorization": login}.items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(b"a\n1\n")
            silent.append(connection)
        # Others have half of the room.
        answer = requests.post(
            f"{server.http}/ingest/u", data=b"a\n1\n", headers={"content-type": CSV}, auth=("root", "root-password"), timeout=60
        )
        assert answer.json()["rows"] == 1, answer.text
        codes = sorted(json.loads(connection.getresponse().read())["error"]["code"] for connection in silent)
        assert codes == ["DEADLINE_EXCEEDED"] * 8 + ["RESOURCE_EXHAUSTED"] * 4
    finally:
        server.stop()


def test_bodies_are_read_as_the_write_side_takes_them(server):
    """A body of 400 MB in chunks: the server's memory stays, and so does nothing on its disk but the rows."""

    def resident():
        with open(f"/proc/{server.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) >> 10

    line = b'{"a": 123456, "b": "%s"}\n' % (b"x" * 180)
    block = line * 5000
    most = [0]
    done = threading.Event()

    def watch():
        while not done.wait(0.02):
            most[0] = max(most[0], resident())

    before = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    answer = ingest(server, "t", (block for _ in range(400)), NDJSON)
    done.set()
    watcher.join()
    assert answer.json()["rows"] == 2_000_000, answer.text
    assert most[0] - before < 900, (before, most)


def test_pages_of_other_sites_are_refused(server):
    for headers in [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ]:
        refused(query(server, "SELECT 1", **headers), 403, "PERMISSION_DENIED", "other sites")
        refused(ingest(server, "t", b"a\n1\n", CSV, **headers), 403, "PERMISSION_DENIED")
    refused(query(server, "SELECT 1", host="evil.example"), 421, "PERMISSION_DENIED", "server.http_hosts")
    own = query(server, "SELECT 1 AS a", origin=server.http, **{"sec-fetch-site": "same-origin"})
    assert lines(own) == [{"a": 1}]
    assert not [name for name in own.headers if name.lower().startswith("access-control")]
    preflight = requests.options(f"{server.http}/query", headers={"origin": "http://evil.example"}, timeout=60)
    assert preflight.status_code == 405


def test_users_and_grants_are_those_of_flight(tmp_path):
    for name, role in [("root", "admin"), ("ada", "reader")]:
        password = {"PINTAIL_NEW_PASSWORD": f"{name}-password"}
        run("user", "add", name, "--role", role, "--database", "pintail.duckdb", cwd=tmp_path, env=password)
    (tmp_path / "pintail.toml").write_text('[auth]\nanonymous = "off"\n')
    server = Server(tmp_path, "--config", "pintail.toml")
    try:
        root = ("root", "root-password")
        ada = ("ada", "ada-password")

        def ask(sql, auth=None, **headers):
            headers = {**SQL, **headers}
            return requests.post(f"{server.http}/query", data=sql, headers=headers, auth=auth, timeout=60)

        refused(ask("SELECT 1", ("root", "wrong")), 401, "UNAUTHENTICATED")
        assert "Basic" in ask("SELECT 1", ("root", "wrong")).headers["www-authenticate"]
        # A page asks for the password itself.
        assert "www-authenticate" not in ask("SELECT 1", ("root", "wrong"), **{"sec-fetch-dest": "empty"}).headers
        assert ask("CREATE TABLE mine AS SELECT 1 AS a", root).json()["rows"] >= 0
        assert ask("CREATE TABLE hers AS SELECT 2 AS a", root).status_code == 200
        answer = requests.post(f"{server.http}/ingest/mine", data=b"a\n1\n", headers={"content-type": CSV}, auth=ada)
        refused(answer, 403, "PERMISSION_DENIED")
        login = {"PINTAIL_SERVER": server.uri, "PINTAIL_USER": "root", "PINTAIL_PASSWORD": "root-password"}
        run("grant", "read", "--on", "main.hers", "--to", "ada", env={**login, "HOME": str(tmp_path)})
        assert lines(ask("SELECT * FROM hers", ada)) == [{"a": 2}]
        refused(ask("SELECT * FROM mine", ada), 403, "PERMISSION_DENIED", "mine")
    finally:
        server.stop()


def test_a_server_that_stops_waits_for_its_calls(server):
    sql = "SELECT i, repeat('x', 200) AS s FROM range(400000) t(i)"
    with requests.post(f"{server.http}/query", data=sql, headers={**SQL, "accept": CSV}, stream=True) as response:
        pieces = response.iter_content(1 << 16)
        count = next(pieces).count(b"\n")
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while "draining" not in requests.get(f"{server.http}/readyz", timeout=60).text:
            time.sleep(0.02)
        refused(query(server, "SELECT 1"), 503, "UNAVAILABLE", "stopping")
        count += sum(piece.count(b"\n") for piece in pieces)
    stopping.join()
    assert count == 400_001
    assert server.process.returncode == 0
