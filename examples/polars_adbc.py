"""Writes a polars frame and reads a query into another. Prints: 3 rows written, B-7 leads with 3.0 kbd"""

import sys

import polars

# Polars chooses the driver by the scheme; transport=tcp says: without TLS.
uri = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"
uri = uri.replace("grpc://", "flightsql://") + "?transport=tcp"

frame = polars.DataFrame({"well": ["A-1", "A-2", "B-7"], "oil_kbd": [1.5, 0.25, 3.0]})
written = frame.write_database("polars_wells", uri, engine="adbc", if_table_exists="replace")

sql = "SELECT well, oil_kbd FROM polars_wells ORDER BY oil_kbd DESC LIMIT 1"
(leader,) = polars.read_database_uri(sql, uri, engine="adbc").rows(named=True)
print(f"{written} rows written, {leader['well']} leads with {leader['oil_kbd']} kbd")
