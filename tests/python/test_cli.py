"""The command line as a person uses it: load, query, tables, status, config, and every refusal."""

import json
import socket
import stat

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as parquet
import pytest
from conftest import Server, put, query, run


def numbers(rows: int, first=0) -> pa.Table:
    ids = pa.array(range(first, first + rows), pa.int64())
    return pa.table({"id": ids, "text": pa.array([f"row {n}" for n in range(first, first + rows)], pa.string())})


def test_load_takes_files_globs_and_folders(server, tmp_path):
    files = tmp_path / "files"
    (files / "more").mkdir(parents=True)
    parquet.write_table(numbers(100_000), files / "a.parquet", row_group_size=30_000)
    parquet.write_table(numbers(1_000, 100_000), files / "more" / "b.parquet")
    with pa.OSFile(str(files / "c.arrow"), "wb") as sink, pa.ipc.new_file(sink, numbers(0).schema) as writer:
        writer.write_table(numbers(500, 101_000))
    with pa.OSFile(str(files / "d.arrows"), "wb") as sink, pa.ipc.new_stream(sink, numbers(0).schema) as writer:
        writer.write_table(numbers(500, 101_500))
    done = run("load", files, "--table", "everything", "--server", server.uri)
    assert "loaded 102,000 rows from 4 files into everything" in done.stdout
    client = server.client()
    assert query(client, "FROM everything ORDER BY id").equals(numbers(102_000))
    done = run("load", f"{files}/*.parquet", "--table", "globbed", "--server", server.uri)
    assert "loaded 100,000 rows from 1 file" in done.stdout
    # Replace holds for the first file, the others append to it.
    run("load", files / "a.parquet", files / "more", "--table", "globbed", "--mode", "replace", "--server", server.uri)
    assert query(client, "SELECT count(*) AS n FROM globbed")["n"].to_pylist() == [101_000]


def test_a_load_that_fails_says_what_was_committed(server, tmp_path):
    parquet.write_table(numbers(200_000), tmp_path / "a.parquet", row_group_size=20_000)
    parquet.write_table(numbers(200_000, 200_000), tmp_path / "b.parquet", row_group_size=20_000)
    whole = (tmp_path / "b.parquet").read_bytes()
    # Cut in half: the footer is gone, and the load fails before it sends anything.
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    done = run("load", tmp_path, "--table", "t", "--server", server.uri, check=False)
    assert done.returncode == 1 and "b.parquet" in done.stderr
    assert "no tables yet" in run("tables", "--server", server.uri).stdout
    # Damaged inside: the file fails in its middle, is rolled back, and the file before it stays.
    middle = len(whole) // 2
    (tmp_path / "b.parquet").write_bytes(whole[:middle] + bytes(4096) + whole[middle + 4096 :])
    done = run("load", tmp_path, "--table", "t", "--server", server.uri, check=False)
    assert done.returncode == 1, done.stdout
    assert "1 of 2 files with 200,000 rows were committed to t" in done.stderr and "b.parquet" in done.stderr
    assert query(server.client(), "SELECT count(*) AS n FROM t")["n"].to_pylist() == [200_000]


def test_load_refuses_what_it_cannot_read(server, tmp_path):
    (tmp_path / "book.parquet").write_bytes(b"PK\3\4 a spreadsheet under another name" + bytes(50))
    for arguments, code, part in [
        ([tmp_path / "nothing.parquet"], 2, "nothing.parquet"),
        ([tmp_path / "book.parquet"], 1, "book.parquet"),
        ([tmp_path / "book.parquet", "--server", "grpc://127.0.0.1:1"], 1, "book.parquet"),
    ]:
        done = run("load", *arguments, "--table", "t", check=False)
        assert done.returncode == code and part in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    parquet.write_table(numbers(1), tmp_path / "a.parquet")
    done = run("load", tmp_path / "a.parquet", "--table", "t", "--server", "grpc://127.0.0.1:1", check=False)
    assert done.returncode == 1 and "no server answers" in done.stderr
    done = run("load", tmp_path / "a.parquet", "--table", "a.b.c.d", "--server", server.uri, check=False)
    assert done.returncode == 2


def test_query_writes_every_format(server, tmp_path):
    table = numbers(1_000)
    put(server.client(), "t", table)
    ask = ["query", "FROM t ORDER BY id", "--server", server.uri]
    shown = run(*ask).stdout
    assert "row 99" in shown and "row 100 " not in shown and "first 100 rows" in shown
    assert "row 999" in run(*ask, "--rows", 1000).stdout
    lines = run(*ask, "--format", "csv").stdout.splitlines()
    assert lines[0] == "id,text" and lines[1000] == "999,row 999"
    objects = [json.loads(line) for line in run(*ask, "--format", "json").stdout.splitlines()]
    assert objects[999] == {"id": 999, "text": "row 999"}
    run(*ask, "--format", "parquet", "--output", tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet").equals(table)
    run(*ask, "--format", "arrow", "--output", tmp_path / "out.arrows")
    with pa.ipc.open_stream(tmp_path / "out.arrows") as reader:
        assert reader.read_all().equals(table)
    assert run(*ask, "--format", "parquet", check=False).returncode == 2
    # A result that breaks off leaves no file that looks whole.
    broken = "SELECT CASE WHEN range = 900000 THEN error('stop') ELSE range END AS n FROM range(1000000)"
    done = run("query", broken, "--server", server.uri, "--format", "csv", "--output", tmp_path / "x.csv", check=False)
    assert done.returncode == 1 and "stop" in done.stderr
    assert not list(tmp_path.glob("x.csv*"))


def test_statements_tables_and_status(server):
    assert "no tables yet" in run("tables", "--server", server.uri).stdout
    run("query", "CREATE TABLE wells (id INTEGER, name VARCHAR)", "--server", server.uri)
    assert "2" in run("query", "INSERT INTO wells VALUES (1, 'a'), (2, 'b')", "--server", server.uri).stdout
    tables = run("tables", "--server", server.uri).stdout
    assert "wells" in tables and "columns" in tables
    status = run("status", "--server", server.uri).stdout
    assert "healthy" in status and "resident" in status and str(server.folder) not in status
    assert "pintail" in run("completions", "bash").stdout


def test_config_is_printed_checked_and_layered(tmp_path):
    printed = run("config", "print", cwd=tmp_path).stdout
    assert 'listen = "127.0.0.1:8815"' in printed and 'memory_limit = "512 MiB"' in printed
    file = tmp_path / "pintail.toml"
    file.write_text('[ingest]\nmemory_limit = "1 GiB"\n')
    assert 'memory_limit = "1 GiB"' in run("config", "print", "--config", file).stdout
    environment = {"PINTAIL_INGEST__MEMORY_LIMIT": "2 GiB"}
    assert 'memory_limit = "2 GiB"' in run("config", "print", "--config", file, env=environment).stdout
    assert "right" in run("config", "check", "--config", file).stdout
    for text, part in [
        ("[ingest]\nmemory = 1\n", "unknown key"),
        ('[database]\nmemory_limit = "much"\n', "database.memory_limit"),
        ("[ingest\n", "not TOML"),
    ]:
        file.write_text(text)
        done = run("config", "check", "--config", file, check=False)
        assert done.returncode == 2 and part in done.stderr, done.stderr
    assert run("config", "check", "--config", tmp_path / "none.toml", check=False).returncode == 2


def test_serve_refuses_in_one_line_with_exit_code_2(tmp_path):
    def refused(*flags: str, env=None) -> str:
        done = run("serve", "--http", "127.0.0.1:0", *flags, cwd=tmp_path, check=False, env=env)
        assert done.returncode == 2, done.stderr
        lines = [line for line in done.stderr.strip().splitlines() if line]
        assert len(lines) == 1 and lines[0].startswith("pintail: "), done.stderr
        return lines[0]

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "port is in use" in refused("--listen", f"127.0.0.1:{port}")
    any_port = ["--listen", "127.0.0.1:0"]
    (tmp_path / "text.duckdb").write_text("this is not a database" * 1000)
    assert "not a DuckDB database" in refused(*any_port, "--database", "text.duckdb")
    assert "does not exist" in refused(*any_port, "--database", "nowhere/x.duckdb")
    assert "server.listen" in refused("--listen", "0.0.0.0:0")
    assert "server.listen" in refused("--listen", "somewhere")
    assert "memory_limit" in refused(*any_port, env={"PINTAIL_DATABASE__MEMORY_LIMIT": "lots"})
    assert "log.level" in refused(*any_port, env={"PINTAIL_LOG__LEVEL": "a=b=c"})
    running = Server(tmp_path)
    try:
        message = refused(*any_port)
        assert "locked" in message and str(running.pid) in message
    finally:
        assert running.stop() == 0


def test_an_unreadable_database_is_named(tmp_path):
    import os

    if os.geteuid() == 0:
        # Permissions do not hold for root; a folder in the file's place does.
        (tmp_path / "pintail.duckdb").mkdir()
    else:
        (tmp_path / "pintail.duckdb").touch(stat.S_IWUSR)
    done = run("serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "cannot open database pintail.duckdb" in done.stderr, done.stderr


@pytest.mark.parametrize("level", ["info"])
def test_log_lines_are_json_and_tell_each_call(tmp_path, level):
    server = Server(tmp_path, env={"PINTAIL_LOG__LEVEL": level})
    put(server.client(), "t", numbers(5_000))
    query(server.client(), "FROM t")
    assert server.stop() == 0
    calls = [json.loads(line) for line in server.log]
    calls = {call["method"]: call for call in calls if call.get("message") == "call"}
    assert calls["DoPut"]["rows"] == 5_000 and calls["DoPut"]["what"] == "t" and calls["DoPut"]["status"] == "OK"
    for stage in ["queue", "decode", "plain", "conform", "append", "commit"]:
        assert f"{stage}=" in calls["DoPut"]["stages_ms"]
    for stage in ["prepare", "first_batch", "stream"]:
        assert f"{stage}=" in calls["DoGet"]["stages_ms"]
    assert calls["DoGet"]["rows"] == 5_000 and calls["DoGet"]["memory_mib"] > 0
