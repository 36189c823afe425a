"""Uploads a table and reads its join with a stored one, in one call. Prints: A-1 1.5 kbd, B-7 3.0 kbd"""

import sys

import pyarrow as pa
import pyarrow.flight as flight

client = flight.connect(sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815")

stored = pa.table({"id": [1, 2, 7], "well": ["A-1", "A-2", "B-7"]})
replace = flight.FlightCallOptions(headers=[(b"pintail-mode", b"replace")])
writer, answers = client.do_put(flight.FlightDescriptor.for_path("exchange_wells"), stored.schema, replace)
with writer:
    writer.write_table(stored)
    writer.done_writing()
    answers.read()  # arrives after the commit

# The upload is the table `input` of this one statement; it is never stored.
sql = "SELECT well, oil_kbd FROM input JOIN exchange_wells USING (id) ORDER BY id"
upload = pa.table({"id": [7, 1, 99], "oil_kbd": [3.0, 1.5, 8.0]})
writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(sql))
with writer:
    writer.begin(upload.schema)
    writer.write_table(upload)
    writer.done_writing()
    result = reader.read_all()

print(", ".join(f"{row['well']} {row['oil_kbd']} kbd" for row in result.to_pylist()))
