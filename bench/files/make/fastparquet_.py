"""fastparquet: a Parquet writer without Arrow; the expected values are the source's own."""

import decimal
import json
import sys
from pathlib import Path

import fastparquet
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

out = Out("fastparquet")
D = decimal.Decimal
NS = pd.to_datetime(["2024-01-01 00:00:00.123456789", "1700-01-01", "2262-04-11 00:00:00.000000001"], format="ISO8601").as_unit("ns")
CASES = {
    "ints": {k: np.array([0, 1, np.iinfo(k).max, np.iinfo(k).min], k) for k in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    "floats": {"f4": np.array([0, -0.0, 1.5, np.inf], "float32"), "f8": np.array([0, -0.0, 1e300, -np.inf])},
    "bools": {"b": [True, False, True]},
    "text": {"s": ["a", "", "äöü€😀", "x" * 1000]},
    "text_null": {"s": pd.Series(["a", None, "b", None], dtype=object)},
    "bytes": {"x": pd.Series([b"", b"\x00\xff", b"abc"], dtype=object)},
    "nullable": {"i": pd.array([1, None, 3], "Int64"), "b": pd.array([True, None, False], "boolean"), "u": pd.array([None, 2, 255], "UInt8")},
    "category": {"c": pd.Categorical(["b", "a", None, "b"])},
    "category_ints": {"c": pd.Categorical([10, 20, 10])},
    "many_categories": {"c": pd.Categorical([f"c{i}" for i in range(1000)])},
    "stamps": {"t": NS},
    "stamps_null": {"t": pd.to_datetime(["2024-01-01", None])},
    "stamps_us": {"t": pd.Series(np.array(["0001-01-01", "9999-12-31T23:59:59.999999"], "datetime64[us]"))},
    "stamps_zone": {"t": pd.to_datetime(["2024-07-01", "2024-01-01"], utc=True).tz_convert("Europe/Berlin")},
    "deltas": {"d": pd.to_timedelta(["1 day", "-1 us", "00:00:01.5"])},
}


def values(column):
    """NaN is a value where the column is of floats, and the mark of a missing one anywhere else."""
    if column.dtype.kind == "f":
        return column.tolist()
    return [None if pd.isna(v) else v for v in column.astype(object)]


def source(frame):
    return {name: values(frame[name]) for name in frame.columns}


def write(name, frame, holds=None, refuse=None, partitions=(), **options):
    def make(path):
        fastparquet.write(str(path), frame, **options)
        out.add(path, source(frame) if holds is None else holds, partitions=partitions, refuse=refuse)

    out.try_to(name, make)


for name, columns in CASES.items():
    frame = pd.DataFrame(columns)
    for kind, options in (("plain", {}), ("gzip_nullable", {"compression": "GZIP", "has_nulls": True})):
        write(f"type/{name}_{kind}.parquet", frame, **options)
for codec in ("SNAPPY", "BROTLI", "LZ4_RAW", "UNCOMPRESSED"):
    write(f"codec/{codec}.parquet", pd.DataFrame({"i": range(5000), "s": [f"v{i % 17}" for i in range(5000)]}), compression=codec)
micros = pd.DataFrame({"t": pd.to_datetime(["2024-01-01 00:00:00.123456", "1700-01-01", "2261-04-11"], format="ISO8601")})
# Only columns in ns: fastparquet writes the integers of any other unit as if they were nanoseconds.
write("int96/micros.parquet", micros.astype("datetime64[ns]"), times="int96")
write("int96/null.parquet", pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None])}).astype("datetime64[ns]"), times="int96")
nested = {"j": [{"a": 1, "b": [1, None]}, {"a": 2, "b": []}]}


def as_json(path):
    fastparquet.write(str(path), pd.DataFrame({"j": pd.Series(nested["j"], dtype=object)}), object_encoding="json")
    # The text is fastparquet's own (orjson or json): read back without decoding.
    import pyarrow.parquet as pq

    texts = pq.read_table(path)["j"].to_pylist()
    texts = [t if isinstance(t, str) else bytes(t).decode() for t in texts]
    assert [json.loads(t) for t in texts] == nested["j"]
    out.add(path, {"j": texts})


out.try_to("object/json.parquet", as_json)
write("object/decimal.parquet", pd.DataFrame({"d": pd.Series([D("1.5"), D("-2.25")], dtype=object)}), holds={"d": [1.5, -2.25]}, object_encoding="decimal")
write("object/int.parquet", pd.DataFrame({"i": pd.Series([1, None, 3], dtype=object)}), holds={"i": [1, None, 3]}, object_encoding="int")
write("object/int32.parquet", pd.DataFrame({"i": pd.Series([1, None, 3], dtype=object)}), holds={"i": [1, None, 3]}, object_encoding="int32")
write("object/bool.parquet", pd.DataFrame({"b": pd.Series([True, None, False], dtype=object)}), holds={"b": [True, None, False]}, object_encoding="bool")
write("object/fixed.parquet", pd.DataFrame({"s": pd.Series([b"abcd", b"efgh"], dtype=object)}), fixed_text={"s": 4}, object_encoding="bytes")
BIG = pd.DataFrame({"i": range(1000), "g": [f"g{i % 3}" for i in range(1000)], "n": [i % 2 for i in range(1000)], "f": [i / 3 for i in range(1000)]})
write("groups/offsets.parquet", BIG, row_group_offsets=[0, 10, 500])
write("groups/index.parquet", BIG.set_index("i"), holds=source(BIG), write_index=True)
write("folder/hive", BIG, file_scheme="hive", partition_on=["g", "n"], partitions=["g", "n"])
write("folder/simple", BIG, file_scheme="hive", row_group_offsets=[0, 400, 800])
# Drill folders have no names of columns: fastparquet itself reads them as dir0.
write("folder/drill", BIG[["i", "g", "f"]], holds=source(BIG[["i", "f"]]), file_scheme="drill", partition_on=["g"])
# Rows whose partition column is NULL are not written at all.
write("folder/hive_null", pd.DataFrame({"g": ["a", None, "b"], "v": [1, 2, 3]}), holds={"g": ["a", "b"], "v": [1, 3]}, file_scheme="hive", partition_on=["g"], partitions=["g"])


def appended(path):
    fastparquet.write(str(path), BIG)
    fastparquet.write(str(path), BIG, append=True)
    out.add(path, source(pd.concat([BIG, BIG])))


out.try_to("groups/appended.parquet", appended)
# The footer's empty list of row groups has the wrong element type.
write("empty/no_rows.parquet", BIG.iloc[:0], refuse="(?i)footer|list element")
