"""Puts a table with pyarrow, queries it and reads it back. Prints: 3 rows stored, 2 wells above 1.0 kbd"""

import json
import sys

import pyarrow as pa
import pyarrow.flight as flight

client = flight.connect(sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815")
table = pa.table({"well": ["A-1", "A-2", "B-7"], "oil_kbd": [1.5, 0.25, 3.0]})

writer, answers = client.do_put(flight.FlightDescriptor.for_path("roundtrip"), table.schema)
with writer:
    writer.write_table(table)
    writer.done_writing()
    answer = json.loads(answers.read().to_pybytes())  # arrives after the commit

info = client.get_flight_info(flight.FlightDescriptor.for_command("FROM roundtrip WHERE oil_kbd > 1.0"))
result = client.do_get(info.endpoints[0].ticket).read_all()
print(f"{answer['rows']} rows stored, {result.num_rows} wells above 1.0 kbd")
