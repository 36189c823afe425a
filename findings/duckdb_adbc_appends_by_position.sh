#!/usr/bin/env bash
# DuckDB 2.0.0 by ADBC: an ingest that appends goes by the position of its columns and not by their names, so pandas and Polars
# write values into the wrong columns.
#
# Guess before the run: adbc_ingest(mode="append") finds the columns of the table by the names in the Arrow schema, as
# adbc-driver-sqlite does: another order is no matter, a column that is left out has its default, and a name that the table
# lacks is an error.
# Seen: DuckDB appends the columns in their order, and looks at no name. {"b": 2, "a": 1} for the table (a, b) becomes a = 2,
# b = 1, and {"x": 1, "y": 2} becomes a = 1, b = 2. A column that is left out is an error, even one with a default. Text that
# looks like a number is cast. The same by pandas' to_sql(if_exists="append") and by Polars' write_database, which both
# have names and pass them on.
# Consequence: what SQLite accepts is swapped in silence by DuckDB. Bring the columns into the table's order first, or use
# INSERT INTO … BY NAME.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet adbc-driver-manager==1.13.0 adbc-driver-sqlite==1.13.0 duckdb==2.0.0 pandas==3.1.1 \
    polars==2.1.0 pyarrow==26.0.1
"$work/venv/bin/python" - <<'PY'
import adbc_driver_duckdb.dbapi
import adbc_driver_sqlite.dbapi
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa

print("duckdb", duckdb.__version__, "pandas", pd.__version__, "polars", pl.__version__)


def ingest(connection, rows):
    with connection.cursor() as cursor:
        cursor.adbc_ingest("t", pa.table(rows), mode="append")


def pandas(connection, rows):
    pd.DataFrame(rows).to_sql("t", connection, if_exists="append", index=False)


def polars(connection, rows):
    pl.DataFrame(rows).write_database("t", connection, if_table_exists="append", engine="adbc")


def append(driver, way, rows):
    """The row of t (a, b, c) after `rows` was appended, or the error."""
    with driver.connect(":memory:", autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a BIGINT, b BIGINT, c BIGINT DEFAULT 7)")
        try:
            way(connection, rows)
            cursor.execute("SELECT a, b, c FROM t")
            seen = cursor.fetchone()
        except Exception as error:
            seen = str(error).splitlines()[0]
    print(f"{driver.__name__.split('_')[2].split('.')[0]:7} {way.__name__:7} {str(rows):36} {seen}")
    return seen


SQLITE, DUCKDB = adbc_driver_sqlite.dbapi, adbc_driver_duckdb.dbapi
swapped = {"c": [3], "b": [2], "a": [1]}
for way in (ingest, pandas, polars):
    assert append(SQLITE, way, swapped) == (1, 2, 3)
    assert append(DUCKDB, way, swapped) == (3, 2, 1)
others = {"x": [1], "y": [2], "z": [3]}
assert "no column named x" in append(SQLITE, ingest, others)
assert append(DUCKDB, ingest, others) == (1, 2, 3)
short = {"b": [2], "a": [1]}
assert append(SQLITE, ingest, short) == (1, 2, 7)
assert "expected 3, got 2" in append(DUCKDB, ingest, short)
text = {"c": ["3"], "b": ["2"], "a": ["1"]}
assert append(DUCKDB, ingest, text) == (3, 2, 1)
PY
# Output seen:
# duckdb 2.0.0 pandas 3.1.1 polars 2.1.0
# sqlite  ingest  {'c': [3], 'b': [2], 'a': [1]}       (1, 2, 3)
# duckdb  ingest  {'c': [3], 'b': [2], 'a': [1]}       (3, 2, 1)
# sqlite  pandas  {'c': [3], 'b': [2], 'a': [1]}       (1, 2, 3)
# duckdb  pandas  {'c': [3], 'b': [2], 'a': [1]}       (3, 2, 1)
# sqlite  polars  {'c': [3], 'b': [2], 'a': [1]}       (1, 2, 3)
# duckdb  polars  {'c': [3], 'b': [2], 'a': [1]}       (3, 2, 1)
# sqlite  ingest  {'x': [1], 'y': [2], 'z': [3]}       ALREADY_EXISTS: failed to prepare: table main.t has no column named x
# duckdb  ingest  {'x': [1], 'y': [2], 'z': [3]}       (1, 2, 3)
# sqlite  ingest  {'b': [2], 'a': [1]}                 (1, 2, 7)
# duckdb  ingest  {'b': [2], 'a': [1]}                 INTERNAL: incorrect column count in AppendDataChunk, expected 3, got 2
# duckdb  ingest  {'c': ['3'], 'b': ['2'], 'a': ['1']} (3, 2, 1)
