"""`pintail load` of folders as they are: partitions, left-overs, many small files, growing ones; each row once."""

import datetime
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time

import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.ipc
import pyarrow.parquet as parquet
import pytest
from conftest import Server, binary, query, run


def write(path, table: pa.Table | dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table if isinstance(table, pa.Table) else pa.table(table), path)


def load(server, *arguments, table="t", check=True, **options):
    return run("load", *arguments, "--table", table, "--server", server.uri, check=check, **options)


def ids(server, table="t") -> list:
    return query(server.client(), f"SELECT id FROM {table} ORDER BY id")["id"].to_pylist()


def test_folders_are_columns(server, tmp_path):
    """Numbers, dates, NULL and text with letters that a path cannot hold, as pyarrow writes them."""
    data = pa.table(
        {
            "year": [2023, 2023, 2024],
            "day": [datetime.date(2024, 1, 2), datetime.date(2024, 1, 3), None],
            "code": ["007", "a/b %", "x=y"],
            "v": [1, 2, 3],
        }
    )
    folder = tmp_path / "in"
    dataset.write_dataset(
        data, folder, format="parquet", partitioning=["year", "day", "code"], partitioning_flavor="hive"
    )
    load(server, folder)
    found = query(server.client(), "SELECT year, day, code, v FROM t ORDER BY v").to_pydict()
    assert found == data.to_pydict()
    assert "3 of 3 files were there already" in load(server, folder).stdout
    load(server, folder, "--no-hive", table="bare")
    assert query(server.client(), "FROM bare").column_names == ["v"]


def test_folders_take_the_types_of_the_table(server, tmp_path):
    query(server.client(), "CREATE TABLE t (v BIGINT, code VARCHAR)")
    write(tmp_path / "in" / "code=7" / "a.parquet", {"v": [1]})
    load(server, tmp_path / "in")
    assert query(server.client(), "FROM t").to_pydict() == {"v": [1], "code": ["7"]}
    query(server.client(), "CREATE TABLE n (v BIGINT, code INTEGER)")
    write(tmp_path / "other" / "code=x" / "a.parquet", {"v": [1]})
    refused = load(server, tmp_path / "other", table="n", check=False)
    assert refused.returncode == 1 and "code" in refused.stderr and "a.parquet" in refused.stderr, refused.stderr


def test_a_folder_grows_and_shrinks(server, tmp_path):
    """Files are known by their path and content: whatever else is listed, in whatever order."""
    folder = tmp_path / "in"
    write(folder / "eu" / "part-0.parquet", {"id": [1, 2, 3]})
    write(folder / "me" / "part-0.parquet", {"id": [4, 5]})
    load(server, folder)
    write(folder / "asia" / "part-0.parquet", {"id": [6]})
    assert "loaded 1 row from 3 files" in load(server, folder).stdout
    shutil.rmtree(folder / "eu")
    assert "loaded 0 rows" in load(server, folder).stdout
    assert "loaded 0 rows" in load(server, folder / "me", folder / "asia").stdout
    # The same rows in another file are other rows.
    write(folder / "copy" / "part-0.parquet", {"id": [6]})
    load(server, folder / "copy")
    assert ids(server) == [1, 2, 3, 4, 5, 6, 6]
    # A file of which a row group is new adds that one.
    with parquet.ParquetWriter(folder / "me" / "part-0.parquet", pa.schema([("id", pa.int64())])) as writer:
        writer.write_table(pa.table({"id": [4, 5]}))
        writer.write_table(pa.table({"id": [7]}))
    assert "loaded 1 row from 1 file" in load(server, folder / "me").stdout
    assert ids(server) == [1, 2, 3, 4, 5, 6, 6, 7]


def test_equal_row_groups_of_a_file_are_all_its_rows(server, tmp_path):
    file = tmp_path / "same.parquet"
    with parquet.ParquetWriter(file, pa.schema([("id", pa.int64())])) as writer:
        for _ in range(3):
            writer.write_table(pa.table({"id": pa.array([1] * 400_000)}))
    load(server, file)
    assert "1 of 1 file was there already" in load(server, file).stdout
    assert query(server.client(), "SELECT count(*) AS n FROM t")["n"].to_pylist() == [1_200_000]


def test_forget_and_again(server, tmp_path):
    write(tmp_path / "a.parquet", {"id": [1]})
    load(server, tmp_path / "a.parquet")
    done = run("load", "--forget", "t", "--server", server.uri)
    assert "forgot 1 piece of files loaded into t" in done.stdout
    load(server, tmp_path / "a.parquet")
    load(server, tmp_path / "a.parquet")
    assert ids(server) == [1, 1]
    load(server, tmp_path / "a.parquet", "--again")
    assert ids(server) == [1, 1, 1]


def test_names_with_dots_are_tables_of_their_own(server, tmp_path):
    """In what is remembered of files, and in what is forgotten."""
    for sql in ['CREATE SCHEMA "a.b"', "CREATE SCHEMA a", 'CREATE TABLE "a.b".c (id BIGINT)', 'CREATE TABLE a."b.c" (id BIGINT)']:
        query(server.client(), sql)
    write(tmp_path / "a.parquet", {"id": [1]})
    for table in ['"a.b".c', 'a."b.c"']:
        assert "loaded 1 row " in load(server, tmp_path / "a.parquet", table=table).stdout
    assert "forgot 1 piece" in run("load", "--forget", '"a.b".c', "--server", server.uri).stdout
    assert "loaded 1 row " in load(server, tmp_path / "a.parquet", table='"a.b".c').stdout
    assert "loaded 0 rows" in load(server, tmp_path / "a.parquet", table='a."b.c"').stdout


def test_a_dry_run_tells_and_changes_nothing(server, tmp_path):
    write(tmp_path / "in" / "a.parquet", {"id": [1, 2]})
    told = load(server, tmp_path / "in", "--dry-run").stdout
    assert "a.parquet  Parquet: new, 2 rows" in told and "would load 2 rows from 1 file into t, which would be made" in told
    assert "id: Int64" in told
    load(server, tmp_path / "in")
    write(tmp_path / "in" / "b.parquet", {"id": [3.5]})
    write(tmp_path / "in" / "c.parquet", {"id": ["x"]})
    told = load(server, tmp_path / "in", "--dry-run", check=False)
    assert told.returncode == 1 and '"id"' in told.stderr, told.stderr
    (tmp_path / "in" / "c.parquet").unlink()
    told = load(server, tmp_path / "in", "--dry-run", "--widen").stdout
    assert "a.parquet  Parquet: there already" in told and "id: Float64, would be widened" in told
    assert ids(server) == [1, 2]


def test_files_of_several_shapes_make_one_table(server, tmp_path):
    """The union of columns by name, the widest type, NULL where a file lacks a column."""
    write(tmp_path / "in" / "1.parquet", pa.table({"id": pa.array([1], pa.int32()), "a": ["x"]}))
    write(tmp_path / "in" / "2.parquet", pa.table({"A": pa.array(["y"], pa.large_string()), "id": pa.array([2], pa.int64())}))
    write(tmp_path / "in" / "3.parquet", pa.table({"id": pa.array([3], pa.int8()), "new": pa.array([1.5])}))
    load(server, tmp_path / "in")
    found = query(server.client(), "FROM t ORDER BY id").to_pydict()
    assert found == {"id": [1, 2, 3], "a": ["x", "y", None], "new": [None, None, 1.5]}
    write(tmp_path / "more" / "4.parquet", pa.table({"id": [4], "later": ["z"]}))
    refused = load(server, tmp_path / "more", check=False)
    assert refused.returncode == 1 and '"later"' in refused.stderr and "--on-new-column add" in refused.stderr
    load(server, tmp_path / "more", "--on-new-column", "add")
    assert query(server.client(), "SELECT later, a FROM t WHERE id = 4").to_pydict() == {"later": ["z"], "a": [None]}


def test_columns_that_a_file_lacks_are_filled_by_their_defaults(server, tmp_path):
    query(server.client(), "CREATE TABLE t (id BIGINT, origin VARCHAR DEFAULT 'here')")
    write(tmp_path / "in" / "1.parquet", pa.table({"id": [1]}))
    write(tmp_path / "in" / "2.parquet", pa.table({"id": [2], "origin": ["there"]}))
    load(server, tmp_path / "in")
    assert query(server.client(), "FROM t ORDER BY id").to_pydict() == {"id": [1, 2], "origin": ["here", "there"]}


def test_types_that_cannot_be_joined_are_said_before_anything_is_stored(server, tmp_path):
    write(tmp_path / "in" / "1.parquet", pa.table({"id": [1]}))
    write(tmp_path / "in" / "2.parquet", pa.table({"id": [datetime.date(2024, 1, 1)]}))
    refused = load(server, tmp_path / "in", check=False)
    assert refused.returncode == 1
    for part in ['"id"', "1.parquet", "2.parquet", "Int64", "Date32"]:
        assert part in refused.stderr, refused.stderr
    tables = query(server.client(), "SELECT count(*) AS n FROM duckdb_tables() WHERE table_name = 't'")
    assert tables["n"].to_pylist() == [0]


def test_one_bad_file_among_good_ones(server, tmp_path):
    """Named; without --keep-going nothing is sent, with it the others are stored, and the exit code still says so."""
    folder = tmp_path / "in"
    for number in range(5):
        write(folder / f"{number}.parquet", {"id": [number]})
    whole = (folder / "2.parquet").read_bytes()
    (folder / "2.parquet").write_bytes(whole[: len(whole) // 2])
    refused = load(server, folder, check=False)
    assert refused.returncode == 1 and "2.parquet" in refused.stderr and "--keep-going" in refused.stderr
    kept = load(server, folder, "--keep-going", check=False)
    assert kept.returncode == 1 and "2.parquet" in kept.stderr, kept.stderr
    assert ids(server) == [0, 1, 3, 4]
    (folder / "2.parquet").write_bytes(whole)
    load(server, folder)
    assert ids(server) == [0, 1, 2, 3, 4]


def test_a_row_that_the_table_refuses_holds_back_its_file_alone(server, tmp_path):
    query(server.client(), "CREATE TABLE t (id BIGINT CHECK (id <> 7))")
    for number in range(10):
        write(tmp_path / "in" / f"{number}.parquet", {"id": [number, number + 100]})
    kept = load(server, tmp_path / "in", "--keep-going", check=False)
    assert kept.returncode == 1 and "7.parquet" in kept.stderr and "6.parquet" not in kept.stderr, kept.stderr
    assert ids(server) == sorted({*range(10), *range(100, 110)} - {7, 107})


def test_damaged_pages_store_nothing_of_their_row_group(server, tmp_path):
    """A file whose footer is whole and whose data is not."""
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"id": range(1_000), "s": [f"text {n}" for n in range(1_000)]}), file, compression="zstd")
    content = bytearray(file.read_bytes())
    content[600:700] = bytes(100)
    file.write_bytes(content)
    refused = load(server, file, check=False)
    assert refused.returncode == 1 and "a.parquet" in refused.stderr and "row group" in refused.stderr, refused.stderr
    assert "panicked" not in refused.stderr
    tables = query(server.client(), "SELECT count(*) AS n FROM duckdb_tables() WHERE table_name = 't'")
    assert tables["n"].to_pylist() == [0]


def test_many_small_files_with_few_open_at_a_time(server, tmp_path):
    for number in range(1_500):
        write(tmp_path / "in" / f"{number:05}.parquet", {"id": [number]})
    done = subprocess.run(
        [binary(), "load", str(tmp_path / "in"), "--table", "t", "--server", server.uri],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )
    assert done.returncode == 0, done.stderr
    assert ids(server) == list(range(1_500))
    status = query(server.client(), "SELECT count(DISTINCT \"at\") AS n FROM pintail_internal.load_ledger")
    assert status["n"].to_pylist()[0] <= 2


def test_two_loads_of_one_folder_at_once(server, tmp_path):
    for number in range(200):
        write(tmp_path / "in" / f"{number:05}.parquet", {"id": [number]})
    command = [binary(), "load", str(tmp_path / "in"), "--table", "t", "--server", server.uri]
    loads = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    told = [one.communicate(timeout=120) for one in loads]
    assert ids(server) == list(range(200)), told
    assert all(one.returncode == 0 for one in loads), told


def test_standard_input_of_any_format(server, tmp_path):
    for name, content in {
        "csv": b"id,s\n1,007\n2,\n",
        "ndjson": b'{"id": 1, "s": "007"}\n{"id": 2}\n',
    }.items():
        done = subprocess.run(
            [binary(), "load", "-", "--table", name, "--server", server.uri], input=content, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        assert query(server.client(), f"FROM {name} ORDER BY id").to_pydict() == {"id": [1, 2], "s": ["007", None]}


def test_a_log_of_lines_grows(server, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("id,s\n" + "".join(f"{n},a\n" for n in range(10_000)))
    load(server, log)
    with log.open("a") as more:
        more.write("".join(f"{n},b\n" for n in range(10_000, 10_050)))
    assert "loaded 50 rows" in load(server, log).stdout
    assert "loaded 0 rows" in load(server, log).stdout
    assert ids(server) == list(range(10_050))


def test_tables_with_a_log_are_named(server, tmp_path):
    write(tmp_path / "delta" / "part-0.parquet", {"id": [1]})
    (tmp_path / "delta" / "_delta_log").mkdir()
    (tmp_path / "delta" / "_delta_log" / f"{0:020}.json").write_text("{}\n")
    write(tmp_path / "ice" / "data" / "a.parquet", {"id": [1]})
    (tmp_path / "ice" / "metadata").mkdir()
    (tmp_path / "ice" / "metadata" / "v1.metadata.json").write_text("{}")
    for folder, word in [("delta", "Delta"), ("ice", "Iceberg")]:
        refused = load(server, tmp_path / folder, check=False)
        assert refused.returncode == 1 and word in refused.stderr, refused.stderr


def test_follow_loads_what_comes(server, tmp_path):
    """Finished files, each once, also one that is written slowly, until a signal; a bad one stops nothing."""
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "0.parquet", {"id": [0]})
    follow = subprocess.Popen(
        [binary(), "load", str(folder), "--table", "t", "--server", server.uri, "--follow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def wait_for(expected):
        deadline = time.monotonic() + 30
        while True:
            try:
                found = ids(server)
            except pa.ArrowException:
                found = []
            if found == expected:
                return
            assert time.monotonic() < deadline and follow.poll() is None, (found, follow.poll())
            time.sleep(0.05)

    wait_for([0])
    write(tmp_path / "whole.parquet", {"id": [1]})
    content = (tmp_path / "whole.parquet").read_bytes()
    with (folder / "1.parquet").open("wb") as slow:
        for place in range(0, len(content), 50):
            slow.write(content[place : place + 50])
            slow.flush()
            time.sleep(0.02)
    (folder / "bad.parquet").write_bytes(b"PAR1 is not all that it takes")
    write(folder / "2.parquet", {"id": [2]})
    wait_for([0, 1, 2])
    follow.send_signal(signal.SIGTERM)
    _, error = follow.communicate(timeout=30)
    assert follow.returncode == 0 and error.count("bad.parquet") == 1, error


@pytest.mark.parametrize("victim", ["client", "server"])
def test_a_load_that_is_killed_again_and_again(tmp_path, victim):
    """kill -9 at random moments of a load of partitioned files, the same command each time: every row once."""
    rounds = int(os.environ.get("PINTAIL_LOAD_KILLS", "8"))
    chance = random.Random(os.environ.get("PINTAIL_LOAD_SEED", "7"))
    folder = tmp_path / "in"
    expected = []
    for number in range(200):
        rows = list(range(number * 1_000, number * 1_000 + 1_000))
        expected.extend(rows)
        table = pa.table({"id": rows, "s": [f"{row} " * 20 for row in rows]})
        path = folder / f"day={number % 10}" / f"part-{number // 10}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, path, row_group_size=300)
    server = Server(tmp_path)
    command = ["load", str(folder), "--table", "t", "--jobs", "4"]
    try:
        for _ in range(rounds):
            one = subprocess.Popen(
                [binary(), *command, "--server", server.uri], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            late = threading.Timer(chance.uniform(0.01, 0.5), (one if victim == "client" else server.process).kill)
            late.start()
            one.wait(60)
            late.join()
            if victim == "server":
                server.stop(signal.SIGKILL)
                server = Server(tmp_path)
        run(*command, "--server", server.uri)
        assert ids(server) == expected
        assert "200 of 200 files were there already" in run(*command, "--server", server.uri).stdout
    finally:
        server.stop(signal.SIGKILL)


def test_standard_input_is_taken_each_time(server):
    for _ in range(3):
        done = subprocess.run(
            [binary(), "load", "-", "--table", "t", "--server", server.uri], input=b"id\n1\n", capture_output=True
        )
        assert done.returncode == 0, done.stderr
    assert ids(server) == [1, 1, 1]


def test_a_stream_file_grows_batch_by_batch(server, tmp_path):
    schema = pa.schema([("id", pa.int64())])
    with pa.OSFile(str(tmp_path / "a.arrows"), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for number in range(4):
            writer.write_batch(pa.record_batch([[number]], schema=schema))
            sink.flush()
            load(server, tmp_path / "a.arrows")
    assert ids(server) == [0, 1, 2, 3]


def test_again_and_widen_hold_for_text(server, tmp_path):
    (tmp_path / "a.csv").write_text("id,b\n1,true\n")
    query(server.client(), "CREATE TABLE t (id INTEGER, b BOOLEAN)")
    load(server, tmp_path / "a.csv")
    load(server, tmp_path / "a.csv", "--again")
    assert query(server.client(), "FROM t").to_pydict() == {"id": [1, 1], "b": [True, True]}
    (tmp_path / "b.csv").write_text("id,b\n1099511627776,false\n")
    assert load(server, tmp_path / "b.csv", check=False).returncode == 1
    load(server, tmp_path / "b.csv", "--widen")
    assert ids(server) == [1, 1, 1099511627776]


def test_files_that_do_not_fit_hold_nobody_back(server, tmp_path):
    query(server.client(), "CREATE TABLE t (id BIGINT)")
    write(tmp_path / "in" / "bad.parquet", {"id": [1], "z": [1]})
    write(tmp_path / "in" / "good.parquet", {"id": [2]})
    kept = load(server, tmp_path / "in", "--keep-going", check=False)
    assert kept.returncode == 1 and "bad.parquet" in kept.stderr and "good.parquet" not in kept.stderr, kept.stderr
    assert ids(server) == [2]


def test_many_loaders_of_one_growing_file(server, tmp_path):
    """They see its end at different moments; each line is stored once."""
    log = tmp_path / "g.csv"
    log.write_text("id\n")
    stop = threading.Event()

    def loader():
        while not stop.is_set():
            load(server, log, check=False)

    loaders = [threading.Thread(target=loader) for _ in range(4)]
    for one in loaders:
        one.start()
    for number in range(150):
        with log.open("a") as more:
            more.write(f"{number}\n")
        time.sleep(0.02)
    stop.set()
    for one in loaders:
        one.join()
    load(server, log)
    assert ids(server) == list(range(150))


def test_deeply_nested_records_are_refused(server, tmp_path):
    (tmp_path / "a.ndjson").write_text('{"a": ' * 300 + "1" + "}" * 300 + "\n")
    refused = load(server, tmp_path / "a.ndjson", check=False)
    assert refused.returncode == 1 and "levels" in refused.stderr, refused.stderr


def test_follow_ends_at_once_without_a_server(tmp_path):
    write(tmp_path / "in" / "0.parquet", {"id": [0]})
    follow = subprocess.Popen(
        [binary(), "load", str(tmp_path / "in"), "--table", "t", "--server", "grpc://127.0.0.1:1", "--follow"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "trying again" in follow.stderr.readline()
    follow.send_signal(signal.SIGINT)
    assert follow.wait(10) == 0
