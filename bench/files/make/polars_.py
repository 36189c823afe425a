"""polars: Parquet (eager and streaming), IPC files and streams, Int128, categoricals and enums, partitioned folders, CSV and NDJSON."""

import datetime
import decimal
import sys
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out, compare  # noqa: E402

out = Out("polars")
STAMP = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456)
D = decimal.Decimal
S = pl.Series
COLUMNS = {
    "null": S([None, None, None]),
    "bool": S([True, None, False]),
    **{f"{k}": S([0, None, 1], dtype=getattr(pl, k)) for k in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")},
    "Int128": S([0, None, (1 << 126), -(1 << 126), -1], dtype=pl.Int128),
    "Int128_small": S([0, None, 10**18], dtype=pl.Int128),
    "Float32": S([0.5, None, float("nan"), -0.0, float("inf")], dtype=pl.Float32),
    "Float64": S([0.1, None, float("nan"), -0.0, -float("inf")]),
    "String": S(["", None, "äö€😀", "a longer text than twelve bytes"]),
    "Binary": S([b"", None, b"\xff\x00", b"a longer text than twelve bytes"]),
    "Date": S([datetime.date(1, 1, 1), None, datetime.date(9999, 12, 31)]),
    "Time": S([datetime.time(0), None, datetime.time(23, 59, 59, 999999)]),
    "Datetime_ms": S([STAMP, None]).cast(pl.Datetime("ms")),
    "Datetime_us": S([STAMP, None, datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)]),
    "Datetime_ns": S([1, None, -1, (1 << 63) - 1]).cast(pl.Datetime("ns")),
    "Datetime_zone": S([STAMP, None]).dt.replace_time_zone("Europe/Berlin"),
    "Duration_ms": S([datetime.timedelta(days=1), None, -datetime.timedelta(milliseconds=1)]).cast(pl.Duration("ms")),
    "Duration_us": S([datetime.timedelta(days=100, microseconds=7), None, datetime.timedelta(0)]),
    "Duration_ns": S([5000, None, 0]).cast(pl.Duration("ns")),
    "Decimal": S([D("1.50"), None, D("-2.25")], dtype=pl.Decimal(10, 2)),
    "Decimal_38": S([D("9" * 38), None, D("-" + "9" * 38)], dtype=pl.Decimal(38, 0)),
    "Categorical": S(["b", None, "a", "b"], dtype=pl.Categorical),
    "Enum": S(["b", None, "a", "b"], dtype=pl.Enum(["a", "b", "c"])),
    "List": S([[1, None], None, []], dtype=pl.List(pl.Int64)),
    "List_String": S([["a", None], None, [], [""]]),
    "List_List": S([[[1], []], None, [None], []], dtype=pl.List(pl.List(pl.Int32))),
    "List_Categorical": S([["a", "b"], None, []], dtype=pl.List(pl.Categorical)),
    "Array": S([[1, 2], None, [3, None]], dtype=pl.Array(pl.Int16, 2)),
    "Struct": S([{"a": 1, "b": "x"}, None, {"a": None, "b": None}], dtype=pl.Struct({"a": pl.Int64, "b": pl.String})),
    "List_Struct": S([[{"a": 1}, None], None, []], dtype=pl.List(pl.Struct({"a": pl.Int8}))),
    "Float16": S([0.5, None, -0.0], dtype=pl.Float16) if hasattr(pl, "Float16") else S([0.5]),
    "UInt128": S([0, None, (1 << 100)], dtype=pl.UInt128) if hasattr(pl, "UInt128") else S([0]),
}


def holds(frame):
    """Through Python for what is exact there, through Arrow for nanoseconds and spans."""
    columns = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype in (pl.Int128,) or str(column.dtype) == "UInt128":
            columns[name] = [compare.plain(v) for v in column.to_list()]
        else:
            if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
                column = column.cast(pl.String)
            columns[name] = compare.arrow(column.to_arrow())
    return columns


def case(name, frame, write, partitions=(), refuse=None):
    out.try_to(name, lambda path: (write(frame, path), out.add(path, forms=holds(frame), partitions=partitions, refuse=refuse)))


for name, column in COLUMNS.items():
    frame = pl.DataFrame({"place": list(range(len(column))), name: column})
    # Parquet has no integers of 128 bits, and what polars writes for them is 16 bytes to anybody else.
    refuse = "128 bits" if "Int128" in name else None
    case(f"parquet/{name}.parquet", frame, lambda f, p: f.write_parquet(p), refuse=refuse)
    case(f"ipc/{name}.arrow", frame, lambda f, p: f.write_ipc(p))
    if name in ("String", "Int128", "Categorical", "Enum", "Decimal", "List_Struct", "Array", "Binary"):
        case(f"old/{name}.arrow", frame, lambda f, p: f.write_ipc(p, compat_level=pl.CompatLevel.oldest()))
        case(f"stream/{name}.arrows", frame, lambda f, p: f.write_ipc_stream(p))
        case(f"sink/{name}.parquet", frame, lambda f, p: f.lazy().sink_parquet(p), refuse=refuse)

BIG = pl.DataFrame({"i": range(20_000), "s": [f"text {i % 97}" for i in range(20_000)], "f": [i / 7 if i % 11 else None for i in range(20_000)], "l": [[i] * (i % 4) for i in range(20_000)]})
for codec in ("uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd"):
    case(f"codec/{codec}.parquet", BIG, lambda f, p, codec=codec: f.write_parquet(p, compression=codec, row_group_size=3000, data_page_size=2000))
for codec in ("lz4", "zstd"):
    case(f"codec/{codec}.arrow", BIG, lambda f, p, codec=codec: f.write_ipc(p, compression=codec))
case("codec/no_statistics.parquet", BIG, lambda f, p: f.write_parquet(p, statistics=False))
case("sink/big.parquet", BIG, lambda f, p: f.lazy().sink_parquet(p, row_group_size=1000))
case("sink/big.arrow", BIG, lambda f, p: f.lazy().sink_ipc(p))
case("empty/rows.parquet", BIG.clear(), lambda f, p: f.write_parquet(p))
case("empty/rows.arrow", BIG.clear(), lambda f, p: f.write_ipc(p))
PARTS = pl.DataFrame({"k": ["a", "b/c", None, "ä ö"], "n": [1, 2, 3, 4], "v": [0.5, 1.5, 2.5, 3.5]})
case("folder/hive", PARTS, lambda f, p: f.write_parquet(p, partition_by=["k", "n"]), partitions=["k", "n"])
case("folder/sink_by", PARTS, lambda f, p: f.lazy().sink_parquet(pl.PartitionBy(p, key="n", include_key=False), mkdir=True), partitions=["n"])
case("folder/arrow_hive", PARTS, lambda f, p: f.lazy().sink_ipc(pl.PartitionBy(p, key="n", include_key=False), mkdir=True), partitions=["n"])
TEXT = pl.DataFrame({"i": [1, None, 3], "s": ["a,b", 'q"', "line\nbreak"], "f": [0.5, -1.5, None], "b": [True, False, None]})
case("text/plain.csv", TEXT, lambda f, p: f.write_csv(p))
case("text/bom.csv", TEXT, lambda f, p: f.write_csv(p, include_bom=True))
case("text/tabs.tsv", TEXT, lambda f, p: f.write_csv(p, separator="\t"))
case("text/quoted.csv", TEXT, lambda f, p: f.write_csv(p, quote_style="non_numeric"))
case("text/lines.ndjson", TEXT, lambda f, p: f.write_ndjson(p))
case("text/nested.ndjson", pl.DataFrame({"l": [[1, 2], [], None], "s": [{"a": 1}, {"a": None}, {"a": 3}]}), lambda f, p: f.write_ndjson(p))
out.try_to("other/file.avro", lambda path: (TEXT.write_avro(path), out.add(path, None, refuse="Avro")))
