"""Joins a stream from the server with a local DuckDB table. Prints: 600000 of 1000000 rows are in Texas"""

import sys

import adbc_driver_flightsql.dbapi as dbapi
import duckdb

uri = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"

local = duckdb.connect()
local.execute("CREATE TABLE fields AS SELECT range AS field, 'Texas' AS state FROM range(3)")

with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
    wells = "SELECT range AS id, range % 5 AS field FROM range(1000000)"
    cursor.execute(f"CREATE OR REPLACE TABLE duckdb_wells AS {wells}")
    reader = cursor.execute("SELECT id, field FROM duckdb_wells").fetch_record_batch()
    # DuckDB finds the reader by its name and pulls batch after batch through it.
    sql = "SELECT count(*), count(state) FROM reader LEFT JOIN fields USING (field)"
    ((total, in_texas),) = local.sql(sql).fetchall()

print(f"{in_texas} of {total} rows are in Texas")
