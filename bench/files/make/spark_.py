"""Spark: INT96 and its other timestamps, legacy layouts, decimals, nested types, VARIANT, partitioned folders, CSV, JSON and ORC.

Spark writes folders. The expected values are Python's own, made before Spark saw them.
"""

import datetime
import decimal
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out, compare  # noqa: E402

from pyspark.sql import SparkSession  # noqa: E402

os.environ["TZ"] = "UTC"
out = Out("pyspark")
spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
         .config("spark.sql.session.timeZone", "UTC").config("spark.driver.memory", "1g").config("spark.sql.shuffle.partitions", "2").config("spark.sql.warehouse.dir", str(out.path("warehouse"))).getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
Pairs = compare.Pairs
UTC, D = datetime.timezone.utc, decimal.Decimal


def at(*parts, zone=UTC):
    return datetime.datetime(*parts, tzinfo=zone)


# SQL and what it means.
COLUMNS = {
    "boolean": (["true", "NULL", "false"], [True, None, False]),
    "byte": (["CAST(-128 AS TINYINT)", "NULL", "CAST(127 AS TINYINT)"], [-128, None, 127]),
    "short": (["CAST(-32768 AS SMALLINT)", "NULL"], [-32768, None]),
    "int": (["2147483647", "NULL"], [2147483647, None]),
    "long": (["9223372036854775807L", "NULL"], [(1 << 63) - 1, None]),
    "float": (["CAST('NaN' AS FLOAT)", "CAST(1.5 AS FLOAT)", "NULL"], [float("nan"), 1.5, None]),
    "double": (["CAST('-Infinity' AS DOUBLE)", "0.1D", "NULL"], [float("-inf"), 0.1, None]),
    "string": (["''", "'äö€'", "NULL"], ["", "äö€", None]),
    "binary": (["X'00FF'", "NULL"], [b"\x00\xff", None]),
    "date": (["DATE '0001-01-01'", "DATE '9999-12-31'", "NULL"], [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None]),
    "decimal_9": (["CAST(1.50 AS DECIMAL(9, 2))", "NULL"], [D("1.50"), None]),
    "decimal_18": (["CAST(-123456789.123456789 AS DECIMAL(18, 9))", "NULL"], [D("-123456789.123456789"), None]),
    "decimal_38": (["CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0))", "NULL"], [D("9" * 38), None]),
    "stamp": (["TIMESTAMP '2024-02-29 12:00:00.123456'", "TIMESTAMP '1600-01-01 00:00:00'", "TIMESTAMP '0001-01-01 00:00:00'", "TIMESTAMP '9999-12-31 23:59:59.999999'", "NULL"],
              [at(2024, 2, 29, 12, 0, 0, 123456), at(1600, 1, 1), at(1, 1, 1), at(9999, 12, 31, 23, 59, 59, 999999), None]),
    "stamp_ntz": (["TIMESTAMP_NTZ '2024-02-29 12:00:00.123456'", "TIMESTAMP_NTZ '0001-01-01 00:00:00'", "NULL"], [at(2024, 2, 29, 12, 0, 0, 123456, zone=None), at(1, 1, 1, zone=None), None]),
    "array": (["array(1, NULL)", "CAST(array() AS ARRAY<INT>)", "NULL"], [[1, None], [], None]),
    "array_array": (["array(array('a'), CAST(NULL AS ARRAY<STRING>))", "NULL"], [[["a"], None], None]),
    "array_stamp": (["array(TIMESTAMP '1600-01-01 00:00:00', NULL)", "NULL"], [[at(1600, 1, 1), None], None]),
    "struct": (["named_struct('a', 1, 'b', 'x')", "NULL"], [{"a": 1, "b": "x"}, None]),
    "struct_stamp": (["named_struct('t', TIMESTAMP '9999-01-01 00:00:00')", "NULL"], [{"t": at(9999, 1, 1)}, None]),
    "array_struct": (["array(named_struct('a', 1), NULL)", "NULL"], [[{"a": 1}, None], None]),
    "map": (["map('a', 1, 'b', CAST(NULL AS INT))", "CAST(map() AS MAP<STRING, INT>)", "NULL"], [Pairs([("a", 1), ("b", None)]), Pairs([]), None]),
    "map_stamp": (["map('k', TIMESTAMP '1600-01-01 00:00:00')", "NULL"], [Pairs([("k", at(1600, 1, 1))]), None]),
    # Year-month intervals are INT32 months and day-time ones INT64 microseconds in the file, with Spark's own schema beside.
    "interval_months": (["INTERVAL '14' MONTH", "NULL"], [14, None]),
    "interval_days": (["INTERVAL '3 00:00:01.5' DAY TO SECOND", "NULL"], [(3 * 86400 * 1_000_000) + 1_500_000, None]),
}


def query(values):
    return " UNION ALL ".join(f"SELECT {n} AS place, {v} AS c" for n, v in enumerate(values))


def without_zone(value):
    """INT96 has no flag for UTC: what a reader finds is a timestamp without a zone, in UTC."""
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, Pairs):
        return Pairs((k, without_zone(v)) for k, v in value)
    if isinstance(value, list):
        return [without_zone(v) for v in value]
    return {k: without_zone(v) for k, v in value.items()} if isinstance(value, dict) else value


def case(name, sql, holds, settings=(), write=None, partitions=(), refuse=None, read=None):
    def make(path):
        for key, value in settings:
            spark.conf.set(key, value)
        try:
            (write or (lambda f, p: f.coalesce(1).write.parquet(p)))(spark.sql(sql), str(path))
        finally:
            for key, _ in settings:
                spark.conf.unset(key)
        out.add(path, holds, partitions=partitions, refuse=refuse, read=read)

    out.try_to(name, make)


for name, (values, expected) in COLUMNS.items():
    holds = {"place": list(range(len(values))), "c": expected}
    # Spark's default for a TIMESTAMP is INT96.
    int96 = {**holds, "c": without_zone(expected)}
    case(f"type/{name}", query(values), int96)
    if "stamp" in name and name != "stamp_ntz":
        for kind in ("TIMESTAMP_MICROS", "TIMESTAMP_MILLIS"):
            if kind == "TIMESTAMP_MILLIS" and name == "stamp":
                continue  # it cuts microseconds off
            case(f"{kind.lower()}/{name}", query(values), holds, [("spark.sql.parquet.outputTimestampType", kind)])
    if name.startswith(("decimal", "array", "map")):
        case(f"legacy/{name}", query(values), int96, [("spark.sql.parquet.writeLegacyFormat", "true")])
BIG = "SELECT id AS i, concat('v', id % 17) AS s, id / 4D AS f, array_repeat(id, CAST(id % 3 AS INT)) AS l FROM range(5000)"
HOLDS = {"i": list(range(5000)), "s": [f"v{i % 17}" for i in range(5000)], "f": [i / 4 for i in range(5000)], "l": [[i] * (i % 3) for i in range(5000)]}
for codec in ("none", "snappy", "gzip", "zstd", "lz4", "lz4_raw"):
    case(f"codec/{codec}", BIG, HOLDS, [("spark.sql.parquet.compression.codec", codec)])
case("option/v2", BIG, HOLDS, write=lambda f, p: f.write.option("parquet.writer.version", "v2").parquet(p))
case("option/bloom", BIG, HOLDS, write=lambda f, p: f.write.option("parquet.bloom.filter.enabled#s", "true").parquet(p))
case("option/small_blocks", BIG, HOLDS, write=lambda f, p: f.write.option("parquet.block.size", "8192").option("parquet.page.size", "1024").parquet(p))
case("option/four_files", BIG, HOLDS, write=lambda f, p: f.repartition(4).write.parquet(p))
PARTS = "SELECT * FROM VALUES ('a', 1, 1.5D), ('b/c', 2, 2.5D), (NULL, 3, 3.5D), ('x=y %', 4, 4.5D), ('', 5, 5.5D) t(k, n, v)"
# Spark writes the empty string of a partition column as NULL.
case("folder/hive", PARTS, {"k": ["a", "b/c", None, "x=y %", None], "n": [1, 2, 3, 4, 5], "v": [1.5, 2.5, 3.5, 4.5, 5.5]}, write=lambda f, p: f.write.partitionBy("k", "n").parquet(p), partitions=["k", "n"])
case("folder/dates", "SELECT DATE '2024-01-01' + CAST(id % 2 AS INT) AS d, id AS i FROM range(4)", {"d": [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)] * 2, "i": [0, 1, 2, 3]}, write=lambda f, p: f.write.partitionBy("d").parquet(p), partitions=["d"])
case("folder/stamps", "SELECT TIMESTAMP '2024-01-01 12:30:00' AS t, 1 AS i", {"t": ["2024-01-01 12:30:00"], "i": [1]}, write=lambda f, p: f.write.partitionBy("t").parquet(p), partitions=["t"])
case("folder/append", BIG, {k: v * 2 for k, v in HOLDS.items()}, write=lambda f, p: (f.write.parquet(p), f.write.mode("append").parquet(p)))
case("empty/rows", "SELECT 1 AS a, 'x' AS b WHERE false", {"a": [], "b": []})
case("type/null_only", "SELECT 1 AS a, NULL AS c", {"a": [1], "c": [None]})
case("type/variant", "SELECT parse_json('{\"a\": 1, \"b\": [1, \"x\"]}') AS c UNION ALL SELECT NULL", {"c": ['{"a":1,"b":[1,"x"]}', None]}, read={"c": "replace(CAST(c::JSON AS VARCHAR), ' ', '')"})
TEXT = {k: HOLDS[k] for k in ("i", "s", "f")}
case("text/csv", BIG, TEXT, write=lambda f, p: f.select("i", "s", "f").write.option("header", True).csv(p))
case("text/csv_gzip", BIG, TEXT, write=lambda f, p: f.select("i", "s", "f").write.option("header", True).option("compression", "gzip").csv(p))
case("text/json", BIG, HOLDS, write=lambda f, p: f.write.json(p))
case("other/orc", BIG, None, write=lambda f, p: f.write.orc(p), refuse="ORC")
spark.stop()
