"""The module `pintail` against real servers: servers of its own, connections, loads. Producers: test_producer.py."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pandas
import pintail
import polars
import pyarrow as pa
import pyarrow.dataset
import pytest
import pyarrow.parquet
from conftest import REPOSITORY
from test_identity import PASSWORD, Guarded


@pytest.fixture(scope="module")
def server():
    with pintail.Server() as server:
        yield server


def value(server, sql):
    with server.connect() as connection, connection.cursor() as cursor:
        return cursor.execute(sql).fetchone()[0]


def batch(n, rows=1000):
    return pa.record_batch({"id": pa.array(range(n * rows, (n + 1) * rows), pa.int64())})


# Server


def test_a_server_has_what_tests_need(server):
    assert urllib.request.urlopen(server.http + "/readyz", timeout=5).status == 200
    assert server.is_running and '"ready"' in server.log and server.uri in repr(server)
    assert server.client().list_actions()


def test_a_server_starts_again_over_its_database_at_its_address():
    with pintail.Server(settings={"query.max_queued": 7}) as server:
        uri, http = server.uri, server.http
        pintail.load({"n": [1, 2]}, "t", uri=uri)
        assert 'max_queued = 7' in server.log
        assert server.kill() == -signal.SIGKILL and not server.is_running
        server.start()
        assert (server.uri, server.http) == (uri, http) and value(server, "SELECT count(*) FROM t") == 2
        assert server.stop() == 0
        folder = Path(server._folder)
    assert not folder.exists()


def test_a_database_of_the_callers_stays(tmp_path):
    with pintail.Server(tmp_path / "mine.duckdb") as server:
        pintail.load({"n": [1]}, "t", uri=server.uri)
    assert (tmp_path / "mine.duckdb").exists()


def test_a_server_that_does_not_come_up_says_why():
    with pytest.raises(pintail.ServerFailed, match="query.max_queued") as failed:
        pintail.Server(settings={"query.max_queued": "many"})
    assert "max_queued" in failed.value.log


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(3)", "sys.exit()", "del server; gc.collect(); sys.exit()"])
def test_no_server_outlives_its_program(end):
    """Started on a thread that has ended meanwhile, as notebooks do."""
    script = f"""
import concurrent.futures, gc, os, sys, pintail
with concurrent.futures.ThreadPoolExecutor() as pool:
    server = pool.submit(pintail.Server).result()
assert server.is_running
print(server.pid, server._folder, flush=True)
{end}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    pid, folder = done.stdout.split()
    # A process that is nobody's child is told apart by /proc alone.
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/exe").exists():
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.02)
    if "sys.exit" in end:
        assert not Path(folder).exists()


# Connections


def test_a_row_above_the_drivers_own_bound_arrives(server):
    assert len(value(server, "SELECT repeat('x', 20_000_000)")) == 20_000_000


def test_headers_and_options_reach_the_calls(server):
    with server.connect(headers={"pintail-batch-rows": "7"}) as connection, connection.cursor() as cursor:
        reader = cursor.execute("SELECT range FROM range(20)").fetch_record_batch()
        assert [len(one) for one in reader] == [7, 7, 6]
    with server.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE undone (n INTEGER)")
        connection.rollback()
    assert value(server, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'undone'") == 0


def test_users_and_tokens_over_tls(tmp_path):
    guarded = Guarded(tmp_path)
    try:
        token = guarded.token("loader", "root", "--role", "admin")
        for who in [{"user": "root", "password": PASSWORD}, {"token": token}]:
            known = {**who, "tls_ca": guarded.certificate}
            with pintail.connect(guarded.uri, **known) as connection, connection.cursor() as cursor:
                assert cursor.execute("SELECT 42").fetchone() == (42,)
            pintail.load({"n": [1]}, "t", uri=guarded.uri, **known)
            (tmp_path / f"{len(who)}.csv").write_text("n\n1\n")
            assert pintail.load(tmp_path / f"{len(who)}.csv", "t", uri=guarded.uri, **known).rows == 1
            with pintail.Producer(guarded.uri, f"p{len(who)}", producer="x", **known) as producer:
                producer.send(batch(0))
        with pytest.raises(pintail.Error) as refused:
            pintail.load({"n": [1]}, "t", uri=guarded.uri, tls_ca=guarded.certificate, token="ptk_wrong")
        assert refused.value.code == "UNAUTHENTICATED"
    finally:
        guarded.server.stop(signal.SIGKILL)


def test_arguments_that_do_not_go_together(monkeypatch):
    for uri, who, words in [
        ("grpc://198.51.100.7:8815", {"token": "t"}, "not encrypted"),
        ("grpc://127.0.0.1:1", {"user": "a", "token": "t"}, "found both"),
        ("grpc://127.0.0.1:1", {"user": "a"}, "password"),
        ("http://127.0.0.1:1", {}, "expected a server"),
        ("grpc://127.0.0.1", {}, "expected a server"),
    ]:
        with pytest.raises(ValueError, match=words):
            pintail.connect(uri, **who)
    with pytest.raises(TypeError, match="unknown arguments: passphrase"):
        pintail.connect("grpc://127.0.0.1:1", passphrase="x")
    monkeypatch.setenv("PINTAIL_BIN", "/nowhere/pintail")
    with pytest.raises(FileNotFoundError, match="PINTAIL_BIN names no program"):
        pintail.Server()


# Loads


class Stream:
    """Something with the stream of the C interface and nothing else."""

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.table({"n": [1, 2], "s": ["a", "b"]}).__arrow_c_stream__(requested_schema)


def data(kind, folder):
    table = pa.table({"n": [1, 2], "s": ["a", "b"]})
    if kind == "dataset":
        pa.dataset.write_dataset(table, folder, format="parquet")
        return pa.dataset.dataset(folder)
    if kind == "parquet":
        pa.parquet.write_table(table, folder / "rows.parquet")
        return str(folder / "rows.parquet")
    made = {
        "dict": table.to_pydict,
        "table": lambda: table,
        "batch": lambda: table.to_batches()[0],
        "reader": table.to_reader,
        "pandas": table.to_pandas,
        "pandas index": lambda: table.to_pandas().set_index("n"),
        "polars": lambda: polars.from_arrow(table),
        "lazy": lambda: polars.from_arrow(table).lazy(),
        "stream": Stream,
    }
    return made[kind]()


KINDS = ["dict", "table", "batch", "reader", "pandas", "pandas index", "polars", "lazy", "stream", "dataset", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_has_columns_can_be_loaded(server, kind, tmp_path):
    name = f"main.\"of {kind}\""
    loaded = pintail.load(data(kind, tmp_path), name, uri=server.uri)
    assert (loaded.table, loaded.rows, loaded.duplicate) == (name, 2, False)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name} ORDER BY n")
        assert [column[0] for column in cursor.description] == ["n", "s"]
        assert cursor.fetchall() == [(1, "a"), (2, "b")]


def test_what_has_no_columns_cannot():
    with pytest.raises(TypeError, match="found builtins.int"):
        pintail.load(1, "t", uri="grpc://127.0.0.1:1")


def test_a_key_counts_once_however_the_rows_are_cut(server):
    table = pa.table({"n": range(200_000), "s": [f"text {n % 100}" for n in range(200_000)]})
    first = pintail.load(table, "keyed", uri=server.uri, key="k")
    assert (first.rows, first.duplicate, first.durable) == (200_000, False, True)
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 70_000), table.slice(70_007)])
    for again in [table, chunked, chunked.to_reader(1000), table.to_pydict()]:
        assert pintail.load(again, "keyed", uri=server.uri, key="k").duplicate
    frame = polars.from_arrow(table)
    assert not pintail.load(frame, "framed", uri=server.uri, key="f").duplicate
    assert pintail.load(polars.concat([frame[:9], frame[9:]], rechunk=False), "framed", uri=server.uri, key="f").duplicate
    with pytest.raises(pintail.Error, match="other content") as other:
        pintail.load(table.slice(1), "keyed", uri=server.uri, key="k")
    assert other.value.code == "ALREADY_EXISTS" and value(server, "SELECT count(*) FROM keyed") == 200_000


def test_modes_and_conflicts(server):
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE levels (tank BIGINT PRIMARY KEY, level BIGINT)")
    rows = {"tank": [1, 2], "level": [10, 20]}
    pintail.load(rows, "levels", uri=server.uri, mode="append")
    kept = pintail.load({"tank": [2, 3], "level": [0, 30]}, "levels", uri=server.uri, on_conflict="ignore")
    assert (kept.inserted, kept.ignored) == (1, 1)
    with pytest.raises(pintail.Error, match="levels") as exists:
        pintail.load(rows, "levels", uri=server.uri, mode="create")
    assert exists.value.code == "ALREADY_EXISTS"
    pintail.load(rows, "levels", uri=server.uri, mode="replace")
    assert value(server, "SELECT sum(level)::INTEGER FROM levels") == 30


def test_a_source_that_fails_leaves_nothing(server):
    def rows():
        for n in range(200):
            yield batch(n)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        pintail.load(pa.RecordBatchReader.from_batches(batch(0).schema, rows()), "half", uri=server.uri, key="half")
    assert value(server, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'") == 0
    # And its key is as free as before.
    assert not pintail.load(batch(0), "half", uri=server.uri, key="half").duplicate


def test_a_load_that_is_interrupted_leaves_nothing(server):
    """Ctrl-C in a notebook, between two batches or in the middle of one."""
    script = f"""
import os, pyarrow as pa, signal, threading, pintail
batch = pa.record_batch({{"id": pa.array(range(60_000), pa.int64())}})
def rows():
    for n in range(100_000):
        if n == 50:
            threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
        yield batch
pintail.load(pa.RecordBatchReader.from_batches(batch.schema, rows()), "interrupted", uri="{server.uri}")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "KeyboardInterrupt" in done.stderr, done.stderr
    deadline = time.monotonic() + 10
    while "the rows of the client ended with KeyboardInterrupt" not in server.log:
        assert time.monotonic() < deadline, server.log[-2000:]
        time.sleep(0.02)
    assert value(server, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'interrupted'") == 0


def test_large_rows_are_cut_by_their_bytes(server):
    wide = pa.table({"n": range(300), "s": ["x" * 1_000_000] * 300})
    assert pintail.load(wide, "large", uri=server.uri).rows == 300
    assert value(server, "SELECT sum(length(s))::BIGINT FROM large") == 300_000_000


def test_files_are_loaded_as_the_program_does(server, tmp_path):
    (tmp_path / "a.csv").write_text("n\n1\n2\n")
    assert pintail.load(tmp_path, "files", uri=server.uri).rows == 2
    assert pintail.load(tmp_path, "files", uri=server.uri).duplicate
    with pytest.raises(pintail.Error, match="nothing-there"):
        pintail.load(tmp_path / "nothing-there.csv", "files", uri=server.uri)
    with pytest.raises(ValueError, match="key="):
        pintail.load(tmp_path, "files", uri=server.uri, key="k")


def test_a_keyed_load_outlives_a_kill():
    """The server dies while the rows are on their way, and comes back; they are there once."""
    with pintail.Server() as server:
        begun = threading.Event()
        # A dataset can be read again, and each batch of it tells that the load is under way.
        table = pa.table({"n": range(3_000_000)})

        def kill():
            begun.wait()
            server.kill()
            server.start()

        killer = threading.Thread(target=kill)
        killer.start()
        loading = threading.Thread(target=begun.set)
        loading.start()
        loaded = pintail.load(table, "t", uri=server.uri, key="once")
        killer.join()
        assert loaded.rows == 3_000_000
        assert value(server, "SELECT count(*) FROM t") == 3_000_000


# The module itself


def test_the_program_and_the_import():
    done = subprocess.run([sys.executable, "-m", "pintail", "--version"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("pintail "), done.stderr
    # pyarrow alone takes longer than everything else at the start of a command line.
    code = "import sys, pintail; sys.exit('pyarrow' in sys.modules or 'adbc_driver_flightsql' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
    assert set(pintail.__all__) <= set(dir(pintail)) and all(getattr(pintail, name) for name in pintail.__all__)


def test_types_are_right(tmp_path):
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "-p", "pintail"]
    done = subprocess.run(command, cwd=REPOSITORY / "python", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
