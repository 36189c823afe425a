"""What `pintail load` remembers of a file: the same however it is reached, told when it has changed, and gone with its table."""

import gzip
import os
import signal

import pyarrow as pa
import pyarrow.parquet as parquet
from conftest import Server, query, run


def write(path, ids, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"id": pa.array(ids, pa.int64())}), path, **options)


def load(server, *arguments, table="t", check=True, **options):
    return run("load", *arguments, "--table", table, "--server", server.uri, check=check, **options)


def sql(server, text):
    return query(server.client(), text).to_pylist()


def test_columns_of_folders_do_not_depend_on_how_a_file_is_reached(server, tmp_path):
    """Named by its folder, from inside, by a link, by a relative or an absolute path: one file, and one value."""
    top = tmp_path / "m"
    for n in range(1, 8):
        write(top / f"n={n}" / "a.parquet", [n])
    (tmp_path / "latest").symlink_to("m/n=6")
    assert "loaded 1 row" in load(server, top / "n=1").stdout
    for arguments, folder in [
        (["n=2"], top),
        (["."], top / "n=3"),
        (["a.parquet"], top / "n=4"),
        (["*.parquet"], top / "n=5"),
        (["latest"], tmp_path),
        (["../n=7/a.parquet"], top / "n=7"),
    ]:
        assert "loaded 1 row" in load(server, *arguments, cwd=folder).stdout, arguments
    assert "7 of 7 files were there already" in load(server, top).stdout
    assert sql(server, "FROM t ORDER BY id") == [{"id": n, "n": n} for n in range(1, 8)]
    # A link cannot give a file another value.
    (top / "n=8").symlink_to("n=1")
    refused = load(server, top / "n=8", check=False)
    assert refused.returncode == 1 and "is a link to" in refused.stderr and "n=8" in refused.stderr, refused.stderr
    assert "loaded 0 rows" in load(server, top).stdout


def test_other_columns_of_folders_are_not_passed_over_in_silence(server, tmp_path):
    """Loaded without its folders, a file is not loaded again with them, and this is said; the other way round as well."""
    top = tmp_path / "m"
    write(top / "n=1" / "a.parquet", [1])
    (top / "n=1" / "b.csv").write_text("id\n2\n")
    sql(server, "CREATE TABLE t (id BIGINT, n BIGINT)")
    load(server, top, "--no-hive")
    for _ in range(2):
        done = load(server, top)
        assert done.stderr.count("other columns of key=value folders") == 2 and "a.parquet" in done.stderr, done.stderr
        assert "loaded 0 rows" in done.stdout and "2 files were stored with other columns of folders" in done.stdout
    told = load(server, top, "--dry-run").stdout
    assert told.count("there already") == 2 and told.count("other columns") == 2, told
    assert sql(server, "FROM t ORDER BY id") == [{"id": 1, "n": None}, {"id": 2, "n": None}]
    # What is appended to the text gets them; what was stored stays as it is.
    with (top / "n=1" / "b.csv").open("a") as text:
        text.write("3\n")
    assert "loaded 1 row" in load(server, top).stdout
    assert "loaded 0 rows" in load(server, top).stdout
    assert sql(server, "SELECT n FROM t ORDER BY id") == [{"n": None}, {"n": None}, {"n": 1}]
    load(server, top, table="u")
    done = load(server, top, "--no-hive", table="u")
    assert "loaded 0 rows" in done.stdout and "other columns" in done.stderr, (done.stdout, done.stderr)


def test_a_file_with_other_content_is_told(server, tmp_path):
    """Rows of the old content stay, and whoever loads a changed file is told before, while and after."""
    text = tmp_path / "e.csv"
    lines = [f"{n},abc" for n in range(1, 20_001)]
    text.write_text("\n".join(["id,v", *lines, ""]))
    load(server, text)
    # A file that only grows has not changed.
    with text.open("a") as more:
        more.write("20001,abc\n")
    done = load(server, text)
    assert "changed" not in done.stdout + done.stderr and "loaded 1 row" in done.stdout, (done.stdout, done.stderr)
    lines[10] = "11,abd"
    text.write_text("\n".join(["id,v", *lines, ""]))
    told = load(server, text, "--dry-run").stdout
    assert f"changed: {text}: 1 of 1 pieces is new (rows not known before they are read); rows of the old content stay" in told
    done = load(server, text)
    assert f"changed: {text}: 1 of 1 pieces is new (20,000 rows); rows of the old content stay" in done.stderr, done.stderr
    assert "1 file has changed since, and the rows of the old content stay in t" in done.stdout, done.stdout

    packed = tmp_path / "q.parquet"
    write(packed, range(10_000), row_group_size=2_500, compression="snappy")
    load(server, packed, table="q")
    write(packed, range(10_000), row_group_size=2_500, compression="zstd")
    told = load(server, packed, "--dry-run", table="q").stdout
    assert "4 of 4 pieces are new (10,000 rows); rows of the old content stay" in told, told
    done = load(server, packed, table="q")
    assert "4 of 4 pieces are new (10,000 rows)" in done.stderr and "has changed" in done.stdout
    # A row group more is none that has gone; one that is missing is told, though there is nothing to load.
    fresh = tmp_path / "r.parquet"
    write(fresh, range(5_000), row_group_size=2_500)
    load(server, fresh, table="r")
    write(fresh, range(7_500), row_group_size=2_500)
    done = load(server, fresh, table="r")
    assert "changed" not in done.stderr and "loaded 2,500 rows" in done.stdout, (done.stderr, done.stdout)
    write(fresh, range(5_000), row_group_size=2_500)
    assert "0 of 2 pieces are new (0 rows)" in load(server, fresh, table="r").stderr

    (tmp_path / "z.csv.gz").write_bytes(gzip.compress(b"id\n1\n"))
    load(server, tmp_path / "z.csv.gz", table="z")
    (tmp_path / "z.csv.gz").write_bytes(gzip.compress(b"id\n1\n2\n"))
    assert "1 of 1 pieces is new (2 rows); rows of the old content stay" in load(server, tmp_path / "z.csv.gz", table="z").stderr


def test_what_is_remembered_goes_with_the_table(tmp_path):
    """A new name takes it along, also of tables that change places, and after a restart; a table that is dropped takes it away."""
    one, two = tmp_path / "1.parquet", tmp_path / "2.parquet"
    write(one, [1])
    write(two, [2])
    server = Server(tmp_path)

    def there(file, table):
        return "loaded 0 rows" in load(server, file, table=table).stdout

    load(server, one, table="a")
    load(server, two, table="b")
    sql(server, "ALTER TABLE a RENAME TO c")
    assert there(one, "c")
    for statement in ["ALTER TABLE c RENAME TO t", "ALTER TABLE b RENAME TO c", 'ALTER TABLE t RENAME TO "B"']:
        sql(server, statement)
    server.stop(signal.SIGKILL)
    server = Server(tmp_path)
    try:
        assert there(one, "b") and there(two, "c")
        assert load(server, one, table="c").stdout.startswith("loaded 1 row")
        # All at once, or not at all.
        script = "BEGIN; ALTER TABLE b RENAME TO t; ALTER TABLE c RENAME TO b; ALTER TABLE t RENAME TO c; {}"
        with server.connect(autocommit=False) as connection:
            for statement in script.split("; ")[1:4]:
                connection.cursor().execute(statement).fetchall()
            connection.rollback()
        assert there(one, "b") and there(two, "c")
        with server.connect(autocommit=False) as connection:
            for statement in script.split("; ")[1:4]:
                connection.cursor().execute(statement).fetchall()
            connection.commit()
        assert there(one, "c") and there(two, "b")
        # A table by the name of one that is gone knows nothing of its files.
        for statement in ["CREATE OR REPLACE TABLE c AS SELECT 7::BIGINT AS id", "DROP TABLE b"]:
            sql(server, statement)
        sql(server, "CREATE TABLE b AS SELECT 7::BIGINT AS id")
        assert load(server, one, table="c").stdout.startswith("loaded 1 row")
        assert load(server, two, table="b").stdout.startswith("loaded 1 row")
        assert sql(server, "FROM c ORDER BY id") == [{"id": 1}, {"id": 7}]
    finally:
        server.stop(signal.SIGKILL)


def test_a_file_that_is_cut_short_is_told(server, tmp_path):
    """Where the last line has no end, no type of a column helps."""
    for name, text in [("n.ndjson", '{"id":1,"v":"a"}\n{"id":2,"v":"b'), ("c.csv", "id,v\n1,a\n2")]:
        (tmp_path / name).write_text(text)
        refused = load(server, tmp_path / name, check=False)
        assert refused.returncode == 1 and "cut short" in refused.stderr and "line " in refused.stderr, refused.stderr
        assert "VARCHAR" not in refused.stderr


def test_an_exported_database_is_no_table(server, tmp_path):
    """Its files are tables of their own, and each can be loaded."""
    for name in ["schema.sql", "load.sql", "t.csv", "u.csv"]:
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("id\n1\n" if name.endswith("csv") else "-- SQL\n")
    refused = load(server, "out", check=False, cwd=tmp_path)
    assert refused.returncode == 1 and "EXPORT DATABASE" in refused.stderr, refused.stderr
    assert "pintail load out/NAME.parquet --table NAME" in refused.stderr or os.fspath(tmp_path) in refused.stderr
    assert "loaded 1 row" in load(server, "out/t.csv", cwd=tmp_path).stdout
