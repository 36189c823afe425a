"""pandas: indexes, categoricals, nullable and Arrow-backed types, periods, zones; Parquet, Feather, ORC, Excel, CSV and JSON lines."""

import datetime
import decimal
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

out = Out("pandas")
DAY = datetime.date(2024, 2, 29)
COLUMNS = {
    "float_nan": [1.5, np.nan, -0.0, np.inf],
    "int_nullable": pd.array([1, None, 2, 1 << 62], "Int64"),
    "uint8_nullable": pd.array([0, None, 255, 1], "UInt8"),
    "bool_nullable": pd.array([True, None, False, True], "boolean"),
    "float_nullable": pd.array([0.5, None, np.nan, 2.0], "Float32"),
    "text": pd.array(["a", None, "", "äö"], "string"),
    "text_object": pd.Series(["a", None, np.nan, "x"], dtype=object),
    "bytes": pd.Series([b"a", None, b"", b"\xff"], dtype=object),
    "category": pd.Categorical(["b", None, "a", "b"], categories=["c", "b", "a"], ordered=True),
    "category_ints": pd.Categorical([3, None, 1, 3]),
    "category_dates": pd.Categorical(pd.to_datetime(["2024-01-01", None, "2023-01-01", "2024-01-01"])),
    "stamp_ns": pd.to_datetime(["2024-01-01 00:00:00.123456789", None, "1677-09-21 00:12:44", "2262-04-11"], format="ISO8601").as_unit("ns"),
    "stamp_s": pd.Series(np.array(["0001-01-01", "NaT", "9999-12-31", "1970-01-01"], "datetime64[s]")),
    "stamp_us": pd.Series(np.array(["0001-01-01", "NaT", "9999-12-31T23:59:59.999999", "1970-01-01"], "datetime64[us]")),
    "stamp_utc": pd.to_datetime(["2024-01-01", None, "1900-01-01", "2030-06-01"], utc=True),
    "stamp_berlin": pd.to_datetime(["2024-10-27 00:30", None, "2024-10-27 01:30", "1900-01-01 00:00"], utc=True).tz_convert("Europe/Berlin"),
    "stamp_fixed": pd.to_datetime(["2024-10-27 00:30+05:30", None, "2024-10-27 01:30+05:30", "1950-01-01 00:00+05:30"]),
    "delta": pd.to_timedelta(["1 day", None, "-1 us", "00:00:01.5"]),
    "delta_s": pd.Series(np.array([1, "NaT", -86400, 0], "timedelta64[s]")),
    "period": pd.PeriodIndex(["2024-01", None, "1969-12", "2030-06"], freq="M"),
    "interval": pd.arrays.IntervalArray.from_tuples([(0, 1), None, (1.5, 2), (3, 4)]),
    "dates": [DAY, None, datetime.date(1, 1, 1), datetime.date(9999, 12, 31)],
    "times": [datetime.time(12, 0, 0, 1), None, datetime.time(0), datetime.time(23, 59, 59, 999999)],
    "decimals": [decimal.Decimal("1.50"), None, decimal.Decimal("-12345678901234567890.123"), decimal.Decimal(0)],
    "lists": [[1, 2], None, [], [3]],
    "arrays": pd.Series([np.array([1.5, np.nan]), None, np.array([]), np.array([2.0])], dtype=object),
    "dicts": [{"a": 1, "b": "x"}, None, {"a": None, "b": ""}, {"a": 2}],
    "all_none": [None] * 4,
    "all_nan": [np.nan] * 4,
    "arrow_decimal": pd.array([decimal.Decimal("1.10"), None, decimal.Decimal("2.20"), decimal.Decimal("0")], pd.ArrowDtype(pa.decimal128(10, 2))),
    "arrow_map": pd.array([[("a", 1)], None, [], [("b", None)]], pd.ArrowDtype(pa.map_(pa.string(), pa.int64()))),
    "arrow_time": pd.array([datetime.time(1), None, datetime.time(2), datetime.time(3)], pd.ArrowDtype(pa.time64("us"))),
    "float16": np.array([1.5, np.nan, -0.0, 65504], "float16"),
    "sparse": pd.arrays.SparseArray([0, 0, 1, 0]),
    "complex_name (x/y) %": [1, 2, 3, 4],
}


def parquet(name, frame, **options):
    def make(path):
        frame.to_parquet(path, **options)
        out.add(path, pq.read_table(path))  # pandas' own reader, before it turns NULLs into NaN

    out.try_to(f"{name}.parquet", make)


for name, values in COLUMNS.items():
    frame = pd.DataFrame({"place": range(4), name: values})
    file = name.split(" ")[0]
    parquet(f"type/{file}", frame)

    def feather(path, frame=frame):
        import pyarrow.feather

        frame.to_feather(path)
        out.add(path, pyarrow.feather.read_table(path))

    if name in ("category", "period", "interval", "stamp_berlin", "stamp_s", "delta_s", "dicts", "arrays", "float16", "all_none"):
        out.try_to(f"type/{file}.feather", feather)

BASE = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
parquet("index/named", BASE.set_index("b"))
parquet("index/unnamed", BASE.set_axis(["r", "s", "t"]))
parquet("index/range_step", BASE.set_axis(pd.RangeIndex(10, 16, 2)))
parquet("index/dropped", BASE.set_axis(["r", "s", "t"]), index=False)
parquet("index/forced", BASE, index=True)
parquet("index/multi", BASE.set_index(["a", "b"]).assign(v=[1.0, 2.0, 3.0]))
parquet("index/zone", BASE.set_axis(pd.date_range("2024-01-01", periods=3, tz="America/New_York")))
parquet("index/columns_multi", pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])))
parquet("index/columns_numbers", pd.DataFrame([[1, 2]], columns=[0, 1]).rename(columns=str))
parquet("empty/no_rows", BASE.iloc[:0])
parquet("attributes", BASE.assign())
for codec in (None, "gzip", "brotli", "zstd", "lz4"):
    parquet(f"codec/{codec}", BASE, compression=codec)
parquet("int96", pd.DataFrame({"t": pd.to_datetime(["2024-01-01 12:00:00.123456", None])}), use_deprecated_int96_timestamps=True)
parquet("coerced_ms", pd.DataFrame({"t": pd.to_datetime(["2024-01-01 12:00:00.123456", None])}), coerce_timestamps="ms", allow_truncated_timestamps=True)


def hive(path):
    frame = pd.DataFrame({"k": pd.Categorical(["a", "b", "a", "b"]), "n": [1, 1, 2, 2], "v": [0.5, 1.5, 2.5, 3.5]})
    frame.to_parquet(path, partition_cols=["k", "n"])
    out.add(path, {name: frame[name].astype(object).tolist() for name in frame}, partitions=["k", "n"])


out.try_to("folder/hive", hive)


def hive_null(path):
    # NULLs of a partition column: pandas hands them to pyarrow, which writes __HIVE_DEFAULT_PARTITION__.
    frame = pd.DataFrame({"k": ["a", None, "b"], "v": [1, 2, 3]})
    frame.to_parquet(path, partition_cols=["k"])
    out.add(path, {"k": ["a", None, "b"], "v": [1, 2, 3]}, partitions=["k"])


out.try_to("folder/hive_null", hive_null)

TEXTS = {"i": [1, 2, -3], "s": ["a,b", 'say "x"', "line\nbreak"], "f": [0.5, -1e300, 3.25], "t": ["x", None, "z"]}
FRAME = pd.DataFrame(TEXTS)
for name, options in (("plain.csv", {}), ("gzip.csv.gz", {}), ("zstd.csv.zst", {}), ("tabs.tsv", {"sep": "\t"}), ("semicolon.csv", {"sep": ";"}), ("bom.csv", {"encoding": "utf-8-sig"}), ("crlf.csv", {"lineterminator": "\r\n"})):
    out.try_to(f"text/{name}", lambda path, options=options: (FRAME.to_csv(path, index=False, **options), out.add(path, TEXTS)))
for name in ("lines.ndjson", "lines.jsonl", "lines.jsonl.gz", "lines.ndjson.zst"):
    out.try_to(f"text/{name}", lambda path: (FRAME.to_json(path, orient="records", lines=True), out.add(path, TEXTS)))
out.try_to("text/latin1.csv", lambda path: (pd.DataFrame({"s": ["ä", "ö"]}).to_csv(path, index=False, encoding="latin-1"), out.add(path, None, refuse="(?i)utf-?8")))
out.try_to("other/book.xlsx", lambda path: (FRAME.to_excel(path, index=False), out.add(path, None, refuse="(?i)excel|xlsx|zip")))
out.try_to("other/frame.pkl", lambda path: (FRAME.to_pickle(path), out.add(path, None, refuse="(?i)neither|not |no |pickle")))


def database(path):
    with sqlite3.connect(path) as connection:
        FRAME.to_sql("t", connection)
    connection.close()
    out.add(path, None, refuse="SQLite")


out.try_to("other/base.sqlite", database)
