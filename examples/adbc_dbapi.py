"""Makes, fills and asks a table by DB-API calls. Prints: 3 wells inserted, A-1 and B-7 above 1.0 kbd"""

import sys

import adbc_driver_flightsql.dbapi as dbapi

uri = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"

with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE OR REPLACE TABLE adbc_wells (name VARCHAR, oil_kbd DOUBLE)")
    wells = [("A-1", 1.5), ("A-2", 0.25), ("B-7", 3.0)]
    cursor.executemany("INSERT INTO adbc_wells VALUES (?, ?)", wells)
    inserted = cursor.rowcount

    cursor.execute("SELECT name FROM adbc_wells WHERE oil_kbd > ? ORDER BY name", (1.0,))
    names = cursor.fetch_arrow_table()["name"].to_pylist()  # or fetchall, fetch_df, fetch_polars

print(f"{inserted} wells inserted, {' and '.join(names)} above 1.0 kbd")
