"""`pintail backup` and `pintail restore`: whole, of one moment, and never half."""

import json
import os
import signal
import subprocess
import threading
import time

import pyarrow as pa
import pyarrow.flight as flight
import pytest
from conftest import Server, binary, query, rows, run

# Enough rows that a backup takes about a second.
ROWS = 2_000_000


def fill(connection, count=ROWS) -> None:
    with connection.cursor() as cursor:
        for statement in [
            "CREATE TABLE big (id BIGINT PRIMARY KEY, text VARCHAR NOT NULL DEFAULT 'none')",
            f"INSERT INTO big SELECT i, md5(i::VARCHAR) FROM range({count}) r(i)",
        ]:
            cursor.execute(statement)


def put_once(client, name: str, table: pa.Table, key: str) -> dict:
    options = flight.FlightCallOptions(headers=[(b"pintail-idempotency-key", key.encode())])
    writer, reader = client.do_put(flight.FlightDescriptor.for_path(name), table.schema, options)
    with writer:
        writer.write_table(table)
        writer.done_writing()
        return json.loads(reader.read().to_pybytes())


def wait_until(what, condition, seconds=30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


def start_backup(server: Server, to: str) -> subprocess.Popen:
    """A backup that has begun to write."""
    backup = subprocess.Popen(
        [binary(), "backup", "--to", to, "--server", server.uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = server.folder / f"{to}.partial"
    wait_until("a backup that writes", lambda: partial.exists() and partial.stat().st_size > 2 << 20)
    assert backup.poll() is None
    return backup


def test_a_backup_under_writers_is_one_moment(server, tmp_path):
    """Transactions over two tables go on during the copy: each is in it whole or not at all, in its order, and
    keys, indexes, comments, defaults, views and the ingest ledger come back."""
    with server.connect() as connection:
        fill(connection)
        with connection.cursor() as cursor:
            for statement in [
                "CREATE TABLE a (writer INTEGER, n BIGINT, PRIMARY KEY (writer, n))",
                "CREATE TABLE b (writer INTEGER, n BIGINT, text VARCHAR)",
                "CREATE INDEX b_n ON b (n)",
                "CREATE VIEW both_tables AS SELECT a.n FROM a JOIN b USING (writer, n)",
                "CREATE SEQUENCE numbers START 10",
                "CREATE TABLE numbered (n BIGINT DEFAULT nextval('numbers'), m INTEGER)",
                "INSERT INTO numbered (m) VALUES (1)",
                "COMMENT ON TABLE a IS 'the first'",
                "COMMENT ON COLUMN b.text IS 'the text'",
            ]:
                cursor.execute(statement)
    batch = pa.table({"x": pa.array([1, 2, 3], pa.int64())})
    assert put_once(server.client(), "once", batch, "before the backup")["duplicate"] is False

    stop, done, slowest, failures = threading.Event(), [0, 0], [0.0, 0.0], []

    def write(number: int) -> None:
        try:
            with server.connect(autocommit=False) as connection, connection.cursor() as cursor:
                while not stop.is_set():
                    began = time.monotonic()
                    cursor.execute(f"INSERT INTO a VALUES ({number}, {done[number]})")
                    cursor.execute(f"INSERT INTO b VALUES ({number}, {done[number]}, 'text')")
                    connection.commit()
                    done[number] += 1
                    slowest[number] = max(slowest[number], time.monotonic() - began)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    wait_until("both writers at work", lambda: min(done) > 5 or failures)
    before = sum(done)
    said = run("backup", "--to", "moment.duckdb", "--server", server.uri).stdout
    during = sum(done) - before
    stop.set()
    for writer in writers:
        writer.join()
    assert not failures, failures
    assert said.startswith("backed up to moment.duckdb: ") and "MiB in" in said
    assert during > 10, "writers stood still during the backup"
    assert max(slowest) < 5, f"a transaction took {max(slowest)} s"
    assert not list(tmp_path.glob("*.partial*"))
    server.stop()

    said = run("restore", "--from", tmp_path / "moment.duckdb", "--database", tmp_path / "restored.duckdb").stdout
    assert "restored" in said and "5 tables" in said, said
    other = Server(tmp_path, "--database", str(tmp_path / "restored.duckdb"))
    try:
        with other.connect() as connection:
            assert rows(connection, "SELECT count(*), count(DISTINCT id) FROM big") == [(ROWS, ROWS)]
            for number in range(2):
                # Everything acknowledged before the backup began, and from each writer a beginning of what it wrote.
                found = rows(connection, f"SELECT count(*), max(n) FROM a WHERE writer = {number}")[0]
                assert found[0] == found[1] + 1 <= done[number]
                assert found == rows(connection, f"SELECT count(*), max(n) FROM b WHERE writer = {number}")[0]
            stored = rows(connection, "SELECT count(*) FROM a")[0][0]
            assert before - 2 <= stored <= sum(done)
            assert rows(connection, "SELECT count(*) FROM both_tables") == [(stored,)]
            assert rows(connection, f"SELECT text FROM big WHERE id = {ROWS - 1}") != []
            indexes = rows(connection, "SELECT index_name FROM duckdb_indexes()")
            assert indexes == [("b_n",)]
            comment = "SELECT comment FROM duckdb_tables() WHERE table_name = 'a'"
            assert rows(connection, comment) == [("the first",)]
            comment = "SELECT comment FROM duckdb_columns() WHERE table_name = 'b' AND column_name = 'text'"
            assert rows(connection, comment) == [("the text",)]
            rows(connection, "INSERT INTO numbered (m) VALUES (2)")
            assert rows(connection, "SELECT n FROM numbered ORDER BY n") == [(10,), (11,)]
            with pytest.raises(Exception, match="(?i)duplicate key"):
                rows(connection, "INSERT INTO big VALUES (5, 'again')")
            with pytest.raises(Exception, match="(?i)duplicate key"):
                rows(connection, "INSERT INTO a VALUES (0, 0)")
        again = put_once(other.client(), "once", batch, "before the backup")
        assert again["duplicate"] is True and again["rows"] == 3
        assert query(other.client(), "SELECT count(*) AS n FROM once")["n"].to_pylist() == [3]
    finally:
        other.stop(signal.SIGKILL)


def test_a_backup_that_is_killed_leaves_no_file_of_its_name(server, tmp_path):
    """kill -9 in the middle: the database is whole, the name is free, and the next backup takes it."""
    with server.connect() as connection:
        fill(connection)
    backup = start_backup(server, "cut.duckdb")
    server.stop(signal.SIGKILL)
    assert backup.wait(30) == 1 and not (tmp_path / "cut.duckdb").exists()
    assert (tmp_path / "cut.duckdb.partial").exists()
    server = Server(tmp_path)
    assert query(server.client(), "SELECT count(*) AS n FROM big")["n"].to_pylist() == [ROWS]
    run("backup", "--to", "cut.duckdb", "--server", server.uri)
    server.stop(signal.SIGKILL)
    assert sorted(path.name for path in tmp_path.glob("cut*")) == ["cut.duckdb"]
    assert f"1 table with {ROWS:,} rows" in run(
        "restore", "--from", tmp_path / "cut.duckdb", "--database", tmp_path / "new.duckdb"
    ).stdout


def test_a_backup_whose_caller_leaves_is_stopped(server, tmp_path):
    """Nothing is left, another backup can begin, and one at a time is written."""
    with server.connect() as connection:
        fill(connection)
    backup = start_backup(server, "left.duckdb")
    refused = run("backup", "--to", "other.duckdb", "--server", server.uri, check=False)
    assert refused.returncode == 1 and "another backup" in refused.stderr
    assert backup.poll() is None, "the backup ended before its caller left"
    backup.kill()
    backup.wait()
    wait_until("no remains", lambda: not list(tmp_path.glob("left*")))
    run("backup", "--to", "other.duckdb", "--server", server.uri)
    assert not list(tmp_path.glob("left*"))


def test_a_full_disk_fails_the_backup_and_not_the_server(tmp_path):
    """The copy goes to a file system too small for it; the server serves on, and no file is left."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs privileges")
    server = None
    try:
        server = Server(tmp_path, env={"PINTAIL_DATABASE__BACKUP_DIRECTORY": str(small)})
        with server.connect() as connection:
            fill(connection)
            for size in ["8m", "30m", "60m", "70m", "75m"]:
                subprocess.run(["mount", "-o", f"remount,size={size}", small], check=True)
                done = run("backup", "--to", "full.duckdb", "--server", server.uri, check=False)
                if done.returncode == 0:
                    break
                assert "no space left" in done.stderr and str(small) not in done.stderr, done.stderr
                assert not list(small.iterdir())
                rows(connection, "INSERT INTO big VALUES (-1, 'still here')")
                rows(connection, "DELETE FROM big WHERE id = -1")
            assert size != "8m", "the file system was never too small"
            assert rows(connection, "SELECT count(*) FROM big") == [(ROWS,)]
    finally:
        if server:
            server.stop(signal.SIGKILL)
        subprocess.run(["umount", small], check=True)


def test_backups_go_nowhere_else_and_overwrite_nothing(server, tmp_path):
    """Names that lead out of the folder, are taken, or are the engine's own are refused in one clear line."""
    with server.connect() as connection:
        fill(connection, 1_000)
    (tmp_path / "taken.duckdb").write_text("mine")
    (tmp_path / "logged.duckdb.wal").write_text("a log")
    (tmp_path / "inside").mkdir()
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (tmp_path / "link").symlink_to(outside)
    for name, part in [
        ("../up.duckdb", "backup_directory"),
        ("inside/../../up.duckdb", "backup_directory"),
        ("/tmp/up.duckdb", "backup_directory"),
        ("link/up.duckdb", "backup_directory"),
        ("nowhere/x.duckdb", "no such folder"),
        ("taken.duckdb", "overwrites nothing"),
        ("logged.duckdb", "overwrites nothing"),
        ("pintail.duckdb", "overwrites nothing"),
        ("pintail.duckdb.wal", "engine's own"),
        ("inside/", "name of a file"),
        ("", "name of a file"),
    ]:
        done = run("backup", "--to", name, "--server", server.uri, check=False)
        assert done.returncode == 1 and part in done.stderr, (name, done.stderr)
        assert str(tmp_path) not in done.stderr
    assert (tmp_path / "taken.duckdb").read_text() == "mine" and not list(outside.iterdir())
    run("backup", "--to", "inside/good.duckdb", "--server", server.uri)
    run("backup", "--to", tmp_path / "inside" / "absolute.duckdb", "--server", server.uri)
    assert sorted(os.listdir(tmp_path / "inside")) == ["absolute.duckdb", "good.duckdb"]
    with pytest.raises(pa.ArrowInvalid, match="expected a body"):
        list(server.client().do_action(flight.Action("pintail.backup", b"{}")))


def test_restore_refuses_what_would_lose_something(server, tmp_path):
    """A database that is there or open, and a backup that is cut or damaged; each leaves the target as it was."""
    with server.connect() as connection:
        fill(connection, 200_000)
        run("backup", "--to", "good.duckdb", "--server", server.uri)
        rows(connection, "DELETE FROM big WHERE id >= 10")
    good = tmp_path / "good.duckdb"
    whole = good.read_bytes()

    def restore(backup, database, *flags):
        return run("restore", "--from", backup, "--database", tmp_path / database, *flags, check=False)

    for flags in [[], ["--force"]]:
        done = restore(good, "pintail.duckdb", *flags)
        assert done.returncode != 0 and ("locked" if flags else "--force") in done.stderr, done.stderr
    assert query(server.client(), "SELECT count(*) AS n FROM big")["n"].to_pylist() == [10]
    assert server.stop() == 0

    assert restore(tmp_path / "none.duckdb", "x.duckdb").returncode == 2
    (tmp_path / "cut.duckdb").write_bytes(whole[: len(whole) // 2])
    middle = len(whole) // 2
    (tmp_path / "bad.duckdb").write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    (tmp_path / "text.duckdb").write_text("not a database" * 1000)
    for name in ["cut.duckdb", "bad.duckdb", "text.duckdb"]:
        done = restore(tmp_path / name, "pintail.duckdb", "--force")
        assert done.returncode == 2 and "not a whole backup" in done.stderr, (name, done.stderr)
        assert restore(tmp_path / name, "fresh.duckdb").returncode == 2
    assert not list(tmp_path.glob("fresh*")) and not list(tmp_path.glob("*.restore*"))
    used = tmp_path / "used.duckdb"
    used.write_bytes(whole)
    (tmp_path / "used.duckdb.wal").write_bytes(b"log")
    assert "in use" in restore(used, "x.duckdb").stderr

    server = Server(tmp_path)
    assert query(server.client(), "SELECT count(*) AS n FROM big")["n"].to_pylist() == [10]
    assert server.stop() == 0
    assert "1 table with 200,000 rows" in restore(good, "pintail.duckdb", "--force").stdout
    assert good.read_bytes() == whole
    server = Server(tmp_path)
    assert query(server.client(), "SELECT count(*) AS n FROM big")["n"].to_pylist() == [200_000]
    server.stop(signal.SIGKILL)


EVERY_KIND = [
    "CREATE SCHEMA s",
    "CREATE SCHEMA a",
    "CREATE SCHEMA a.b",
    "CREATE SEQUENCE numbers START 10 INCREMENT 5",
    "CREATE SEQUENCE down START 0 INCREMENT -1 MINVALUE -100 MAXVALUE 0",
    "CREATE TYPE mood AS ENUM ('calm', 'wild')",
    "CREATE TYPE a.b.pair AS STRUCT(one INTEGER, other VARCHAR)",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY, mood mood DEFAULT 'calm')",
    "CREATE TABLE child (id INTEGER REFERENCES parent (id), n INTEGER CHECK (n > 0), UNIQUE (id, n))",
    "CREATE TABLE made (n BIGINT DEFAULT nextval('numbers'), twice BIGINT GENERATED ALWAYS AS (n * 2), m INTEGER)",
    "CREATE TABLE s.t (i INTEGER, v VARCHAR COLLATE NOCASE)",
    "CREATE TABLE s.log (i INTEGER, what VARCHAR)",
    "CREATE TABLE a.b.t (i INTEGER PRIMARY KEY, p a.b.pair)",
    "CREATE INDEX by_v ON s.t (lower(v))",
    "CREATE UNIQUE INDEX one_of_each ON s.t (i)",
    "CREATE VIEW z AS SELECT i FROM s.t",
    "CREATE VIEW above AS SELECT * FROM z",
    "CREATE VIEW a.b.v (x, y) AS SELECT 1, 2",
    "CREATE MACRO plus(x, y := 1) AS x + y",
    "CREATE MACRO plus_two(x) AS plus(plus(x))",
    "CREATE MACRO all_of() AS TABLE SELECT * FROM s.t",
    "COMMENT ON TABLE s.t IS 'a table'",
    "COMMENT ON COLUMN s.t.v IS 'a column'",
    "COMMENT ON VIEW z IS 'a view'",
    "COMMENT ON INDEX s.by_v IS 'an index'",
    "COMMENT ON SEQUENCE numbers IS 'a sequence'",
    "INSERT INTO parent (id) VALUES (1), (2)",
    "INSERT INTO child VALUES (1, 1), (2, 1)",
    "INSERT INTO made (m) VALUES (1), (2)",
    "INSERT INTO s.t VALUES (1, 'One'), (2, 'Two')",
    "INSERT INTO a.b.t VALUES (1, {'one': 1, 'other': 'x'})",
    "CREATE TRIGGER added AFTER INSERT ON s.t REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT "
    "INSERT INTO s.log SELECT i, 'added' FROM fresh",
    "CREATE TRIGGER gone AFTER DELETE ON a.b.t REFERENCING OLD TABLE AS old FOR EACH STATEMENT "
    "INSERT INTO s.log SELECT i, 'gone' FROM old",
    "INSERT INTO s.t VALUES (3, 'Three')",
]


def execute(connection, statements) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_every_kind_of_object_comes_back(server, tmp_path):
    """Under another file name, with the rows, the numbers that sequences go on with, and triggers that fire again and
    did not fire for the copy's rows."""
    with server.connect() as connection:
        execute(connection, EVERY_KIND)
        assert rows(connection, "FROM s.log") == [(3, "added")]
        assert rows(connection, "SELECT nextval('down')") == [(0,)]
    run("backup", "--to", "kinds.duckdb", "--server", server.uri)
    assert sorted(tmp_path.glob("kinds*")) == [tmp_path / "kinds.duckdb"]
    server.stop()
    restored = tmp_path / "another name.duckdb"
    said = run("restore", "--from", tmp_path / "kinds.duckdb", "--database", restored).stdout
    assert "6 tables with 11 rows" in said, said
    other = Server(tmp_path, "--database", str(restored))
    try:
        with other.connect() as connection:

            def check(sql, *expected):
                assert rows(connection, sql) == list(expected), sql

            check("FROM s.log", (3, "added"))
            check("FROM s.t ORDER BY i", (1, "One"), (2, "Two"), (3, "Three"))
            check("SELECT i, p.other FROM a.b.t", (1, "x"))
            check("FROM parent ORDER BY id", (1, "calm"), (2, "calm"))
            check("FROM made ORDER BY n", (10, 20, 1), (15, 30, 2))
            check("FROM above ORDER BY i", (1,), (2,), (3,))
            check("FROM a.b.v", (1, 2))
            check("SELECT plus_two(5), (SELECT count(*) FROM all_of())", (7, 3))
            check("SELECT count(*) FROM s.t WHERE v = 'TWO'", (1,))
            check("SELECT index_name, comment FROM duckdb_indexes() ORDER BY ALL", ("by_v", "an index"), ("one_of_each", None))
            check("SELECT comment FROM duckdb_views() WHERE view_name = 'z'", ("a view",))
            check("SELECT comment FROM duckdb_tables() WHERE table_name = 't' AND schema_name = 's'", ("a table",))
            check("SELECT comment FROM duckdb_sequences() WHERE sequence_name = 'numbers'", ("a sequence",))
            execute(connection, ["INSERT INTO made (m) VALUES (3)", "INSERT INTO s.t VALUES (4, 'Four')"])
            execute(connection, ["DELETE FROM a.b.t"])
            check("SELECT max(n) FROM made", (20,))
            check("SELECT nextval('down')", (-1,))
            check("FROM s.log ORDER BY i", (1, "gone"), (3, "added"), (4, "added"))
            for refused in [
                "INSERT INTO child VALUES (3, 1)",
                "INSERT INTO child VALUES (1, 0)",
                "INSERT INTO child VALUES (1, 1)",
                "INSERT INTO s.t VALUES (1, 'again')",
                "INSERT INTO parent VALUES (9, 'loud')",
            ]:
                with pytest.raises(Exception, match="(?i)constraint|could not convert"):
                    rows(connection, refused)
        # And a backup of what was restored is whole as well.
        run("backup", "--to", "again.duckdb", "--server", other.uri)
    finally:
        other.stop(signal.SIGKILL)


def test_what_cannot_be_copied_is_named(server, tmp_path):
    """No file is written, the text says what to do, and the server and later backups go on."""
    catalog = "pintail"
    for make, parts, mend in [
        (
            ["CREATE SCHEMA a", "CREATE SCHEMA a.b", "CREATE TABLE a.b.t (i INTEGER)", "CREATE INDEX ix ON a.b.t (i)"],
            ["nested schemas", "a.b.ix", "drop them"],
            ["DROP INDEX a.b.ix"],
        ),
        (
            [
                "CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree (id))",
                "INSERT INTO tree VALUES (1, NULL)",
                "INSERT INTO tree VALUES (2, 1)",
            ],
            ["rows of the same table", "foreign key"],
            ["DROP TABLE tree"],
        ),
        (
            [
                "CREATE TABLE t (i INTEGER)",
                "CREATE TABLE log (i INTEGER)",
                "CREATE TRIGGER named AFTER INSERT ON t REFERENCING NEW TABLE AS n FOR EACH STATEMENT "
                f"INSERT INTO {catalog}.main.log SELECT i FROM n",
            ],
            ["trigger named", "without the database's name"],
            ["DROP TRIGGER named ON t"],
        ),
        (
            ["CREATE SEQUENCE s", f"CREATE TABLE numbered (i INTEGER DEFAULT nextval('{catalog}.main.s'))"],
            ["names this database itself"],
            ["DROP TABLE numbered"],
        ),
    ]:
        with server.connect() as connection:
            execute(connection, make)
            done = run("backup", "--to", "not.duckdb", "--server", server.uri, check=False)
            assert done.returncode == 1, make
            for part in parts:
                assert part in done.stderr, (part, done.stderr)
            assert str(tmp_path) not in done.stderr and "pintail_backup_" not in done.stderr
            assert not list(tmp_path.glob("not*"))
            execute(connection, mend)
        run("backup", "--to", f"whole{len(list(tmp_path.glob('whole*')))}.duckdb", "--server", server.uri)
