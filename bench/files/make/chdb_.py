"""ClickHouse (chdb): its Parquet, Arrow, ArrowStream, CSV, TSV, JSON lines and ORC. What is in a file is what the query says in Python."""

import datetime
import decimal
import sys
import uuid
from pathlib import Path

import chdb

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out, compare  # noqa: E402

Pairs = compare.Pairs

out = Out("chdb")
D, UTC = decimal.Decimal, datetime.timezone.utc
# ClickHouse's types by SQL, and the values that Parquet and Arrow can hold of them.
TYPES = {
    "Int8": ("toInt8({})", ["-128", "127"], [-128, 127]),
    "Int64": ("toInt64({})", ["-9223372036854775808", "9223372036854775807"], [-(1 << 63), (1 << 63) - 1]),
    "UInt8": ("toUInt8({})", ["0", "255"], [0, 255]),
    "UInt64": ("toUInt64({})", ["0", "18446744073709551615"], [0, (1 << 64) - 1]),
    "Float32": ("toFloat32({})", ["1.5", "nan", "-inf"], [1.5, float("nan"), float("-inf")]),
    "Float64": ("toFloat64({})", ["0.1", "-0."], [0.1, -0.0]),
    "Bool": ("toBool({})", ["1", "0"], [True, False]),
    "String": ("{}", ["''", "'äö€😀'", "'x y'"], ["", "äö€😀", "x y"]),
    "FixedString": ("toFixedString({}, 4)", ["'abcd'", "'ab'"], [b"abcd", b"ab\0\0"]),
    "Date": ("toDate({})", ["'1970-01-01'", "'2149-06-06'"], [datetime.date(1970, 1, 1), datetime.date(2149, 6, 6)]),
    "Date32": ("toDate32({})", ["'1900-01-01'", "'2299-12-31'"], [datetime.date(1900, 1, 1), datetime.date(2299, 12, 31)]),
    "DateTime": ("toDateTime({}, 'UTC')", ["'2024-02-29 12:00:00'"], [datetime.datetime(2024, 2, 29, 12, tzinfo=UTC)]),
    "DateTime64_3": ("toDateTime64({}, 3, 'UTC')", ["'2024-02-29 12:00:00.123'"], [datetime.datetime(2024, 2, 29, 12, 0, 0, 123000, tzinfo=UTC)]),
    "DateTime64_6": ("toDateTime64({}, 6, 'Europe/Berlin')", ["'2024-02-29 12:00:00.123456'"], [datetime.datetime(2024, 2, 29, 11, 0, 0, 123456, tzinfo=UTC)]),
    "DateTime64_9": ("toDateTime64({}, 9, 'UTC')", ["'2024-02-29 12:00:00.123456000'"], [datetime.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)]),
    "Decimal32": ("toDecimal32({}, 2)", ["'1.50'", "'-9.99'"], [D("1.50"), D("-9.99")]),
    "Decimal128": ("toDecimal128({}, 4)", ["'12345678901234567890.1234'"], [D("12345678901234567890.1234")]),
    "Decimal256": ("toDecimal256({}, 4)", ["'1.5'"], [D("1.5")]),
    "LowCardinality": ("toLowCardinality({})", ["'a'", "'b'", "'a'"], ["a", "b", "a"]),
    "Array": ("{}", ["[1, 2]::Array(UInt8)", "[]::Array(UInt8)"], [[1, 2], []]),
    "ArrayNullable": ("{}", ["['a', NULL]::Array(Nullable(String))", "[]::Array(Nullable(String))"], [["a", None], []]),
    "ArrayArray": ("{}", ["[[1], []]::Array(Array(Int64))"], [[[1], []]]),
    "Tuple": ("{}", ["(1, 'x')::Tuple(a Int32, b String)"], [{"a": 1, "b": "x"}]),
    "Map": ("{}", ["map('a', 1, 'b', 2)::Map(String, UInt64)", "map()::Map(String, UInt64)"], [Pairs([("a", 1), ("b", 2)]), Pairs([])]),
    "UUID": ("toUUID({})", ["'00000000-0000-0000-0000-000000000007'"], [uuid.UUID(int=7)]),
    "Enum8": ("CAST({} AS Enum8('a' = 1, 'b' = 2))", ["'b'", "'a'"], ["b", "a"]),
}
NULLABLE = ("Int64", "Float64", "String", "Date32", "Decimal32", "DateTime64_6", "Bool")


def write(path, query, form, settings=""):
    answer = chdb.query(f"{query} FORMAT {form} {'SETTINGS ' + settings if settings else ''}", form)
    path.write_bytes(answer.bytes())


def rows(form, values, nullable=False):
    parts = [f"SELECT {n} AS place, {form.format(v)} AS c" for n, v in enumerate(values)]
    if nullable:
        parts.append(f"SELECT {len(values)} AS place, NULL AS c")
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY place"


def case(name, query, form, holds, settings="", refuse=None, read=None):
    out.try_to(name, lambda path: (write(path, query, form, settings), out.add(path, holds, refuse=refuse, read=read)))


for name, (form, values, expected) in TYPES.items():
    holds = {"place": list(range(len(values))), "c": expected}
    case(f"parquet/{name}.parquet", rows(form, values), "Parquet", holds)
    # In Arrow files of ClickHouse enums are their numbers and DateTime its seconds.
    bare = {"Enum8": [2, 1], "DateTime": [1_709_208_000]}
    case(f"arrow/{name}.arrow", rows(form, values), "Arrow", {**holds, "c": bare.get(name, expected)})
    if name in NULLABLE:
        with_null = {"place": list(range(len(values) + 1)), "c": [*expected, None]}
        case(f"nullable/{name}.parquet", rows(form, values, True), "Parquet", with_null)
        case(f"nullable/{name}.arrows", rows(form, values, True), "ArrowStream", with_null)
BIG = {"i": list(range(20000)), "s": [f"v{i % 17}" for i in range(20000)], "f": [i / 4 for i in range(20000)]}
QUERY = "SELECT number AS i, concat('v', toString(number % 17)) AS s, number / 4 AS f FROM numbers(20000)"
for codec in ("none", "snappy", "gzip", "zstd", "brotli", "lz4"):
    case(f"codec/{codec}.parquet", QUERY, "Parquet", BIG, f"output_format_parquet_compression_method = '{codec}', output_format_parquet_row_group_size = 7000")
for version in ("1.0", "2.4", "2.6", "2.latest"):
    case(f"version/{version}.parquet", QUERY, "Parquet", BIG, f"output_format_parquet_version = '{version}'")
for codec in ("lz4_frame", "zstd", "none"):
    case(f"codec/{codec}.arrow", QUERY, "Arrow", BIG, f"output_format_arrow_compression_method = '{codec}'")
case("codec/dictionary.arrow", "SELECT toLowCardinality(toString(number % 5)) AS c FROM numbers(100)", "Arrow", {"c": [str(i % 5) for i in range(100)]}, "output_format_arrow_low_cardinality_as_dictionary = 1")
case("codec/strings_as_binary.parquet", "SELECT 'a' AS c", "Parquet", {"c": [b"a"]}, "output_format_parquet_string_as_string = 0")
for name, form in (("rows.csv", "CSVWithNames"), ("rows.tsv", "TSVWithNames"), ("rows.ndjson", "JSONEachRow")):
    case(f"text/{name}", QUERY, form, BIG)
case("other/rows.orc", QUERY, "ORC", None, refuse="ORC")
case("other/rows.avro", QUERY, "Avro", None, refuse="Avro")
case("other/rows.native", QUERY, "Native", None, refuse="(?i)neither|not |no ")
