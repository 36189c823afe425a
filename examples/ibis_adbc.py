"""Builds a query with ibis and runs it on the server. Prints: north 4.75 kbd, south 2.0 kbd"""

import sys

import adbc_driver_flightsql.dbapi as dbapi
import ibis
import pyarrow as pa

uri = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"
table = pa.table({"field": ["north", "north", "south", "north"], "oil_kbd": [1.5, 0.25, 2.0, 3.0]})

with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
    cursor.adbc_ingest("ibis_wells", table, mode="replace")

    # The table's schema comes from the server; ibis checks the expression against it and writes the SQL.
    schema = ibis.Schema.from_pyarrow(connection.adbc_get_table_schema("ibis_wells"))
    wells = ibis.table(schema, name="ibis_wells")
    per_field = wells.group_by("field").agg(oil_kbd=wells.oil_kbd.sum()).order_by("field")
    cursor.execute(str(ibis.to_sql(per_field, dialect="duckdb")))

    print(", ".join(f"{field} {oil_kbd} kbd" for field, oil_kbd in cursor.fetchall()))
