"""DuckDB: COPY TO of every type, both Parquet versions, codecs, partitioned folders, CSV and JSON. Its own reader says what is in a file."""

import sys
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

out = Out("duckdb")
db = duckdb.connect()
db.execute("SET arrow_lossless_conversion = true; SET TimeZone = 'UTC'")
VALUES = {
    "boolean": ["true", "false"], "tinyint": ["127::TINYINT", "(-128)::TINYINT"], "smallint": ["32767::SMALLINT", "(-32768)::SMALLINT"],
    "integer": ["2147483647", "-2147483648"], "bigint": ["9223372036854775807::BIGINT", "(-9223372036854775808)::BIGINT"],
    "hugeint": ["170141183460469231731687303715884105727", "-5::HUGEINT", "0::HUGEINT"], "uhugeint": ["340282366920938463463374607431768211455::UHUGEINT", "0::UHUGEINT"],
    "utinyint": ["255::UTINYINT"], "usmallint": ["65535::USMALLINT"], "uinteger": ["4294967295::UINTEGER"], "ubigint": ["18446744073709551615::UBIGINT", "0::UBIGINT"],
    "float": ["'nan'::FLOAT", "'inf'::FLOAT", "-0.0::FLOAT", "1.5::FLOAT"], "double": ["'nan'::DOUBLE", "'-inf'::DOUBLE", "-0.0::DOUBLE", "0.1::DOUBLE"],
    "decimal_4": ["99.99::DECIMAL(4,2)", "-99.99::DECIMAL(4,2)"], "decimal_9": ["1.5::DECIMAL(9,3)"], "decimal_18": ["-123456789.123456789::DECIMAL(18,9)"], "decimal_38": ["repeat('9', 38)::DECIMAL(38,0)", "0::DECIMAL(38,0)"],
    "varchar": ["''", "'äö€😀'", "repeat('x', 300)", "'NULL'"], "blob": ["''::BLOB", "'\\xFF\\x00'::BLOB"], "bit": ["'10101'::BIT", "'0'::BIT"],
    "date": ["DATE '0001-01-01'", "DATE '9999-12-31'", "DATE '1970-01-01'"], "date_far": ["DATE '0044-03-15 (BC)'", "DATE '20000-01-01'"], "date_infinite": ["'infinity'::DATE", "'-infinity'::DATE"],
    "time": ["TIME '00:00:00'", "TIME '23:59:59.999999'"], "time_24": ["TIME '24:00:00'"], "time_ns": ["'12:00:00.123456789'::TIME_NS"], "timetz": ["'12:00:00+02'::TIMETZ", "'23:00:00-05:30'::TIMETZ"],
    "timestamp": ["TIMESTAMP '0001-01-01'", "TIMESTAMP '9999-12-31 23:59:59.999999'"], "timestamp_infinite": ["'infinity'::TIMESTAMP"],
    "timestamp_s": ["TIMESTAMP_S '2024-01-01 00:00:01'"], "timestamp_ms": ["TIMESTAMP_MS '2024-01-01 00:00:00.123'"], "timestamp_ns": ["TIMESTAMP_NS '2024-01-01 00:00:00.123456789'"],
    "timestamptz": ["TIMESTAMPTZ '2024-07-01 12:00:00+02'", "TIMESTAMPTZ '1900-01-01 00:00:00+00'"],
    "interval": ["INTERVAL '14 months 3 days 1.234 seconds'", "INTERVAL '0 days'"], "interval_fine": ["INTERVAL '1.234567 seconds'"],
    "uuid": ["uuid '00000000-0000-0000-0000-000000000007'", "uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff'"], "json": ["'{\"a\": [1, null]}'::JSON", "'null'::JSON"],
    "enum": ["'b'::ENUM('a', 'b')", "'a'::ENUM('a', 'b')"], "bignum": ["123456789012345678901234567890::BIGNUM"],
    "list": ["[1, NULL]", "[]::INTEGER[]"], "list_list": ["[[1], NULL, []]"], "array": ["[1, 2]::INTEGER[2]"], "array_null": ["[1, NULL]::INTEGER[2]"],
    "struct": ["{'a': 1, 'b': 'x'}", "{'a': NULL, 'b': NULL}"], "struct_deep": ["{'s': {'t': [{'u': 1}]}}"], "map": ["MAP {'k': 1, 'l': NULL}", "MAP {}::MAP(VARCHAR, INTEGER)"],
    "map_interval": ["MAP {'k': INTERVAL '5 years'}"], "union": ["union_value(n := 1)::UNION(n INTEGER, s VARCHAR)", "union_value(s := 'x')::UNION(n INTEGER, s VARCHAR)"],
    "null": ["NULL"], "geometry": ["'POINT(1 2)'::GEOMETRY", "'LINESTRING(0 0, 1 1)'::GEOMETRY"], "variant": ["{'a': 1, 'b': [1, NULL]}::VARIANT", "5::VARIANT", "'text'::VARIANT", "DATE '2024-01-01'::VARIANT"],
    "list_uuid": ["[uuid '00000000-0000-0000-0000-000000000007', NULL]"], "list_interval": ["[INTERVAL '2 months', NULL]"], "struct_hugeint": ["{'h': 5::HUGEINT}"], "list_timestamptz": ["[TIMESTAMPTZ '2024-07-01 12:00:00+02']"],
}
READ = {"variant": {"c": "c::VARCHAR"}}


def copy(name, sql, options="FORMAT parquet", partitions=(), read=None, reader=None):
    def make(path):
        db.execute(f"COPY ({sql}) TO '{path}' ({options})")
        replaced = ", ".join(f"{e} AS {c}" for c, e in (read or {}).items())
        source = (reader or "read_parquet('{}')").format(path)
        out.add(path, db.sql(f"SELECT *{f' REPLACE ({replaced})' if replaced else ''} FROM {source}").to_arrow_table(), partitions=partitions, read=read)

    out.try_to(name, make)


for name, values in VALUES.items():
    rows = ", ".join(f"({n}, {v})" for n, v in enumerate([*values, "NULL"]))
    sql = f"SELECT * FROM (VALUES {rows}) t(place, c)"
    copy(f"type/{name}.parquet", sql, read=READ.get(name))
    if name not in ("integer", "smallint", "usmallint", "null"):
        copy(f"type_v2/{name}.parquet", sql, "FORMAT parquet, PARQUET_VERSION v2, CODEC zstd", read=READ.get(name))
copy("type/shredded.parquet", "SELECT {'a': i, 'b': 'x' || i}::VARIANT AS c FROM range(100) t(i)", "FORMAT parquet, SHREDDING {c: 'STRUCT(a BIGINT, b VARCHAR)'}", read={"c": "c::VARCHAR"})
BIG = "SELECT i, 'text ' || (i % 13) AS s, CASE WHEN i % 7 = 0 THEN NULL ELSE i / 3 END AS f, range(i % 4) AS l, (i * 1.01)::DECIMAL(18, 2) AS d FROM range(10000) t(i)"
for codec in ("uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4", "lz4_raw"):
    copy(f"codec/{codec}.parquet", BIG, f"FORMAT parquet, CODEC {codec}, ROW_GROUP_SIZE 3000")
copy("codec/v2.parquet", BIG, "FORMAT parquet, PARQUET_VERSION v2")
copy("codec/field_ids.parquet", "SELECT 1 AS a, 'x' AS b", "FORMAT parquet, FIELD_IDS {a: 7, b: 3}")
copy("codec/no_dictionary.parquet", BIG, "FORMAT parquet, DICTIONARY_SIZE_LIMIT 1")
copy("codec/bloom.parquet", BIG, "FORMAT parquet, WRITE_BLOOM_FILTER true")


PARTS = "SELECT * FROM (VALUES ('a', 1, 1.5), ('b/c', 2, 2.5), (NULL, 3, 3.5), ('ä=ö', NULL, 4.5), ('', 5, 5.5), ('x y', 6, 6.5)) t(k, n, v)"


def hive(name, sql, columns, options="FORMAT parquet"):
    def make(path):
        db.execute(f"COPY ({sql}) TO '{path}' ({options}, PARTITION_BY ({', '.join(columns)}))")
        out.add(path, db.sql(sql).to_arrow_table(), partitions=columns)

    out.try_to(f"folder/{name}", make)


hive("hive", PARTS, ["k", "n"])
hive("hive_keys_in_files", PARTS.replace("('', 5, 5.5), ", ""), ["k"], "FORMAT parquet, WRITE_PARTITION_COLUMNS true")
hive("hive_dates", "SELECT DATE '2024-01-01' + (i % 3)::INTEGER AS d, i FROM range(10) t(i)", ["d"])
hive("hive_csv", "SELECT i % 3 AS k, i, 'x' || i AS s FROM range(10) t(i)", ["k"], "FORMAT csv, HEADER")
hive("hive_padded", "SELECT lpad((i % 3)::VARCHAR, 3, '0') AS k, i FROM range(10) t(i)", ["k"])
copy("folder/threads", BIG, "FORMAT parquet, PER_THREAD_OUTPUT true", reader="read_parquet('{}/*.parquet')")
copy("folder/sized", BIG, "FORMAT parquet, FILE_SIZE_BYTES '20kB', ROW_GROUP_SIZE 2048", reader="read_parquet('{}/*.parquet')")
# JSON has no dates: they are text there.
TEXT = "SELECT * FROM (VALUES (1, 'a,b', 0.5::DOUBLE, DATE '2024-01-01', true), (NULL, 'q\"', -1.5, NULL, false), (3, 'x', NULL, DATE '1999-12-31', NULL)) t(i, s, f, d, b)"
for name, options in (("plain.csv", "FORMAT csv, HEADER"), ("zipped.csv.gz", "FORMAT csv, HEADER, COMPRESSION gzip"), ("zstd.csv.zst", "FORMAT csv, HEADER, COMPRESSION zstd"), ("pipes.csv", "FORMAT csv, HEADER, DELIMITER '|'"),
                      ("lines.json", "FORMAT json"), ("lines.ndjson.gz", "FORMAT json, COMPRESSION gzip"), ("array.json", "FORMAT json, ARRAY true")):
    out.try_to(f"text/{name}", lambda path, options=options: (db.execute(f"COPY ({TEXT}) TO '{path}' ({options})"), out.add(path, db.sql(f"SELECT * REPLACE (d::VARCHAR AS d) FROM ({TEXT})" if "lines" in str(path) else TEXT).to_arrow_table(), refuse="(?i)array" if "array" in str(path) else None)))


def database(path):
    other = duckdb.connect(str(path))
    other.execute("CREATE TABLE t AS SELECT 1 AS a")
    other.close()
    out.add(path, None, refuse="DuckDB")


out.try_to("other/base.duckdb", database)
