"""Query engines from Python: DataFusion, daft and ibis write what they were given; the source's values are expected."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent))
import data  # noqa: E402
from out import Out  # noqa: E402

import daft  # noqa: E402
import datafusion  # noqa: E402
import ibis  # noqa: E402

BASICS, NESTED, ENCODED = data.basics(), data.nested(), data.encoded()
fusion, daft_out, ibis_out = Out("datafusion"), Out("daft"), Out("ibis-framework")
context = datafusion.SessionContext()
NAMES = ["null", "int8", "uint64", "float16", "float64", "string_view", "binary", "fixed_binary", "date32", "date64", "time64_ns", "timestamp_s", "timestamp_ns", "timestamp_us_berlin", "duration_us", "decimal_d5_2", "decimal_d38_0",
         "list", "large_list", "fixed_list", "struct", "list_structs", "map", "dictionary_int8"]


def source(name):
    return pa.table({"place": range(9), name: {**BASICS, **NESTED, **ENCODED}[name]})


def by_fusion(path, table, write):
    write(context.from_arrow(table), str(path))
    fusion.add(path, table)


for name in NAMES:
    fusion.try_to(f"type/{name}.parquet", lambda path, name=name: by_fusion(path, source(name), lambda frame, p: frame.write_parquet(p)))
BIG = pa.table({"i": range(3000), "s": [f"v{i % 17}" for i in range(3000)], "f": [i / 3 for i in range(3000)]})
for codec in ("uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4_raw"):
    fusion.try_to(f"codec/{codec}.parquet", lambda path, codec=codec: by_fusion(path, BIG, lambda frame, p: frame.write_parquet(p, compression=codec)))
fusion.try_to("text/rows.csv", lambda path: by_fusion(path, BIG, lambda frame, p: frame.write_csv(p, with_header=True)))
fusion.try_to("text/rows.json", lambda path: by_fusion(path, BIG, lambda frame, p: frame.write_json(p)))


def copied(path, query, table, options, partitions=()):
    context.register_record_batches("source", [table.to_batches()])
    try:
        context.sql(query.format(path)).collect()
    finally:
        context.deregister_table("source")
    fusion.add(path, table, partitions=partitions)


PARTS = pa.table({"k": ["a", "b/c", "ä", None], "n": [1, 2, 3, 4], "v": [0.5, 1.5, 2.5, 3.5]})
fusion.try_to("folder/hive", lambda path: copied(path, "COPY source TO '{}/' STORED AS PARQUET PARTITIONED BY (n)", PARTS, None, ["n"]))
fusion.try_to("copied.arrow", lambda path: copied(path, "COPY source TO '{}' STORED AS ARROW", PARTS, None))


def by_daft(path, table, write, holds=None, partitions=()):
    write(daft.from_arrow(table), str(path))
    daft_out.add(path, table if holds is None else holds, partitions=partitions)


for name in NAMES:
    # daft has fewer types than Arrow, so the files are read by pyarrow; but seconds are integers to it, since only the
    # embedded schema says what they are.
    def make(path, name=name):
        daft.from_arrow(source(name)).write_parquet(str(path))
        daft_out.add(path, source(name) if name == "timestamp_s" else pa.concat_tables([pq.read_table(p) for p in sorted(path.glob("*.parquet"))]))

    daft_out.try_to(f"type/{name}", make)
daft_out.try_to("folder/hive", lambda path: by_daft(path, PARTS, lambda f, p: f.write_parquet(p, partition_cols=["k", "n"]), partitions=["k", "n"]))
daft_out.try_to("folder/csv", lambda path: by_daft(path, BIG, lambda f, p: f.write_csv(p)))
daft_out.try_to("folder/json", lambda path: by_daft(path, BIG, lambda f, p: f.write_json(p)))
for codec in ("gzip", "zstd", "brotli"):
    daft_out.try_to(f"codec/{codec}", lambda path, codec=codec: by_daft(path, BIG, lambda f, p: f.write_parquet(p, compression=codec)))

for name, write in (("rows.parquet", lambda e, p: e.to_parquet(p)), ("rows.csv", lambda e, p: e.to_csv(p)), ("rows_options.parquet", lambda e, p: e.to_parquet(p, compression="zstd", row_group_size=2048))):
    def make(path, write=write):
        write(ibis.memtable(BIG), str(path))
        ibis_out.add(path, BIG)

    ibis_out.try_to(name, make)


def ibis_folder(path):
    ibis.memtable(PARTS).to_parquet(str(path), partition_by="n")
    ibis_out.add(path, PARTS, partitions=["n"])


ibis_out.try_to("folder/hive", ibis_folder)
