"""Small writers: arro3 (arrow-rs from Python), nanoarrow's IPC streams, fastavro."""

import sys
from pathlib import Path

import arro3.core
import arro3.io
import fastavro
import nanoarrow as na
import nanoarrow.ipc
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent))
import data  # noqa: E402
from out import Out  # noqa: E402

ALL = {**data.basics(), **data.nested(), **data.encoded()}
rust, nano, avro = Out("arro3-io"), Out("nanoarrow"), Out("fastavro")
CHOSEN = ["int64", "uint64", "string_view", "binary", "float16", "float64", "bool", "date32", "time64_ns", "timestamp_ns", "timestamp_us_berlin", "duration_us", "decimal_d38_0", "decimal_d5_2", "decimal256_38",
          "list", "large_list", "fixed_list", "struct", "list_structs", "map", "map_lists", "dictionary_int8", "dictionary_ints", "list_of_null", "null"]
for name in CHOSEN:
    table = pa.table({"place": range(9), name: ALL[name]})

    def by_rust(path, write, table=table):
        write(arro3.core.Table.from_arrow(table), str(path))
        rust.add(path, table)

    rust.try_to(f"{name}.parquet", lambda path: by_rust(path, arro3.io.write_parquet))
    if name in ("int64", "string_view", "decimal_d38_0", "map", "dictionary_int8", "duration_us", "list_of_null"):
        rust.try_to(f"{name}.arrow", lambda path: by_rust(path, lambda t, p: arro3.io.write_ipc(t, p, compression=None)))
        rust.try_to(f"{name}.arrows", lambda path: by_rust(path, lambda t, p: arro3.io.write_ipc_stream(t, p, compression=None)))

    def by_nano(path, table=table):
        with nanoarrow.ipc.StreamWriter.from_path(str(path)) as writer:
            writer.write_stream(na.ArrayStream(table))
        nano.add(path, table)

    if "dictionary" not in name and "view" not in name:
        nano.try_to(f"{name}.arrows", by_nano)
wide = pa.table({"i": range(5000), "s": [f"v{i % 19}" for i in range(5000)], "f": [i / 3 for i in range(5000)]})
for name, options in (("zstd", {"compression": "zstd(3)"}), ("brotli", {"compression": "brotli(4)"}), ("gzip", {"compression": "gzip(6)"}), ("lz4_raw", {"compression": "lz4_raw"}), ("v2", {"writer_version": "parquet_2_0"}),
                      ("delta", {"encoding": "delta_binary_packed", "dictionary_enabled": False, "writer_version": "parquet_2_0", "column_encoding": {"s": "delta_byte_array", "f": "byte_stream_split"}}),
                      ("bloom", {"bloom_filter_enabled": True}), ("no_schema", {"skip_arrow_metadata": True})):
    rust.try_to(f"options/{name}.parquet", lambda path, options=options: (arro3.io.write_parquet(arro3.core.Table.from_arrow(wide), str(path), **options), rust.add(path, wide)))
for format_, write in (("csv", arro3.io.write_csv), ("ndjson", arro3.io.write_ndjson)):
    rust.try_to(f"text/lines.{format_}", lambda path, write=write: (write(arro3.core.Table.from_arrow(wide), str(path)), rust.add(path, wide)))


def rows(path):
    schema = fastavro.parse_schema({"type": "record", "name": "r", "fields": [{"name": "i", "type": "long"}]})
    with open(path, "wb") as sink:
        fastavro.writer(sink, schema, [{"i": 1}])
    avro.add(path, None, refuse="Avro")


avro.try_to("rows.avro", rows)
avro.try_to("rows_no_ending", rows)
