"""`pintail load` of Parquet files as other programs write them: every type by the specification, and back into DuckDB's own."""

import datetime
import decimal
import subprocess

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from conftest import binary, query

# Type of a column, and a value of it.
OWN = {
    "u": ("UUID", "uuid '00000000-0000-0000-0000-000000000007'"),
    "h": ("HUGEINT", "5::HUGEINT"),
    "uh": ("UHUGEINT", "6::UHUGEINT"),
    "f": ("INTEGER[2]", "[1, 2]::INTEGER[2]"),
    "g": ("GEOMETRY", "'POINT(1 2)'::GEOMETRY"),
    "v": ("VARIANT", "{'a': 1}::VARIANT"),
    "bi": ("BIT", "'101'::BIT"),
    "t": ("TIME", "TIME '01:02:03'"),
    "tz": ("TIMETZ", "TIMETZ '01:02:03+00'"),
    "e": ("ENUM('a', 'b')", "'a'"),
    "m": ("MAP(VARCHAR, INTEGER)", "MAP {'a': 1}"),
    "i": ("INTERVAL", "INTERVAL '14 months 3 days 1.234 seconds'"),
    "ns": ("TIMESTAMP_NS", "TIMESTAMP_NS '2020-01-01 00:00:00.000000001'"),
    "ts": ("TIMESTAMP_S", "TIMESTAMP_S '2020-01-01'"),
    "ms": ("TIMESTAMP_MS", "TIMESTAMP_MS '2020-01-01'"),
    "d": ("DECIMAL(38, 2)", "1.5::DECIMAL(38, 2)"),
    "b": ("BLOB", "'x'::BLOB"),
    "j": ("JSON", "'{\"a\": 1}'::JSON"),
    "s": ("UTINYINT", "1::UTINYINT"),
    "l": ("UBIGINT", "18446744073709551615::UBIGINT"),
    "da": ("DATE", "DATE '2020-01-01'"),
}


def load(server, path, table, *flags) -> subprocess.CompletedProcess:
    command = [binary(), "load", str(path), "--table", table, "--server", server.uri, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def loaded(server, path, table) -> None:
    done = load(server, path, table)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("has_schema", [True, False])
def test_int96_has_every_year(server, tmp_path, has_schema):
    days = [datetime.datetime(1, 1, 1), datetime.datetime(2024, 1, 2, 3, 4, 5, 678901), datetime.datetime(9999, 12, 31, 2)]
    table = pa.table({"ts": pa.array(days, pa.timestamp("us")), "l": pa.array([[day] for day in days], pa.list_(pa.timestamp("us")))})
    path = tmp_path / "t.parquet"
    parquet.write_table(table, path, use_deprecated_int96_timestamps=True, store_schema=has_schema)
    loaded(server, path, "t")
    assert query(server.client(), "SELECT ts FROM t ORDER BY ts")["ts"].to_pylist() == days
    assert query(server.client(), "SELECT l FROM t ORDER BY l")["l"].to_pylist() == [[day] for day in days]


@pytest.mark.parametrize("name", OWN)
def test_what_duckdb_exports_goes_back_into_its_own_type(server, tmp_path, name):
    data_type, value = OWN[name]
    path = tmp_path / "t.parquet"
    local = duckdb.connect()
    local.execute(f"COPY (SELECT {value}::{data_type} AS c UNION ALL SELECT NULL) TO '{path}'")
    client = server.client()
    query(client, f"CREATE TABLE t (c {data_type})")
    loaded(server, path, "t")
    found = query(client, "SELECT c::VARCHAR AS c FROM t ORDER BY c NULLS LAST")["c"].to_pylist()
    assert found == [local.execute(f"SELECT ({value}::{data_type})::VARCHAR").fetchone()[0], None]


def test_a_double_that_is_no_whole_number_is_no_hugeint(server, tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"c": [1.0, 1.5]}), path)
    client = server.client()
    query(client, "CREATE TABLE t (c HUGEINT)")
    done = load(server, path, "t")
    assert done.returncode != 0 and '"c"' in done.stderr, done.stderr
    assert query(client, "SELECT count(*) AS n FROM t")["n"].to_pylist() == [0]


def test_new_tables_have_the_types_of_the_file(server, tmp_path):
    kept = ["u", "i", "v", "g", "j", "tz", "m", "d", "b"]
    path = tmp_path / "t.parquet"
    duckdb.execute(f"COPY (SELECT {', '.join(f'{OWN[name][1]} AS {name}' for name in kept)}) TO '{path}'")
    loaded(server, path, "t")
    found = query(server.client(), "SELECT column_name AS n, data_type AS t FROM duckdb_columns() WHERE table_name = 't'")
    expected = {"u": "UUID", "i": "INTERVAL", "v": "VARIANT", "g": "GEOMETRY", "j": "JSON", "tz": "TIME WITH TIME ZONE"}
    expected |= {"m": "MAP(VARCHAR, INTEGER)", "d": "DECIMAL(38,2)", "b": "BLOB"}
    assert dict(zip(found["n"].to_pylist(), found["t"].to_pylist())) == expected


def test_variants_are_put_together_again(server, tmp_path):
    values = ["{'a': 1, 'b': ['1', 'x']}::VARIANT", "5::VARIANT", "'s'::VARIANT", "true::VARIANT", "DATE '2020-01-01'::VARIANT"]
    path = tmp_path / "t.parquet"
    for index, value in enumerate(values):
        duckdb.execute(f"COPY (SELECT {value} AS v FROM range(3)) TO '{path}'")
        loaded(server, path, f"t{index}")
        found = query(server.client(), f"SELECT v::VARCHAR AS v FROM t{index}")["v"].to_pylist()
        assert found == [duckdb.execute(f"SELECT ({value})::VARCHAR").fetchone()[0]] * 3


def test_categories_may_outgrow_their_keys(server, tmp_path):
    path = tmp_path / "t.parquet"
    small = pa.dictionary(pa.int8(), pa.string())
    with parquet.ParquetWriter(path, pa.schema([("c", small)])) as writer:
        for first in (0, 100, 200):
            values = pa.array([f"c{n}" for n in range(first, first + 100)]).dictionary_encode().cast(small)
            writer.write_table(pa.table({"c": values}))
    loaded(server, path, "t")
    assert query(server.client(), "SELECT count(DISTINCT c) AS n FROM t")["n"].to_pylist() == [300]


def test_a_file_that_stops_in_the_middle_leaves_nothing(server, tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"c": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-9])
    done = load(server, path, "t")
    assert done.returncode != 0 and "t.parquet" in done.stderr, done.stderr
    tables = query(server.client(), "SELECT count(*) AS n FROM duckdb_tables() WHERE table_name = 't'")
    assert tables["n"].to_pylist() == [0]


def test_wide_decimals_go_by_their_values(server, tmp_path):
    """Decimals of more than 38 digits: by their values, where DuckDB has the scale."""
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"wide": pa.array([decimal.Decimal("1.25")], pa.decimal256(60, 2))}), path)
    loaded(server, path, "t")
    assert query(server.client(), "SELECT wide::VARCHAR AS w FROM t")["w"].to_pylist() == ["1.25"]
    for table, value, scale in [("u", "9" * 50, 2), ("v", "1", 45)]:
        parquet.write_table(pa.table({"wide": pa.array([decimal.Decimal(value)], pa.decimal256(60, scale))}), path)
        done = load(server, path, table)
        assert done.returncode != 0 and '"wide"' in done.stderr, done.stderr
