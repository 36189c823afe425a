"""`pintail load` beside others and over many listings: what makes a table anew holds once, and loads that meet wait."""

import signal
import subprocess
import time

import pyarrow as pa
import pyarrow.parquet as parquet
from conftest import binary, query, run


def started(server, *arguments, **options):
    command = [binary(), "load", *map(str, arguments), "--server", server.uri]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def ids(server, table="t") -> list:
    try:
        return query(server.client(), f"SELECT id FROM {table} ORDER BY id")["id"].to_pylist()
    except pa.ArrowKeyError:
        return []


def until(what, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None and time.monotonic() < deadline, process.poll()
        time.sleep(0.05)


def stopped(process) -> str:
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    return error


def text(path, first, last) -> None:
    path.write_text("\n".join(["id", *map(str, range(first, last + 1)), ""]))


def test_a_table_is_made_anew_once_while_folders_are_followed(server, tmp_path):
    """Also with one part at a time, also when the first files are refused, whatever listing they come with."""
    for mode, jobs in [("replace", 3), ("create", 3), ("replace", 1)]:
        table = f"{mode}_{jobs}"
        folder = tmp_path / table
        folder.mkdir()
        if mode == "replace":
            query(server.client(), f"CREATE TABLE {table} AS SELECT 99::BIGINT AS id")
        (folder / "a.parquet").write_bytes(b"PAR1 cut short")
        (folder / "b.csv").write_text("id,v\n1\n")
        follow = started(server, folder, "--table", table, "--follow", "--mode", mode, "--jobs", jobs)
        assert "b.csv" in "".join(follow.stderr.readline() for _ in range(2))
        text(folder / "c.csv", 1, 10)
        until(lambda: ids(server, table) == list(range(1, 11)), follow)
        text(folder / "d.csv", 11, 20)
        until(lambda: ids(server, table) == list(range(1, 21)), follow)
        with (folder / "d.csv").open("a") as more:
            more.write("21\n")
        until(lambda: ids(server, table) == list(range(1, 22)), follow)
        assert "exist" not in stopped(follow)


def test_loads_that_meet_wait_for_each_other(server, tmp_path):
    """Loads of one folder at the same time end well, every row is there once, and hardly more is sent than once."""
    rows = 1_000_000
    folder = tmp_path / "in"
    for part in range(5):
        (folder / f"k={part}").mkdir(parents=True)
        table = pa.table({"id": pa.array(range(part * rows, (part + 1) * rows), pa.int64())})
        parquet.write_table(table, folder / f"k={part}" / "a.parquet", row_group_size=rows // 2)
    (folder / "k=0" / "lines.csv").write_text("\n".join(["id", *map(str, range(-200_000, 0)), ""]))
    for round, before in enumerate(["", "CREATE TABLE t1 (id BIGINT, k BIGINT)"]):
        table = f"t{round}"
        if before:
            query(server.client(), before)
        loads = [
            started(server, folder, "--table", table),
            started(server, ".", "--table", table, cwd=folder),
            started(server, folder / "k=0", f"{folder}/*/*", "--table", table, "--keep-going"),
        ]
        ended = [load.communicate(timeout=300) for load in loads]
        assert [load.returncode for load in loads] == [0, 0, 0], ended
        found = query(server.client(), f"SELECT count(*) AS n, count(DISTINCT id) AS d, count(k) AS k FROM {table}")
        assert found.to_pylist() == [{"n": 5_200_000, "d": 5_200_000, "k": 5_200_000}], ended
        # What each has loaded is what it says, and together it is all.
        loaded = [int(out.split(" row")[0].removeprefix("loaded ").replace(",", "")) for out, _ in ended]
        assert sum(loaded) == 5_200_000, ended
        assert any("another load stores these files" in error for _, error in ended) or min(loaded) == 0, ended
    assert "loaded 0 rows" in run("load", folder, "--table", "t0", "--server", server.uri).stdout


def test_loads_of_other_files_do_not_wait(server, tmp_path):
    """They are in nobody's way, though they store in the same table."""
    loads = []
    for load in range(3):
        for part in range(3):
            path = tmp_path / str(load) / f"{part}.parquet"
            path.parent.mkdir(exist_ok=True)
            first = (load * 3 + part) * 300_000
            parquet.write_table(pa.table({"id": pa.array(range(first, first + 300_000), pa.int64())}), path)
        loads.append(started(server, tmp_path / str(load), "--table", "t"))
    ended = [load.communicate(timeout=120) for load in loads]
    assert [load.returncode for load in loads] == [0, 0, 0], ended
    assert not any("another load" in error for _, error in ended), ended
    found = query(server.client(), "SELECT count(*) AS n, count(DISTINCT id) AS d FROM t").to_pylist()
    assert found == [{"n": 2_700_000, "d": 2_700_000}]
