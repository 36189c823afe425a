"""Writes a pandas frame and reads an aggregate back. Prints: 4 rows written, north makes 4.75 kbd"""

import sys

import adbc_driver_flightsql.dbapi as dbapi
import pandas

uri = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"
frame = pandas.DataFrame(
    {"field": ["north", "north", "south", "north"], "oil_kbd": [1.5, 0.25, 2.0, 3.0]},
)

with dbapi.connect(uri) as connection:
    written = frame.to_sql("pandas_wells", connection, if_exists="replace", index=False)
    sql = "SELECT field, sum(oil_kbd) AS oil_kbd FROM pandas_wells GROUP BY field"
    totals = pandas.read_sql(sql, connection, index_col="field")

print(f"{written} rows written, north makes {totals.loc['north', 'oil_kbd']} kbd")
