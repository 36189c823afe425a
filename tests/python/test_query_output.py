"""`pintail query` over every type: each text format against the engine's own text, the others against pyarrow."""

import csv
import io
import json
import os
import re
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from conftest import binary, put, query, run

# Values by type, as SQL; NULL goes along with each. Extremes, and values whose text could be taken for another one.
TYPES = {
    "BOOLEAN": ["true", "false"],
    "TINYINT": ["-128", "127"],
    "SMALLINT": ["-32768"],
    "INTEGER": ["-2147483648"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807", "9007199254740993"],
    "HUGEINT": ["-99999999999999999999999999999999999999", "99999999999999999999999999999999999999", "0"],
    "UTINYINT": ["255"],
    "USMALLINT": ["65535"],
    "UINTEGER": ["4294967295"],
    "UBIGINT": ["18446744073709551615"],
    "UHUGEINT": ["340282366920938463463374607431768211455", "0"],
    "BIGNUM": ["'-123456789012345678901234567890123456789012345678901234567890'", "0", "256", "-1"],
    "FLOAT": ["'nan'", "'-inf'", "1.5", "3.4028235e38", "1e-7", "16777216", "0.1"],
    "DOUBLE": ["'nan'", "'inf'", "-0.0", "1e300", "0.1", "1e15", "1e16", "123456789", "0.0001", "0.00001", "5e-324"],
    "DECIMAL(4,1)": ["999.9", "-999.9", "0.1", "-0.1"],
    "DECIMAL(18,3)": ["1.5"],
    "DECIMAL(38,0)": ["99999999999999999999999999999999999999"],
    "DECIMAL(38,38)": ["0.00000000000000000000000000000000000001"],
    "VARCHAR": ["''", "'ü 世界'", "'a,b'", "'say \"so\"'", "E'two\\nlines'", "'NULL'", "' x '", "E'\\x01\\t'"],
    "BIT": ["'1'", "'10101'", "'111100001111000011110000111100001111000011110000111100001111'"],
    "UUID": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"],
    "DATE": ["'infinity'", "'-infinity'", "'5877642-06-25 (BC)'", "'5881580-07-10'", "'0001-01-01'", "'0044-03-15 (BC)'"],
    "TIME": ["'00:00:00'", "'24:00:00'", "'12:34:56.789012'", "'01:02:03.5'"],
    "TIME_NS": ["'24:00:00'", "'12:34:56.789012345'"],
    "TIME WITH TIME ZONE": ["'00:00:00-15:59:59'", "'24:00:00+15:59:59'", "'12:34:56.789012+01'", "'00:00:00+05:30'"],
    "TIMESTAMP_S": ["'infinity'", "'-infinity'", "'2020-01-01 12:34:56'", "'0044-03-15 (BC) 10:00:00'"],
    "TIMESTAMP_MS": ["'infinity'", "'2020-01-01 12:34:56.789'"],
    "TIMESTAMP": [
        "'infinity'",
        "'-infinity'",
        "'290309-12-22 (BC) 00:00:00'",
        "'294247-01-10 04:00:54.775806'",
        "'290000-01-01'",
        "'1969-12-31 23:59:59.999999'",
    ],
    "TIMESTAMP_NS": ["'infinity'", "'1677-09-22'", "'2262-04-11 23:47:16.854775806'"],
    "TIMESTAMP WITH TIME ZONE": ["'infinity'", "'-infinity'", "'2020-01-01 00:00:00+02'", "'290000-01-01 00:00:00+00'"],
    "INTERVAL": [
        "'-3 months 4 days 5 microseconds'",
        "'2562047 hours'",
        "'1 year 2 months 1 day'",
        "'0 days'",
        "'-13 months -1 day -00:00:01.5'",
    ],
    "ENUM('sad', 'it''s \"ok\"', '')": ["'sad'", "''", "'it''s \"ok\"'"],
    "INTEGER[]": ["[]", "[1, NULL]"],
    "INTEGER[3]": ["[1, NULL, 3]"],
    "INTEGER[][]": ["[[1], NULL, []]"],
    "VARCHAR[]": ["['', 'null', ' x', 'a, b', 'it''s', 'a\\b', 'plain', NULL, '{', '(', 'a:b', '=', '\"']"],
    'STRUCT(a INTEGER, "b c" VARCHAR)': ["{'a': 1, 'b c': NULL}", "{'a': NULL, 'b c': 'x'}"],
    "MAP(VARCHAR, INTEGER)": ["MAP {}", "MAP {'a': 1, 'b': NULL, 'c d, e': 3}"],
    "MAP(INTEGER, DATE[])": ["MAP {1: ['infinity'::DATE, NULL], 2: NULL}"],
    "MAP(UUID, UHUGEINT)": [
        "MAP {'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11': 340282366920938463463374607431768211455}"
    ],
    "UNION(num INTEGER, str VARCHAR)": ["union_value(num := 5)", "union_value(str := 'x')"],
    "TIMESTAMP[]": ["['infinity'::TIMESTAMP, '2020-01-01'::TIMESTAMP, NULL]"],
    "INTERVAL[]": ["[INTERVAL 3 DAY, INTERVAL 100 HOUR]"],
    "STRUCT(t TIME WITH TIME ZONE, u UUID, f BOOLEAN[], n BIGNUM, b BIT)[]": [
        "[{'t': '12:00:00+01', 'u': 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'f': [true, NULL], 'n': 5, 'b': '101'}, NULL]"
    ],
}
# What a Parquet file has no place for.
NO_PARQUET = ("INTERVAL", "UNION")


def statement(type_, values):
    column = ", ".join(f"({index}, ({value})::{type_})" for index, value in enumerate([*values, "NULL"]))
    return f"SELECT v, v::VARCHAR AS t FROM (VALUES {column}) AS x(i, v) ORDER BY i"


@pytest.fixture
def ask(server):
    def ask(sql, *more, **options):
        return run("query", sql, "--server", server.uri, *more, **options)

    return ask


@pytest.fixture
def cells(ask):
    """The values of a result in a text format: none for NULL."""

    def cells(sql, form):
        out = ask(sql, "--format", form, "--rows", "1000").stdout
        if form == "json":
            return [json.loads(line, parse_float=Decimal) for line in out.splitlines()]
        return list(csv.reader(io.StringIO(out)))

    return cells


def test_every_type_is_written_as_the_engine_does(ask, cells):
    wrong = []
    for type_, values in TYPES.items():
        sql = statement(type_, values)
        for value, text in cells(sql, "csv")[1:]:
            # The engine leaves the zero before the point out where all digits are behind it.
            if value != text and not (type_ == "DECIMAL(38,38)" and value == f"0{text}"):
                wrong.append(f"csv {type_}: {value!r} and not {text!r}")
        # NULL is nothing, and an empty text is not.
        assert ask(sql, "--format", "csv").stdout.endswith("\n,\n"), type_
        rows = cells(sql, "json")
        assert rows[-1] == {"v": None, "t": None}, type_
        for row in rows[:-1]:
            plain = row["v"] is True and "true" or row["v"] is False and "false" or str(row["v"])
            infinite = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
            if isinstance(row["v"], Decimal):
                same = row["v"] == Decimal(row["t"])
            else:
                same = isinstance(row["v"], (list, dict)) or infinite.get(plain, plain) == row["t"]
            if not same:
                wrong.append(f"json {type_}: {row}")
        table = ask(sql).stdout
        assert "ERROR" not in table and "NULL" in table, table
        for line in table.splitlines()[3:-2]:
            value, _, text = line.strip("|").partition("|")
            if type_ != "DECIMAL(38,38)" and value.strip() != text.strip() and "two" not in line and "lines" not in line:
                wrong.append(f"table {type_}: {line}")
    assert not wrong, "\n".join(wrong)


def test_nested_json_keeps_every_part(cells):
    for value, expected in [
        ("[1, NULL]", [1, None]),
        ("{'a': NULL, 'b': [{'c': 1.50}]}", {"a": None, "b": [{"c": Decimal("1.50")}]}),
        ("MAP {1: DATE 'infinity', 2: NULL}", {"1": "infinity", "2": None}),
        ("union_value(n := 2::UBIGINT)", {"n": 2}),
        # Arrow has no tuples: they leave the server as structs.
        ("row(1, 'x', NULL)", {"element1": 1, "element2": "x", "element3": None}),
        ("['nan'::DOUBLE, 1e300]", ["NaN", Decimal("1e300")]),
        ("[18446744073709551615::UHUGEINT]", [18446744073709551615]),
        ("12345678901234567890.12345678901234567::DECIMAL(38,17)", Decimal("12345678901234567890.12345678901234567")),
        ("'\\x00\\xFF'::BLOB", "00ff"),
        ("{'a': [1, 2], 'b': NULL}::VARIANT", {"a": [1, 2], "b": None}),
        ("'x'::VARIANT", "x"),
        ("'{\"a\": 1}'::JSON", '{"a": 1}'),
    ]:
        assert cells(f"SELECT {value} AS v", "json") == [{"v": expected}], value


def test_bytes_are_hexadecimal(cells):
    assert cells("SELECT '\\x00\\xFFa'::BLOB AS v", "csv") == [["v"], ["00ff61"]]
    # A point as WKB: byte order, kind, two doubles.
    point = cells("SELECT 'POINT (1 2)'::GEOMETRY AS v", "csv")[1][0]
    assert point == "0101000000000000000000f03f0000000000000040"


def test_arrow_and_parquet_hold_what_was_asked_for(server, ask, tmp_path):
    client = server.client()
    for number, (type_, values) in enumerate(TYPES.items()):
        sql = statement(type_, values)
        expected = query(client, sql)
        path = tmp_path / f"{number}.arrows"
        ask(sql, "--format", "arrow", "--output", path)
        with pa.ipc.open_stream(path) as reader:
            found = reader.read_all()
        assert found.schema == expected.schema, type_
        assert [column.to_string() for column in found.columns] == [c.to_string() for c in expected.columns], type_
        path = tmp_path / f"{number}.parquet"
        done = ask(sql, "--format", "parquet", "--output", path, check=False)
        if any(name in type_ for name in NO_PARQUET):
            assert done.returncode == 1 and 'column "v" has a' in done.stderr and "--format arrow" in done.stderr
            assert not list(tmp_path.glob(f"{number}.parquet*")), type_
        else:
            assert done.returncode == 0, f"{type_}: {done.stderr}"
            assert parquet.read_table(path).num_rows == expected.num_rows, type_


def test_names_that_are_there_twice(ask):
    twice = "SELECT 1 AS a, 2 AS a"
    assert ask(twice, "--format", "csv").stdout == "a,a\n1,2\n"
    done = ask(twice, "--format", "json", check=False)
    assert done.returncode == 1 and done.stdout == "" and 'two columns "a"' in done.stderr


def test_no_rows_are_a_result(ask, tmp_path):
    empty = "SELECT 1 AS id, 'x' AS \"a,b\" WHERE false"
    assert ask(empty, "--format", "csv").stdout == 'id,"a,b"\n'
    assert ask(empty, "--format", "json").stdout == ""
    assert "id" in ask(empty).stdout
    ask(empty, "--format", "parquet", "--output", tmp_path / "empty.parquet")
    assert parquet.read_table(tmp_path / "empty.parquet").num_rows == 0


def test_an_output_is_whole_or_not_there(ask, tmp_path):
    broken = "SELECT CASE WHEN range = 900000 THEN error('stop') ELSE range END AS n FROM range(1000000)"
    for form in ["csv", "json", "arrow", "parquet"]:
        path = tmp_path / f"x.{form}"
        path.write_text("before")
        done = ask(broken, "--format", form, "--output", path, check=False)
        assert done.returncode == 1 and "stop" in done.stderr
        assert [found.name for found in tmp_path.iterdir() if found.name.startswith(path.name)] == [path.name]
        assert path.read_text() == "before"
        path.unlink()
    # A link and a device stay what they are.
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    ask("SELECT 1 AS a", "--format", "csv", "--output", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").read_text() == "a\n1\n"
    ask("SELECT 1 AS a", "--format", "csv", "--output", "/dev/null")
    assert not os.path.isfile("/dev/null")
    for place in [tmp_path, tmp_path / "nowhere" / "x.csv"]:
        done = ask("SELECT 1 AS a", "--format", "csv", "--output", place, check=False)
        assert done.returncode == 1 and "cannot create" in done.stderr


def closed(arguments, env=None, error=False):
    """Runs the program with a standard output (or error) whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stderr": writing} if error else {"stdout": writing, "stderr": subprocess.PIPE}
    done = subprocess.run([binary(), *map(str, arguments)], env=env, timeout=60, **streams)
    os.close(writing)
    return done.returncode, (done.stderr or b"").decode()


def test_a_reader_that_leaves_is_no_failure(server, tmp_path):
    put(server.client(), "wells", pa.table({"id": [1, 2, 3]}))
    at = ["--server", server.uri]
    big = "SELECT range AS n, repeat('x', 100) AS t FROM range(200000)"
    commands = [["query", sql, *at, "--format", form] for sql in ("FROM wells", big) for form in ("table", "csv", "json", "arrow")]
    commands += [["tables", *at], ["status", *at], ["schema", "show", "wells", *at], ["config", "print"]]
    commands += [["completions", shell] for shell in ("bash", "zsh", "fish")]
    for command in commands:
        assert closed(command) == (0, ""), command
    assert closed(["query", "SELECT * FROM nothing", *at], error=True)[0] == 1
    # A reader that leaves in the middle.
    for form in ["csv", "json", "arrow"]:
        command = [binary(), "query", big, *at, "--format", form]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b"" and process.wait(60) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_a_failure(server):
    for command in [["config", "print"], ["query", "SELECT 1 AS a", "--format", "csv", "--server", server.uri]]:
        with open("/dev/full", "wb") as full:
            done = subprocess.run([binary(), *command], stdout=full, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 1 and b"cannot write the output" in done.stderr, command


def peak(command, tmp_path):
    """Peak resident bytes of the program, as the kernel says while it runs: what `wait` gives begins with this process."""
    most = 0
    with open(tmp_path / "out", "wb") as out, subprocess.Popen(command, stdout=out) as process:
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            most = max(most, int(found.group(1)) * 1024 if found else 0)
            time.sleep(0.002)
    assert process.returncode == 0
    return most


def test_large_results_stream(server, tmp_path):
    """Results of 400 MiB, in rows of 40 KiB: a Parquet row group would be the whole of it."""
    wide = "SELECT range AS n, repeat(md5(range::VARCHAR), 1250) AS t FROM range(10000)"
    for form in ["table", "csv", "json", "arrow", "parquet"]:
        command = [binary(), "query", wide, "--server", server.uri, "--format", form, "--output", tmp_path / f"x.{form}"]
        assert peak(command, tmp_path) < 200 << 20, form
