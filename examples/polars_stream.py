"""Streams a result into polars batch by batch, in flat memory. Prints: 1000000 rows, sum 499999500000"""

import sys

import polars
import pyarrow.flight as flight

client = flight.connect(sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815")

rows = total = 0
for chunk in client.do_get(flight.Ticket(b"SELECT range AS n FROM range(1000000)")):
    frame = polars.from_arrow(chunk.data)
    rows += frame.height
    total += frame["n"].sum()
print(f"{rows} rows, sum {total}")
