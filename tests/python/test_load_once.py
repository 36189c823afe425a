"""`pintail load` stores each part of a file once, whatever happens in between."""

import re
import signal
import subprocess
import time

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as parquet
from conftest import Server, binary, query, run

PARTS = 4
PART = 1_000_000


def numbers(first: int, rows: int, word="row") -> pa.Table:
    ids = pa.array(range(first, first + rows), pa.int64())
    return pa.table({"id": ids, "text": pa.array([f"{word} {n}" for n in range(first, first + rows)], pa.string())})


def write(path, tables) -> None:
    """One row group for each table."""
    with parquet.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=len(table))


def counts(client, table: str) -> tuple[int, int]:
    found = query(client, f"SELECT count(*) AS n, count(DISTINCT id) AS d FROM {table}").to_pylist()[0]
    return found["n"], found["d"]


def committed(client, table: str) -> int:
    try:
        return query(client, f"SELECT count(*) AS n FROM {table}")["n"].to_pylist()[0]
    except pa.ArrowKeyError:
        return 0


def test_a_load_cut_by_kill_is_finished_by_the_same_command(tmp_path):
    """The server is killed once a part is durable and before the last one is; the second run adds what is missing."""
    file = tmp_path / "many.parquet"
    write(file, [numbers(part * PART, PART) for part in range(PARTS)])
    server = Server(tmp_path)
    arguments = ["load", str(file), "--table", "t"]
    load = subprocess.Popen(
        [binary(), *arguments, "--server", server.uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    client = server.client()
    deadline = time.monotonic() + 60
    while committed(client, "t") < PART:
        assert load.poll() is None and time.monotonic() < deadline, "no part was ever committed"
    server.stop(signal.SIGKILL)
    _, error = load.communicate(timeout=60)
    assert load.returncode == 1, "the load ended before the server was killed"
    found = re.search(r"(\d) of 4 pieces of \S*many.parquet", error)
    # The kill may have come before the answer to the first part.
    assert (found or "nothing was confirmed" in error) and "run the same command again" in error, error
    confirmed = int(found.group(1)) if found else 0

    server = Server(tmp_path)
    stored = committed(server.client(), "t")
    # All that was confirmed, perhaps up to two parts more whose answers were lost, and never a part of one.
    assert stored in [(confirmed + more) * PART for more in range(3)] and stored < PARTS * PART
    done = run(*arguments, "--server", server.uri)
    skipped = stored // PART
    assert f"loaded {PARTS * PART - stored:,} rows from 1 file into t" in done.stdout
    pieces = f"{skipped} piece" + ("s were" if skipped > 1 else " was")
    assert f"; of 1 file that was stored in part, {pieces} there already" in done.stdout
    assert counts(server.client(), "t") == (PARTS * PART, PARTS * PART)
    # And once more: there is nothing to do.
    done = run(*arguments, "--server", server.uri)
    assert "loaded 0 rows" in done.stdout and "; 1 of 1 file was there already (--again" in done.stdout
    assert counts(server.client(), "t") == (PARTS * PART, PARTS * PART)
    server.stop(signal.SIGKILL)


def test_a_changed_file_is_loaded_again_where_it_changed(server, tmp_path):
    """Parts are known by their content: the changed one is new, the others are left out."""
    file = tmp_path / "changing.parquet"
    parts = [numbers(part * 700_000, 700_000) for part in range(3)]
    write(file, parts)
    load = ["load", file, "--table", "t", "--server", server.uri]
    assert "already" not in run(*load).stdout
    write(file, [parts[0], numbers(5_000_000, 700_000, "new"), parts[2]])
    done = run(*load)
    assert "loaded 700,000 rows from 1 file into t" in done.stdout and "; of 1 file that was stored in part, 2 pieces were there already" in done.stdout
    assert counts(server.client(), "t") == (2_800_000, 2_800_000)


def test_arrow_files_load_in_parts_of_batches(server, tmp_path):
    """Both Arrow formats: a second run skips every part; a file with another batch loads that one."""
    batches = [numbers(part * 600_000, 600_000) for part in range(3)]
    for name, opener in [("a.arrow", pa.ipc.new_file), ("b.arrows", pa.ipc.new_stream)]:
        file, table = tmp_path / name, name.replace(".", "_")

        def save(tables, file=file, opener=opener):
            with pa.OSFile(str(file), "wb") as sink, opener(sink, tables[0].schema) as writer:
                for one in tables:
                    writer.write_table(one)

        load = ["load", file, "--table", table, "--server", server.uri]
        save(batches)
        assert "loaded 1,800,000 rows from 1 file" in run(*load).stdout
        assert "; 1 of 1 file was there already" in run(*load).stdout
        save([batches[0], batches[1], numbers(9_000_000, 10)])
        done = run(*load)
        assert "loaded 10 rows from 1 file" in done.stdout or "loaded 600,010 rows" in done.stdout, done.stdout
        assert query(server.client(), f"SELECT count(*) AS n FROM {table} WHERE id >= 9000000")["n"].to_pylist() == [10]


def test_again_replace_create_and_an_emptied_table_load_everything(server, tmp_path):
    """What was loaded before counts only as long as it can still be there."""
    file = tmp_path / "a.parquet"
    write(file, [numbers(0, 1_000)])
    client = server.client()

    def load(*flags, check=True):
        return run("load", file, "--table", "t", "--server", server.uri, *flags, check=check)

    assert "already" not in load("--mode", "create").stdout
    assert load("--mode", "create", check=False).returncode == 1
    assert "1 of 1 file was there already" in load("--mode", "append").stdout
    assert "loaded 1,000 rows" in load("--again").stdout and counts(client, "t") == (2_000, 1_000)
    assert "loaded 0 rows" in load().stdout
    assert "loaded 1,000 rows" in load("--mode", "replace").stdout and counts(client, "t") == (1_000, 1_000)
    assert "loaded 1,000 rows" in load("--mode", "replace").stdout and counts(client, "t") == (1_000, 1_000)
    for statement in ["DELETE FROM t", "DROP TABLE t"]:
        run("query", statement, "--server", server.uri)
        assert "loaded 1,000 rows" in load().stdout and counts(client, "t") == (1_000, 1_000)
        assert "loaded 0 rows" in load().stdout


def test_names_that_collide_and_keys_that_conflict(server, tmp_path):
    """Equal files in two folders are two files; rows that meet a key follow --on-conflict in every part."""
    for folder in ["one", "two ü"]:
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "überall same.parquet", [numbers(0, 1_000)])
    load = ["load", tmp_path / "one", tmp_path / "two ü", "--table", "t", "--server", server.uri]
    assert "loaded 2,000 rows from 2 files" in run(*load).stdout
    assert "2 of 2 files were there already" in run(*load).stdout
    assert counts(server.client(), "t") == (2_000, 1_000)

    run("query", "CREATE TABLE keyed (id BIGINT PRIMARY KEY, text VARCHAR)", "--server", server.uri)
    file = tmp_path / "keyed.parquet"
    write(file, [numbers(0, 700_000), numbers(600_000, 700_000, "later")])
    load = ["load", file, "--table", "keyed", "--server", server.uri]
    refused = run(*load, check=False)
    assert refused.returncode == 1 and "1 of 2 pieces" in refused.stderr and "keyed.parquet" in refused.stderr
    assert counts(server.client(), "keyed") == (700_000, 700_000)
    done = run(*load, "--on-conflict", "replace")
    assert "; of 1 file that was stored in part, 1 piece was there already" in done.stdout
    assert counts(server.client(), "keyed") == (1_300_000, 1_300_000)
    later = query(server.client(), "SELECT count(*) AS n FROM keyed WHERE text LIKE 'later%'")
    assert later["n"].to_pylist() == [700_000]


def test_a_file_of_several_names_is_loaded_once(server, tmp_path):
    """Relative and absolute, by links and through a loop of folders; each file is in the table once."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    write(folder / "a.parquet", [numbers(0, 1_000)])
    write(folder / "deep" / "b.parquet", [numbers(1_000, 1_000)])
    (folder / "link.parquet").symlink_to("a.parquet")
    (folder / "hard.parquet").hardlink_to(folder / "deep" / "b.parquet")
    (folder / "deep" / "up").symlink_to(folder)
    spellings = ["in/a.parquet", "./in/../in/a.parquet", folder / "a.parquet", "in", "in/*.parquet", "in/deep/up"]
    done = run("load", *spellings, "--table", "t", "--server", server.uri, cwd=tmp_path)
    assert "loaded 2,000 rows from 2 files" in done.stdout, done.stdout
    assert counts(server.client(), "t") == (2_000, 2_000)
    again = run("load", *reversed(spellings[:3]), "--table", "t", "--server", server.uri, cwd=tmp_path)
    assert "loaded 0 rows from 1 file" in again.stdout, again.stdout
    (folder / "alone").symlink_to("alone")
    done = run("load", "in/alone", "--table", "t", "--server", server.uri, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "in/alone" in done.stderr, done.stderr


def test_what_became_of_the_rows_is_told(tmp_path):
    """Rows that break a rule are not called loaded; those that were there, or took the place of others, are counted."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "t.toml").write_text(
        "dead_letters = true\n\n[[field]]\nname = 'id'\ntype = 'int64'\n\n[[field]]\nname = 'text'\ntype = 'string'\n"
        "nullable = false\n"
    )
    server = Server(tmp_path, env={"PINTAIL_SCHEMAS__DIR": str(tmp_path / "schemas")})
    try:
        write(tmp_path / "a.parquet", [numbers(0, 1_000)])
        holes = pa.table({"id": pa.array(range(1_000), pa.int64()), "text": pa.array(["x", *[None] * 900, *["y"] * 99])})
        write(tmp_path / "holes.parquet", [holes])
        done = run("load", tmp_path / "holes.parquet", "--server", server.uri, "--table", "t")
        load = ["load", tmp_path / "a.parquet", "--server", server.uri]
        assert "loaded 100 rows, 900 rejected (see t__rejected), from 1 file into t" in done.stdout, done.stdout
        assert counts(server.client(), "t") == (100, 100) and committed(server.client(), "t__rejected") == 900
        run("query", "CREATE TABLE keyed (id BIGINT PRIMARY KEY, text VARCHAR)", "--server", server.uri)
        run("query", "INSERT INTO keyed SELECT range, 'old' FROM range(10)", "--server", server.uri)
        for choice, told in [("ignore", "loaded 990 rows, 10 ignored, from"), ("replace", "loaded 1,000 rows, 1,000 replaced, from")]:
            done = run(*load, "--table", "keyed", "--on-conflict", choice, "--again")
            assert told in done.stdout, done.stdout
    finally:
        server.stop(signal.SIGKILL)
