"""Loads a Parquet file row group by row group in one transaction. Prints: 300000 rows loaded"""

import json
import sys
import tempfile

import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as parquet

client = flight.connect(sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815")

with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
    parquet.write_table(pa.table({"id": range(300_000)}), file.name, row_group_size=50_000)

    source = parquet.ParquetFile(file.name)
    options = flight.FlightCallOptions(headers=[(b"pintail-mode", b"replace")])
    descriptor = flight.FlightDescriptor.for_path("bulk_load")
    writer, answers = client.do_put(descriptor, source.schema_arrow, options)
    with writer:
        for batch in source.iter_batches(batch_size=65_536):
            writer.write_batch(batch)
        writer.done_writing()
        print(json.loads(answers.read().to_pybytes())["rows"], "rows loaded")
