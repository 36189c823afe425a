"""Every Arrow type into a table and back, ingested and bound as parameters; every DuckDB type as a result."""

import datetime
import decimal
import math

import pyarrow as pa
import pytest
from adbc_driver_manager import Error
from conftest import Server, arrow, rows

MIN, MAX = -(2**63), 2**63 - 1
UTC = datetime.timezone.utc
A_UUID = "30313233-3435-3637-3839-616263646566"


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    """One server for all of this file; tables have names of their own."""
    server = Server(tmp_path_factory.mktemp("types"))
    with server.connect() as connection:
        yield connection
    server.stop()


def decimals(*texts: str) -> list:
    return [text and decimal.Decimal(text) for text in texts]


def intervals(*months_days_nanoseconds) -> pa.Array:
    return pa.array([value and pa.MonthDayNano(value) for value in months_days_nanoseconds])


def extension(data_type: pa.BaseExtensionType, values: list) -> pa.Array:
    return pa.ExtensionArray.from_storage(data_type, pa.array(values, data_type.storage_type))


def timestamps(unit: str, zone: str | None = None) -> pa.Array:
    """The epoch, the second before it, and the first and last second that Python's dates can tell."""
    if unit == "ns":  # the ends of 64 bits; DuckDB keeps the very last values for the infinities
        return pa.array([0, None, -1, MIN + 2, MAX - 1], pa.timestamp(unit, zone))
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000}[unit]
    values = [0, None, -1, -62_135_596_800 * per_second, 253_402_300_800 * per_second - 1]
    return pa.array(values, pa.timestamp(unit, zone))


PAIR = pa.list_(pa.int64(), 2)

# Column -> what comes back: the type, where the values stay; an array, where they are written differently.
COLUMNS = {
    "null": (pa.nulls(3), pa.null()),
    "bool": (pa.array([True, None, False]), pa.bool_()),
    **{
        f"{sign}int{width}": (pa.array([low, None, high], data_type), data_type)
        for width in (8, 16, 32, 64)
        for sign, low, high in [("", -(2 ** (width - 1)), 2 ** (width - 1) - 1), ("u", 0, 2**width - 1)]
        for data_type in [getattr(pa, f"{sign}int{width}")()]
    },
    "float16": (pa.array([1.5, None, -65504.0, math.inf], pa.float16()), pa.float32()),
    "float32": (pa.array([3.4028234663852886e38, None, -0.0, math.nan], pa.float32()), pa.float32()),
    "float64": (pa.array([1.7976931348623157e308, None, 5e-324, -math.inf, math.nan]), pa.float64()),
    "decimal32": (pa.array(decimals("99.99", None, "-99.99"), pa.decimal32(4, 2)), pa.decimal128(4, 2)),
    "decimal64": (pa.array(decimals("0.01", None, "-9e15"), pa.decimal64(18, 2)), pa.decimal128(18, 2)),
    "decimal128": (pa.array(decimals("1.25", None, "-9.99"), pa.decimal128(10, 2)), pa.decimal128(10, 2)),
    "decimal128_38": (pa.array(decimals("9" * 38, None, "-1"), pa.decimal128(38, 0)), pa.decimal128(38, 0)),
    "decimal128_small": (pa.array(decimals("0.99", None, "-0.10"), pa.decimal128(2, 2)), pa.decimal128(2, 2)),
    "decimal_of_hundreds": (
        pa.array(decimals("100", None, "999900"), pa.decimal128(4, -2)),
        pa.decimal128(6, 0),
    ),
    "string": (pa.array(["well 井 🚀", None, "", "a\0b", "x" * 100_000]), pa.string()),
    "large_string": (pa.array(["a", None, ""], pa.large_string()), pa.string()),
    "string_view": (pa.array(["a", None, "longer than twelve"], pa.string_view()), pa.string()),
    "dictionary": (pa.array(["oil", None, "gas", "oil"]).dictionary_encode(), pa.string()),
    "dictionary_large": (pa.array(["a", None], pa.large_string()).dictionary_encode(), pa.string()),
    "dictionary_int": (pa.array([7, None, 8, 7]).dictionary_encode(), pa.int64()),
    "binary": (pa.array([b"\x00\xff", None, b""]), pa.binary()),
    "large_binary": (pa.array([b"\x00\xff", None, b""], pa.large_binary()), pa.binary()),
    "binary_view": (pa.array([b"a", None, b"longer than twelve"], pa.binary_view()), pa.binary()),
    "fixed_size_binary": (pa.array([b"abc", None, b"\0\0\0"], pa.binary(3)), pa.binary()),
    "date32": (pa.array([0, None, -719_162, 2_932_896], pa.date32()), pa.date32()),
    "date64": (pa.array([0, None, 86_400_000 * 2_932_896], pa.date64()), pa.date32()),
    "time32_s": (pa.array([0, None, 86_399], pa.time32("s")), pa.time64("us")),
    "time32_ms": (pa.array([0, None, 86_399_999], pa.time32("ms")), pa.time64("us")),
    "time64_us": (pa.array([0, None, 86_399_999_999], pa.time64("us")), pa.time64("us")),
    "time64_ns": (pa.array([0, None, 86_399_999_999_999], pa.time64("ns")), pa.time64("ns")),
    **{f"timestamp_{unit}": (timestamps(unit), pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
    **{
        f"timestamp_{unit}_utc": (timestamps(unit, "UTC"), pa.timestamp(back, "UTC"))
        for unit, back in [("s", "us"), ("ms", "us"), ("us", "us"), ("ns", "ns")]
    },
    "timestamp_us_tokyo": (timestamps("us", "Asia/Tokyo"), pa.timestamp("us", "UTC")),
    "timestamp_ns_tokyo": (timestamps("ns", "Asia/Tokyo"), pa.timestamp("ns", "UTC")),
    # An INTERVAL counts microseconds, so a duration in nanoseconds keeps only whole ones.
    "duration_s": (pa.array([0, None, -1], pa.duration("s")), intervals((0, 0, 0), None, (0, 0, -(10**9)))),
    "duration_ms": (pa.array([1, None], pa.duration("ms")), intervals((0, 0, 10**6), None)),
    "duration_us": (pa.array([1, None], pa.duration("us")), intervals((0, 0, 1000), None)),
    "duration_ns": (pa.array([5000, None], pa.duration("ns")), intervals((0, 0, 5000), None)),
    "interval": (intervals((13, -2, 3000), None, (0, 0, 0)), pa.month_day_nano_interval()),
    "list": (pa.array([[1, None], None, []], pa.list_(pa.int32())), pa.list_(pa.int32())),
    "large_list": (pa.array([["a"], None, []], pa.large_list(pa.string())), pa.list_(pa.string())),
    "fixed_size_list": (pa.array([[1, 2], None, [3, None]], PAIR), PAIR),
    "list_of_lists": (pa.array([[["x"], []], None, [None]]), pa.list_(pa.list_(pa.string()))),
    "struct": (
        pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": None}]),
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
    ),
    "list_of_structs": (
        pa.array([[{"a": 1, "b": [1.5]}], None, [None]]),
        pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))])),
    ),
    "map": (
        pa.array([[("k", 1), ("l", None)], None, []], pa.map_(pa.string(), pa.int64())),
        pa.map_(pa.string(), pa.int64()),
    ),
    "uuid": (
        extension(pa.uuid(), [b"0123456789abcdef", None]),
        pa.array([A_UUID, None]),
    ),
    "json": (extension(pa.json_(), ['{"a": 1}', None]), pa.array(['{"a": 1}', None])),
    # DuckDB's unions are sparse, and count their members from 0.
    "dense_union": (
        pa.UnionArray.from_dense(
            pa.array([5, 3, 3], pa.int8()),
            pa.array([0, 0, 1], pa.int32()),
            [pa.array([1]), pa.array(["a", "b"])],
            ["n", "s"],
            [5, 3],
        ),
        pa.UnionArray.from_sparse(
            pa.array([0, 1, 1], pa.int8()),
            [pa.array([1, None, None]), pa.array([None, "a", "b"])],
            ["n", "s"],
        ),
    ),
}

# What DuckDB cannot hold: column -> a part of the refusal.
REFUSED = {
    # Decimals of more than 38 digits go by their values.
    "decimal256": (pa.array(decimals("9" * 50, None), pa.decimal256(60, 2)), "38 digits"),
    "struct_of_one_name_twice": (
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "A"]),
        "two fields \"A\"",
    ),
}


def expected(column: pa.Array, back: pa.DataType | pa.Array) -> pa.Array:
    return back if isinstance(back, pa.Array) else column.cast(back)


def check(found: pa.ChunkedArray, wanted: pa.Array):
    assert found.type.equals(wanted.type)
    found = found.combine_chunks()
    # NaN is not equal to itself; its text is.
    assert found.equals(wanted) or pa.types.is_floating(wanted.type) and str(found) == str(wanted)


def numbered(column: pa.Array) -> pa.Table:
    return pa.table({"n": pa.array(range(len(column)), pa.int32()), "x": column})


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_by_ingest(connection, name):
    column, back = COLUMNS[name]
    with connection.cursor() as cursor:
        assert cursor.adbc_ingest(f"ingested_{name}", numbered(column)) == len(column)
        # Offsets of a slice are honoured in every type. The driver itself fails on slices of dense unions.
        rest = numbered(column).slice(1)
        cursor.adbc_ingest(f"sliced_{name}", rest.take(list(range(len(rest)))) if name == "dense_union" else rest)
    wanted = expected(column, back)
    check(arrow(connection, f"SELECT x FROM ingested_{name} ORDER BY n")["x"], wanted)
    check(arrow(connection, f"SELECT x FROM sliced_{name} ORDER BY n")["x"], wanted.slice(1))
    assert connection.adbc_get_table_schema(f"ingested_{name}").field("x").type.equals(wanted.type)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_by_bound_parameters(connection, name):
    column, back = COLUMNS[name]
    wanted = expected(column, back)
    table = numbered(column)
    with connection.cursor() as cursor:
        cursor.adbc_ingest(f"bound_{name}", table)
        cursor.execute(f"DELETE FROM bound_{name}")
        # Whole batches and, with an expression of each kind, row by row.
        cursor.executemany(f"INSERT INTO bound_{name} VALUES (?, ?)", table)
        assert cursor.rowcount == len(column)
        cursor.executemany(f"UPDATE bound_{name} SET x = $2 WHERE n = $1", table)
        assert cursor.rowcount == len(column)
    check(arrow(connection, f"SELECT x FROM bound_{name} ORDER BY n")["x"], wanted)


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "null"])
def test_a_parameter_has_the_type_of_the_value_bound(connection, name):
    column, back = COLUMNS[name]
    wanted = expected(column, back)
    found = arrow(connection, "SELECT ? AS x", pa.table({"0": column}))
    check(found["x"], wanted)


@pytest.mark.parametrize("name", REFUSED)
def test_what_duckdb_cannot_hold_is_refused_and_nothing_breaks(connection, name):
    column, part = REFUSED[name]
    with connection.cursor() as cursor:
        with pytest.raises(Error, match=part):
            cursor.adbc_ingest(f"refused_{name}", pa.table({"x": column}))
        with pytest.raises(Error, match=part):
            cursor.execute("SELECT ? AS x", pa.table({"0": column.slice(0, 1)})).fetchall()
    tables = rows(connection, "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'refused%'")
    assert tables == []


def test_all_columns_in_one_table(connection):
    """Types side by side, repeated over more than a row group."""
    wanted = {name: expected(*column).slice(0, 3) for name, column in COLUMNS.items() if len(column[0]) >= 3}
    table = pa.table({name: COLUMNS[name][0].slice(0, 3) for name in wanted})
    (batch,) = pa.concat_tables([table] * 1_000).combine_chunks().to_batches()
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch] * 50)
    with connection.cursor() as cursor:
        assert cursor.adbc_ingest("everything", reader) == 150_000
    found = arrow(connection, "FROM everything LIMIT 3 OFFSET 149997")
    for name, column in wanted.items():
        check(found[name], column)


# DuckDB's types: SQL expression -> Arrow type and Python value.
EXPRESSIONS = {
    "BOOLEAN": ("true", pa.bool_(), True),
    "TINYINT": ("(-128)::TINYINT", pa.int8(), -128),
    "SMALLINT": ("32767::SMALLINT", pa.int16(), 32767),
    "INTEGER": ("1", pa.int32(), 1),
    "BIGINT": (f"{MAX}", pa.int64(), MAX),
    "HUGEINT": (f"{MAX}::HUGEINT * 10", pa.decimal128(38, 0), decimal.Decimal(MAX * 10)),
    "UTINYINT": ("255::UTINYINT", pa.uint8(), 255),
    "USMALLINT": ("65535::USMALLINT", pa.uint16(), 65535),
    "UINTEGER": ("4294967295::UINTEGER", pa.uint32(), 2**32 - 1),
    "UBIGINT": ("18446744073709551615::UBIGINT", pa.uint64(), 2**64 - 1),
    "FLOAT": ("1.5::REAL", pa.float32(), 1.5),
    "DOUBLE": ("1.5::DOUBLE", pa.float64(), 1.5),
    "DECIMAL(4,2)": ("CAST(12.34 AS NUMERIC(4, 2))", pa.decimal128(4, 2), decimal.Decimal("12.34")),
    "DECIMAL(38,10)": ("1.5::DECIMAL(38, 10)", pa.decimal128(38, 10), decimal.Decimal("1.5")),
    "VARCHAR": ("'Öl'", pa.string(), "Öl"),
    "BLOB": ("X'deadbeef'", pa.binary(), b"\xde\xad\xbe\xef"),
    "BIT": ("'101'::BIT", pa.binary(), b"\x05\xfd"),
    "UUID": (f"'{A_UUID}'::UUID", pa.string(), A_UUID),
    "DATE": ("DATE '2020-02-29'", pa.date32(), datetime.date(2020, 2, 29)),
    "TIME": ("TIME '12:34:56.789012'", pa.time64("us"), datetime.time(12, 34, 56, 789012)),
    "TIME_NS": ("TIME_NS '12:34:56.789012'", pa.time64("ns"), datetime.time(12, 34, 56, 789012)),
    "TIMESTAMP": (
        "TIMESTAMP '2020-02-29 12:34:56.789012'",
        pa.timestamp("us"),
        datetime.datetime(2020, 2, 29, 12, 34, 56, 789012),
    ),
    "TIMESTAMP_S": (
        "TIMESTAMP_S '2020-02-29 12:34:56'",
        pa.timestamp("s"),
        datetime.datetime(2020, 2, 29, 12, 34, 56),
    ),
    "TIMESTAMP_MS": (
        "TIMESTAMP_MS '2020-02-29 12:34:56.789'",
        pa.timestamp("ms"),
        datetime.datetime(2020, 2, 29, 12, 34, 56, 789000),
    ),
    "TIMESTAMP_NS": (
        "TIMESTAMP_NS '2020-02-29 12:34:56.789012'",
        pa.timestamp("ns"),
        datetime.datetime(2020, 2, 29, 12, 34, 56, 789012),
    ),
    "TIMESTAMP WITH TIME ZONE": (
        "TIMESTAMPTZ '2020-02-29 12:34:56+02'",
        pa.timestamp("us", "UTC"),
        datetime.datetime(2020, 2, 29, 10, 34, 56, tzinfo=UTC),
    ),
    "INTERVAL": (
        "INTERVAL '1 month 2 days 3 seconds'",
        pa.month_day_nano_interval(),
        pa.MonthDayNano([1, 2, 3 * 10**9]),
    ),
    "ENUM('oil', 'gas')": ("'gas'::ENUM('oil', 'gas')", pa.dictionary(pa.uint8(), pa.string()), "gas"),
    "INTEGER[]": ("[1, NULL]", pa.list_(pa.int32()), [1, None]),
    "INTEGER[2]": ("[1, 2]::INTEGER[2]", pa.list_(pa.int32(), 2), [1, 2]),
    "STRUCT": (
        "{'a': 1, 'b': 'x'}",
        pa.struct([("a", pa.int32()), ("b", pa.string())]),
        {"a": 1, "b": "x"},
    ),
    "MAP": ("MAP {'k': 1}", pa.map_(pa.string(), pa.int32()), [("k", 1)]),
    "UNION": (
        "'x'::UNION(num INTEGER, str VARCHAR)",
        pa.sparse_union([pa.field("num", pa.int32()), pa.field("str", pa.string())]),
        "x",
    ),
    "JSON": ("'{\"a\": 1}'::JSON", pa.string(), '{"a": 1}'),
    "NULL": ("NULL", pa.null(), None),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_type_is_known_before_it_is_read_and_is_what_is_read(connection, name):
    expression, data_type, value = EXPRESSIONS[name]
    sql = f"SELECT {expression} AS x"
    with connection.cursor() as cursor:
        schema = cursor.adbc_execute_schema(sql)
        found = cursor.execute(sql).fetch_arrow_table()
    assert schema.equals(found.schema) and found.schema.field("x").type.equals(data_type)
    assert found["x"].to_pylist() == [value]


@pytest.mark.parametrize("name", [name for name in EXPRESSIONS if name != "NULL"])
def test_a_column_of_a_type_is_described_as_it_is_read(connection, name):
    expression, data_type, value = EXPRESSIONS[name]
    table = f"column_{list(EXPRESSIONS).index(name)}"
    rows(connection, f"CREATE TABLE {table} AS SELECT {expression} AS x UNION ALL SELECT NULL")
    field = connection.adbc_get_table_schema(table).field("x")
    found = arrow(connection, f"FROM {table} ORDER BY x NULLS LAST")
    assert field.type.equals(data_type) and found.schema.field("x").type.equals(data_type)
    assert found["x"].to_pylist() == [value, None]
    type_name = field.metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"].decode()
    assert type_name.startswith(name.removesuffix("[2]").removesuffix("[]"))


def test_a_variant_comes_whole_or_is_refused_by_name(connection):
    try:
        found = arrow(connection, "SELECT 42::VARIANT AS x")
    except Error as refused:
        assert "VARIANT" in str(refused)
    else:
        assert found.schema.field("x").metadata[b"ARROW:extension:name"] == b"arrow.parquet.variant"
    assert rows(connection, "SELECT 42::VARIANT::INTEGER") == [(42,)]


@pytest.mark.parametrize(
    ("expression", "type_name"),
    [("340282366920938463463374607431768211455::UHUGEINT", "uhugeint"), ("TIMETZ '12:34:56+02'", "time_tz")],
)
def test_a_type_that_only_duckdb_has_leaves_whole_and_goes_back(connection, expression, type_name):
    """arrow.opaque says whose it is; as text it is readable."""
    rows(connection, f"CREATE TABLE opaque_{type_name} AS SELECT {expression} AS x")
    found = arrow(connection, f"FROM opaque_{type_name}")
    data_type = found.schema.field("x").type
    assert (data_type.extension_name, data_type.type_name, data_type.vendor_name) == ("arrow.opaque", type_name, "DuckDB")
    with connection.cursor() as cursor:
        cursor.adbc_ingest(f"opaque_{type_name}", found, mode="append")
    same = f"SELECT count(*) FROM opaque_{type_name} WHERE x = {expression}"
    assert rows(connection, same) == [(2,)]
    as_text = f"SELECT ({expression})::VARCHAR AS x"
    assert arrow(connection, as_text)["x"].to_pylist()[0].startswith(("3402", "12:34:56+02"))


def test_bits_leave_as_bytes_and_go_back_as_bits(connection):
    rows(connection, "CREATE TABLE bits AS SELECT '10101'::BIT AS x")
    found = arrow(connection, "FROM bits")
    assert found.schema.field("x").type.equals(pa.binary())
    with connection.cursor() as cursor:
        cursor.adbc_ingest("bits", found, mode="append")
        with pytest.raises(Error, match="BIT"):
            cursor.adbc_ingest("bits", pa.table({"x": pa.array([b"\x03\xf5"])}), mode="append")
    assert rows(connection, "SELECT x::VARCHAR FROM bits") == [("10101",), ("10101",)]


def test_values_that_the_engine_would_fail_on_later_are_refused_by_row(connection):
    """Times beyond the day, digits beyond the precision, extension types over another storage."""
    late = pa.array([1, None, 86_400_000_001], pa.int64()).view(pa.time64("us"))
    digits = pa.Array.from_buffers(
        pa.decimal128(5, 2), 1, [None, pa.py_buffer((10**20).to_bytes(16, "little", signed=True))]
    )
    uuids = pa.schema([pa.field("x", pa.int64(), metadata={"ARROW:extension:name": "arrow.uuid"})])
    for table, match in [
        (pa.table({"x": late}), "row 3 of the batch holds 86400000001 us"),
        (pa.table({"x": digits}), "row 1 of the batch holds the digits 100000000000000000000"),
        (pa.table([[1]], schema=uuids), "arrow.uuid is stored as fixed_size_binary"),
    ]:
        with connection.cursor() as cursor, pytest.raises(Error, match=match):
            cursor.adbc_ingest("refused_values", table)
    tables = rows(connection, "SELECT table_name FROM duckdb_tables() WHERE table_name = 'refused_values'")
    assert tables == []


def test_infinite_and_special_values_keep_their_bits(connection):
    found = arrow(connection, "SELECT 'infinity'::TIMESTAMP AS t, 'nan'::DOUBLE AS f, '-inf'::REAL AS g")
    assert found["t"].cast(pa.int64()).to_pylist() == [MAX]
    assert math.isnan(found["f"][0].as_py()) and found["g"][0].as_py() == -math.inf


def test_extension_types_come_when_the_session_asks_for_them(server):
    """As a session option; GetSchema and the rows say the same."""
    with server.connect() as connection:
        connection.adbc_connection.set_options(
            **{"adbc.flight.sql.session.option.pintail-extension-types": "on"}
        )
        sql = f"SELECT '{A_UUID}'::UUID AS u, '{{}}'::JSON AS j, true AS b, 5::HUGEINT AS h, [true] AS l"
        with connection.cursor() as cursor:
            announced = cursor.adbc_execute_schema(sql)
            found = cursor.execute(sql).fetch_arrow_table()
        assert announced.equals(found.schema)
        names = {field.name: getattr(field.type, "extension_name", None) for field in found.schema}
        assert names == {"u": "arrow.uuid", "j": "arrow.json", "b": "arrow.bool8", "h": "arrow.opaque", "l": None}
        assert found.schema.field("l").type.value_type.extension_name == "arrow.bool8"
        assert str(found["u"][0].as_py()) == A_UUID
        with connection.cursor() as cursor:
            # Back they are what they were.
            cursor.adbc_ingest("as_extensions", found)
        kinds = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'as_extensions' ORDER BY 1"
        assert rows(connection, kinds) == [
            ("b", "BOOLEAN"),
            ("h", "HUGEINT"),
            ("j", "JSON"),
            ("l", "BOOLEAN[]"),
            ("u", "UUID"),
        ]
