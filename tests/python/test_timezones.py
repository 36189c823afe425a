"""TIMESTAMP WITH TIME ZONE on the server against DuckDB with its ICU extension, which the Python wheel carries.

Every case is an expression. Both sides evaluate it in the zone UTC and give its type and its text; where one
refuses it, the other has to refuse it as well. What cannot be had is listed at the end, so that it is noticed
when that changes.
"""

import signal

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from conftest import Server, put, query, run

PARTS = (
    "year month day decade century millennium microseconds milliseconds second minute hour dow isodow week "
    "isoyear quarter doy yearweek era timezone timezone_hour timezone_minute epoch julian"
).split()
ALIASES = "yr Y mons days d dayofmonth decs c mil us msec secs MIN hr dayofweek weekday w weekofyear dayofyear jd".split()
SHORT = (
    "era year month day dayofmonth decade century millennium microsecond millisecond second minute hour dayofweek "
    "weekday isodow week weekofyear dayofyear quarter isoyear yearweek timezone timezone_hour timezone_minute epoch "
    "julian dayname monthname last_day epoch_ms epoch_us epoch_ns nanosecond isfinite isinf"
).split()
UNITS = [part for part in PARTS if not part.startswith("timezone")]
STAMPS = [
    "1970-01-01 00:00:00+00",
    "1969-12-31 23:59:59.999999+00",
    "1970-01-01 00:00:00.000001+00",
    "2020-02-29 12:34:56.789123+00",
    "2019-02-28 23:59:59.999+00",
    "2021-03-14 07:30:00+00",
    "2021-11-07 05:30:10+00",
    "2021-11-07 06:30:10+00",
    "2021-03-28 01:00:00+00",
    "2021-10-31 00:30:00+00",
    "2021-01-01 00:00:00+00",
    "2020-12-31 23:59:59+00",
    "2021-01-03 10:00:00+00",
    "2021-01-04 00:00:00+00",
    "2024-12-30 08:00:00+00",
    "2000-01-03 00:00:00+00",
    "1999-12-31 12:00:00+00",
    "2001-01-01 00:00:00+00",
    "1900-03-01 01:02:03.000004+00",
    "1899-12-31 00:00:00+00",
    "1850-06-15 12:00:00+00",
    "1582-10-10 00:00:00+00",
    "0999-12-31 23:00:00+00",
    "0100-01-31 00:00:00+00",
    "0001-01-01 00:00:00+00",
    "0001-03-15 (BC) 00:00:00+00",
    "0044-03-15 (BC) 05:06:07.000008+00",
    "4713-11-24 (BC) 12:00:00+00",
    "2038-01-19 03:14:08+00",
    "2100-02-28 23:00:00+00",
    "2150-07-01 00:00:00+00",
    "9999-12-31 23:59:59.999999+00",
    "2026-11-24 10:20:30.5+00",
    "2021-04-03 15:15:00+00",
    "2021-10-02 15:45:00+00",
    "2011-12-30 10:00:00+00",
    "1986-01-01 00:10:00+00",
]
FAR = ["294247-01-10 04:00:54.775806+00", "290309-12-22 (BC) 00:00:00+00", "290309-01-01 (BC) 00:00:00+00"]
INFINITE = ["infinity", "-infinity"]
ZONES = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
    "Asia/Kolkata",
    "Europe/Dublin",
    "Atlantic/Azores",
    "America/Sao_Paulo",
    "Etc/GMT+5",
    "US/Eastern",
    "europe/london",
    "GMT+3",
    "UTC-3",
    "GMT-0930",
    "PST",
    "Asia/Tehran",
    "Antarctica/Troll",
]
INTERVALS = [
    "1 day", "-1 day", "1 month", "-1 month", "1 year", "1 hour", "90 minutes", "1 month 1 day", "-1 month -1 day",
    "1 month -1 day", "-1 month 1 day 1 hour", "1 year 2 months 3 days 04:05:06.789012", "1 microsecond",
    "-1 microsecond", "13 months", "-25 months", "400 days", "0 days", "100 years", "48 months 31 days", "1000000 hours",
]  # fmt: skip


def stamp(text: str) -> str:
    return f"TIMESTAMPTZ '{text}'"


def extraction():
    yield from (f"date_part('{part}', ts)" for part in PARTS + ALIASES)
    yield from (f"extract({part} FROM ts)" for part in PARTS)
    yield from (f"{name}(ts)" for name in SHORT)
    yield from (f"datepart('{part}', {stamp(ts)})" for part in PARTS for ts in FAR[:2] + INFINITE)
    yield from (f"{name}({stamp(ts)})" for name in SHORT for ts in INFINITE)
    yield from (f"{name}(NULL::TIMESTAMPTZ)" for name in SHORT)
    yield from ["date_part(part, ts)", "date_part(part, TIMESTAMPTZ '2020-02-29 12:00:00+00')"]
    yield from [
        "date_part(NULL, TIMESTAMPTZ '2020-01-01')",
        "date_part('bogus', ts)",
        "date_part('year', null_ts)",
    ]
    yield from ["date_part(['year', 'epoch', 'Yr', 'julian', 'dow'], ts)", "date_part(['year'], null_ts)"]
    yield from ["date_part(['year', 'YEAR'], ts)", "date_part([], ts)", "date_part(['bogus'], ts)"]
    yield from [
        "date_part(['year', 'hour'], TIMESTAMPTZ '2020-02-29')",
        "date_part(['year'], TIMESTAMPTZ 'infinity')",
    ]


def truncation():
    yield from (f"date_trunc('{unit}', ts)" for unit in UNITS + ALIASES)
    yield from (f"datetrunc('{unit}', {stamp(ts)})" for unit in UNITS for ts in FAR[:1] + INFINITE)
    yield from ["date_trunc(part, ts)", "date_trunc(NULL, ts)", "date_trunc('day', null_ts)"]
    yield from ["date_trunc('bogus', ts)", "date_trunc('timezone', ts)", "date_trunc('timezone_hour', ts)"]


def sums():
    for interval in INTERVALS:
        yield from (
            f"ts + INTERVAL '{interval}'",
            f"ts - INTERVAL '{interval}'",
            f"INTERVAL '{interval}' + ts",
        )
    yield from (f"{stamp(ts)} + step" for ts in STAMPS[:12] + INFINITE)
    yield from (f"{stamp(ts)} - step" for ts in ["2020-03-31", "2020-02-29", "2021-01-31"] + INFINITE)
    yield from [
        "ts + step",
        "ts - step",
        "step + ts",
        "ts + NULL::INTERVAL",
        "null_ts + step",
        "null_ts - null_ts",
    ]
    yield from [
        "TIMESTAMPTZ '2020-01-01' + INTERVAL '1000000 years'",
        "TIMESTAMPTZ '2020-01-01' - INTERVAL '400000 years'",
    ]
    yield from [f"{stamp(ts)} {sign} INTERVAL '1 microsecond'" for ts in FAR for sign in "+-"]
    yield from [f"{stamp(ts)} {sign} INTERVAL '1 month'" for ts in FAR for sign in "+-"]
    yield from ["ts + 1", "ts + ts", "ts + TIME '01:00'", "ts - TIME '01:00'", "ts - '1 day'", "-ts"]
    yield from [
        "now() - INTERVAL 1 DAY < now()",
        "now() - now()",
        "now() - INTERVAL 1 DAY + INTERVAL 1 DAY = now()",
    ]


def differences():
    yield from [
        "ts - other",
        "other - ts",
        "ts - naive",
        "naive - ts",
        "ts - day",
        "age(ts, other)",
        "age(other, ts)",
    ]
    yield from (f"{stamp(left)} - {stamp(right)}" for left in INFINITE + STAMPS[:2] for right in INFINITE)
    yield from (f"age({stamp(left)}, {stamp(right)})" for left in STAMPS[:16] for right in STAMPS[:16])
    yield from ["age(ts)", "age(null_ts)", "age(ts, null_ts)", "age(ts, naive)"]
    yield from ["age(ts) = age(current_date::TIMESTAMPTZ, ts)", "age(current_date::TIMESTAMPTZ)"]
    for name in ["date_diff", "datediff", "date_sub", "datesub"]:
        yield from (f"{name}('{unit}', ts, other)" for unit in UNITS + ["timezone", "bogus"])
        yield from (f"{name}('{unit}', other, ts)" for unit in UNITS)
    for unit in ["month", "year", "day", "week", "quarter", "isoyear", "hour", "decade"]:
        yield from (f"date_sub('{unit}', ts, {stamp(right)})" for right in STAMPS[:16])
    yield from [
        "date_diff(part, ts, other)",
        "date_diff('day', ts, TIMESTAMPTZ 'infinity')",
        "date_diff(NULL, ts, ts)",
    ]
    yield from [
        "date_sub('day', null_ts, ts)",
        "date_diff('day', ts, naive)",
        "date_diff('day', DATE '2020-01-01', ts)",
    ]


def buckets():
    widths = [
        "1 microsecond",
        "15 minutes",
        "1 hour",
        "7 hours",
        "1 day",
        "3 days",
        "7 days",
        "1 month",
        "5 months",
    ]
    widths += ["1 year", "100 years", "1 month 1 day", "1 day 1 hour", "0 days", "-1 day", "-1 hour"]
    for width in widths:
        yield f"time_bucket(INTERVAL '{width}', ts)"
        yield f"time_bucket(INTERVAL '{width}', ts, other)"
        yield from (
            f"time_bucket(INTERVAL '{width}', ts, INTERVAL '{offset}')"
            for offset in ["90 minutes", "1 month"]
        )
        yield from (f"time_bucket(INTERVAL '{width}', ts, '{zone}')" for zone in ZONES)
        yield from (f"time_bucket(INTERVAL '{width}', {stamp(ts)})" for ts in INFINITE if width != "0 days")
    yield from ["time_bucket(step, ts)", "time_bucket(INTERVAL '1 day', ts, zone)", "time_bucket(NULL, ts)"]
    yield from ["time_bucket(INTERVAL '1 day', ts, 'nowhere')", "time_bucket(INTERVAL '1 day', null_ts)"]
    yield from [f"time_bucket(INTERVAL '1 day', ts, {stamp(ts)})" for ts in INFINITE]


def zones():
    for zone in ZONES + ["nowhere", "", "+03:00", "Z", " UTC"]:
        yield from (f"ts AT TIME ZONE '{zone}'", f"naive AT TIME ZONE '{zone}'")
        yield f"(naive AT TIME ZONE '{zone}') AT TIME ZONE '{zone}'"
        yield f"date_trunc('day', ts AT TIME ZONE '{zone}') AT TIME ZONE '{zone}'"
    yield from [
        "timezone(zone, ts)",
        "timezone(zone, naive)",
        "timezone(NULL, ts)",
        "timezone(zone, null_ts)",
    ]
    yield from (
        f"timezone('Europe/Berlin', {kind} '{ts}')"
        for kind in ["TIMESTAMP", "TIMESTAMPTZ"]
        for ts in INFINITE
    )
    yield from [
        "timezone('Europe/Berlin', ts::TIMESTAMPTZ_NS) WHERE ts BETWEEN '1800-01-01' AND '2200-01-01'"
    ]
    yield from [
        "timezone('Asia/Kathmandu', naive::TIMESTAMP_NS) WHERE ts BETWEEN '1800-01-01' AND '2200-01-01'"
    ]
    yield from [
        "timezone('Asia/Kathmandu', TIMETZ '10:00:00+00')",
        "timezone(INTERVAL '1 hour', TIMETZ '10:00:00+00')",
    ]
    for minutes in range(0, 240, 15):
        for day in [
            "2021-03-14",
            "2021-11-07",
            "2021-03-28",
            "2021-10-31",
            "2021-04-04",
            "2021-10-03",
            "2011-12-30",
        ]:
            ts = f"TIMESTAMP '{day} 00:00:00' + INTERVAL {minutes} MINUTES"
            yield from (f"({ts}) AT TIME ZONE '{zone}'" for zone in ZONES[1:6])


def makers():
    fields = [
        "2020, 2, 30, 25, 61, 61.5", "-43, 1, 1, 0, 0, 0", "0, 1, 1, 0, 0, 0", "2020, 13, 1, 0, 0, 0", "2020, 0, 0, 0, 0, 0",
        "2021, 3, 14, 2, 30, 0", "2021, 11, 7, 1, 30, 0.000001", "1969, 12, 31, 23, 59, 59.999999", "300000, 1, 1, 0, 0, 0",
        "2020, 1, 1, -1, -1, -1.5", "NULL, 1, 1, 0, 0, 0", "99999999999, 1, 1, 0, 0, 0",
    ]  # fmt: skip
    for values in fields:
        yield f"make_timestamptz({values})"
        yield from (f"make_timestamptz({values}, '{zone}')" for zone in ZONES[:6])
    yield from ["make_timestamptz(123456789)", "make_timestamptz(year(naive), month(naive), 1, 0, 0, 0)"]
    yield from ["make_timestamptz(2020, 1, 1, 0, 0, 0, zone)", "make_timestamptz(2020, 1, 1, 0, 0, 0, NULL)"]
    yield from ["to_timestamp(1.5)", "to_timestamp(-1.000001)", "to_timestamp(1e10)", "to_timestamp(NULL)"]


def casts():
    yield from [
        "ts::DATE",
        "ts::TIMESTAMP",
        "ts::TIMETZ",
        "ts::VARCHAR",
        "ts::TIMESTAMP_S",
        "ts::TIMESTAMP_MS",
    ]
    yield from ["naive::TIMESTAMPTZ", "day::TIMESTAMPTZ", "null_ts::DATE", "TRY_CAST(ts AS DATE)", "ts::TIME"]
    yield from (
        f"{stamp(ts)}::{kind}" for ts in FAR + INFINITE for kind in ["DATE", "TIMESTAMP", "TIMETZ", "VARCHAR"]
    )
    yield from [
        "ts::VARCHAR::TIMESTAMPTZ = ts",
        "ts = ts::TIMESTAMP",
        "ts > DATE '2000-01-01'",
        "day < ts",
        "naive <= ts",
    ]
    tails = [
        "",
        "Z",
        "+00",
        "+02",
        "-03:30",
        "+05:53:28",
        " +01",
        "+5",
        " UTC",
        " utc",
        " Zulu",
        " nowhere",
        " +",
        "+99",
        "x",
    ]
    tails += [f" {zone}" for zone in ZONES] + [
        " Europe/Berlin ",
        " EST",
        " BST",
        "+02 UTC",
        " GMT+3",
        "+01:",
        "+1:2",
    ]
    for text in [
        "2021-03-14 02:30:00",
        "2020-01-01T12:00:00.123456",
        "1850-06-15 12:00",
        "0044-03-15 (BC) 12:00:00",
    ]:
        yield from (f"CAST('{text}{tail}' AS TIMESTAMPTZ)" for tail in tails)
        yield from (f"TRY_CAST('{text}{tail}' AS TIMESTAMPTZ)" for tail in tails)
    odd = [
        "2020-01-01",
        "2020-1-1",
        "2020-01-01 ",
        " 2020-01-01 10:00",
        "infinity",
        "-infinity",
        "epoch",
        "",
        "x",
        "2020-13-01",
    ]
    odd += [
        "2020-01-01 24:00:00",
        "2020-01-01 25:00:00",
        "2020-01-01 10",
        "2020-01-01 UTC",
        "2020-01-01 1:2:3+1",
        "294247-01-11",
    ]
    odd += [
        "294247-01-10 04:00:54.775806-01",
        "2020-01-01 10:00:00.1234567+00",
        "2020/01/01 10:00+01",
        "20200101",
        "10:00",
    ]
    yield from (f"{cast}('{text}' AS TIMESTAMPTZ)" for text in odd for cast in ["CAST", "TRY_CAST"])
    yield from [
        "CAST(text AS TIMESTAMPTZ)",
        "TRY_CAST(bad_text AS TIMESTAMPTZ)",
        "CAST(bad_text AS TIMESTAMPTZ)",
    ]


def series():
    bounds = [
        ("2020-01-01", "2020-01-05"),
        ("2020-01-05", "2020-01-01"),
        ("2020-01-30", "2020-06-30"),
        ("2020-01-01", "infinity"),
    ]
    steps = ["1 day", "-1 day", "1 month", "0 days", "1 month -1 day", "36 hours", "-7 hours"]
    for name in ["range", "generate_series"]:
        for low, high in bounds:
            for step in steps:
                arguments = f"{stamp(low)}, {stamp(high)}, INTERVAL '{step}'"
                yield f"{name}({arguments})"
                yield f"(SELECT list({name}) FROM {name}({arguments}))"
        yield f"{name}(ts, ts + INTERVAL '3 days', INTERVAL '1 day')"
        yield f"{name}(null_ts, ts, INTERVAL '1 day')"
        yield f"(SELECT count(*) FROM {name}(TIMESTAMPTZ '2020-01-01', TIMESTAMPTZ '2021-01-01', INTERVAL '1 hour'))"
        yield f"(SELECT count(*) FROM {name}(NULL::TIMESTAMPTZ, TIMESTAMPTZ '2021-01-01', INTERVAL '1 hour'))"
        yield f"(SELECT sum({name}) FROM {name}(10))"
        yield f"(SELECT max({name}) FROM {name}(DATE '2020-01-01', DATE '2020-03-01', INTERVAL '1 day'))"
        yield f"{name}(TIMESTAMP '2020-01-01', TIMESTAMP '2020-01-03', INTERVAL '1 day')"
        yield f"{name}(5)"


def formats():
    yield from (
        f"strftime(ts, '{form}')"
        for form in ["%Y-%m-%d %H:%M:%S.%f", "%c", "%A %B %j %U %W %w", "%y %I %p %g", "%z", "%Z"]
    )
    yield from [
        "strftime('%Y-%m-%d', ts)",
        "strftime(TIMESTAMPTZ 'infinity', '%Y')",
        "strftime(null_ts, '%Y')",
        "strftime(ts, NULL)",
    ]
    yield from [
        "strptime('2020-01-01 10:00 +0230', '%Y-%m-%d %H:%M %z')",
        "strptime('2020-01-01', '%Y-%m-%d')",
    ]
    yield from [
        "min(ts)",
        "max(ts)",
        "approx_count_distinct(ts) > 0",
        "list(ts ORDER BY ts)",
        "arg_max(day, ts)",
    ]


def now():
    yield from (
        f"typeof({name})"
        for name in ["now()", "current_date", "today()", "current_localtimestamp()", "localtimestamp"]
    )
    yield from [
        "typeof(localtime)",
        "typeof(current_localtime())",
        "current_date = now()::DATE",
        "today() = current_date",
    ]
    yield from [
        "current_localtimestamp() - now()::TIMESTAMP < INTERVAL '1 minute'",
        "localtimestamp::DATE = today()",
    ]
    yield from [
        "current_date - INTERVAL 1 DAY < now()",
        "date_trunc('day', now()) = today()",
        "current_setting('TimeZone')",
    ]


def others():
    """Calls that have nothing to do with time zones: an overload must not change what they bind to."""
    for expression in [
        "DATE '2020-02-29'",
        "TIMESTAMP '2020-02-29 10:11:12.5'",
        "'2020-02-29'",
        "NULL",
        "day",
        "naive",
        "?",
    ]:
        yield from (
            f"date_trunc('month', {expression})",
            f"date_part('year', {expression})",
            f"extract(day FROM {expression})",
        )
        yield from (
            f"year({expression})",
            f"epoch({expression})",
            f"last_day({expression})",
            f"dayname({expression})",
        )
        yield from (f"age({expression})", f"strftime({expression}, '%Y')", f"{expression} - INTERVAL 1 DAY")
        yield from (
            f"{expression} + INTERVAL 1 DAY",
            f"{expression} - NULL",
            f"{expression} + NULL",
            f"NULL - {expression}",
        )
        yield from (
            f"{expression} - {expression}",
            f"time_bucket(INTERVAL '1 day', {expression})",
            f"timezone({expression})",
        )
        yield from (
            f"date_diff('day', {expression}, {expression})",
            f"date_sub('day', {expression}, DATE '2021-01-01')",
        )
        yield from (
            f"timezone('UTC', {expression})",
            f"{expression} AT TIME ZONE 'UTC'",
            f"range({expression})",
        )
    yield from [
        "'2020-01-01'::DATE - INTERVAL 1 DAY",
        "DATE '2020-01-01' - 1",
        "DATE '2020-01-01' + 1",
        "5 - 3",
        "5 - NULL",
    ]
    yield from [
        "NULL - NULL",
        "NULL + NULL",
        "- NULL",
        "1 - 0.5",
        "[1] || [2]",
        "INTERVAL 1 DAY + INTERVAL 1 DAY",
        "3 + '4'",
    ]
    yield from [
        "ts - NULL",
        "NULL - ts",
        "ts + NULL",
        "date_trunc('day', ts) - NULL",
        "TIME '10:00' - INTERVAL 1 HOUR",
    ]
    yield from [
        "timezone(TIMESTAMP '2020-01-01')",
        "timezone_hour(TIMETZ '10:00:00+02')",
        "hour(TIME '10:00')",
        "hour(TIMETZ '10:00:00+02')",
    ]
    yield from [
        "date_part('hour', TIMETZ '10:00:00+02')",
        "date_part('month', INTERVAL '14 months')",
        "year(INTERVAL '14 months')",
    ]
    yield from [
        "DATE '2020-01-01' + TIME '10:00'",
        "DATE '2020-01-01' + TIMETZ '10:00:00+02'",
        "date_part(['year'], day)",
    ]


GROUPS = [
    extraction,
    truncation,
    sums,
    differences,
    buckets,
    zones,
    makers,
    casts,
    series,
    formats,
    now,
    others,
]


def values(rows: list[tuple]) -> str:
    quoted = [", ".join("NULL" if value is None else f"'{value}'" for value in row) for row in rows]
    return ", ".join(f"({row})" for row in quoted)


def table() -> str:
    """The columns the cases are about: a row for each timestamp, with nulls in each column."""
    rows = []
    for index, text in enumerate(STAMPS + [None]):
        other = STAMPS[(index * 7 + 3) % len(STAMPS)]
        zone = ZONES[index % len(ZONES)] if index % 5 else None
        part = UNITS[index % len(UNITS)] if index % 6 else None
        step = INTERVALS[index % len(INTERVALS)] if index % 7 else None
        bad = text if index % 3 else "neither"
        rows.append((index, text, other, zone, part, step, text, bad))
    return (
        "SELECT id::INTEGER AS id, ts::TIMESTAMPTZ AS ts, other::TIMESTAMPTZ AS other, ts::TIMESTAMPTZ::TIMESTAMP AS naive, "
        "ts::TIMESTAMPTZ::TIMESTAMP::DATE AS day, NULL::TIMESTAMPTZ AS null_ts, zone::VARCHAR AS zone, part::VARCHAR AS part, "
        "step::INTERVAL AS step, text::VARCHAR AS text, bad::VARCHAR AS bad_text FROM "
        f"(VALUES {values(rows)}) v(id, ts, other, zone, part, step, text, bad)"
    )


def statement(expression: str) -> str:
    expression, _, where = expression.partition(" WHERE ")
    if expression.startswith(("min(", "max(", "approx", "list(", "arg_max")):
        return f"SELECT ({expression})::VARCHAR FROM cases"
    condition = f"WHERE {where}" if where else ""
    return f"SELECT typeof({expression}), ({expression})::VARCHAR FROM cases {condition} ORDER BY id"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("timezones"))
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def connection(server):
    with server.connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE cases AS {table()}")
        yield connection


@pytest.fixture(scope="module")
def oracle():
    oracle = duckdb.connect()
    oracle.execute("SET TimeZone = 'UTC'")
    oracle.execute(f"CREATE TABLE cases AS {table()}")
    return oracle


def answer(run) -> list[tuple] | str:
    try:
        return run()
    except Exception as error:
        return f"refused: {str(error).splitlines()[0]}"


def compare(connection, oracle, expressions) -> list[str]:
    """What differs. Refusals are equal to each other, whatever they say."""
    wrong = []
    for expression in expressions:
        sql = statement(expression)
        with connection.cursor() as cursor:
            found = answer(lambda: cursor.execute(sql).fetchall())
        expected = answer(lambda: oracle.execute(sql).fetchall())
        if isinstance(found, str) and isinstance(expected, str):
            continue
        if found != expected:
            where = [index for index, pair in enumerate(zip(found, expected)) if pair[0] != pair[1]][:3]
            both = isinstance(found, list) and isinstance(expected, list)
            shown = (
                [(expected[row], found[row]) for row in where]
                if both
                else (str(expected)[:200], str(found)[:200])
            )
            wrong.append(f"{expression}\n    {shown}")
    return wrong


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_results_equal_those_with_icu(group, connection, oracle):
    expressions = [expression for expression in group() if expression not in NOT_HAD]
    assert len(expressions) > 10
    wrong = compare(connection, oracle, expressions)
    assert not wrong, f"{len(wrong)} of {len(expressions)}:\n" + "\n".join(wrong)


def test_zones_change_their_clocks_when_icu_says(connection, oracle):
    """All zones both sides know, twice a month from 1975 to 2023: the two editions of the database differ later."""
    names = [name for (name,) in oracle.execute("SELECT name FROM pg_timezone_names() ORDER BY 1").fetchall()]
    known, unknown = [], []
    for name in names:
        with connection.cursor() as cursor:
            found = answer(
                lambda: cursor.execute(f"SELECT timezone('{name}', TIMESTAMPTZ '2020-01-01')").fetchall()
            )
        (unknown if isinstance(found, str) else known).append(name)
    assert all(name.startswith("SystemV/") for name in unknown), unknown
    sql = (
        "SELECT name, sum(hash(timezone(name, ts)) % 1000000007)::VARCHAR FROM "
        f"(SELECT unnest({known}) AS name), "
        "(SELECT (TIMESTAMP '1975-01-01' + INTERVAL (i * 15 + 0.5) DAYS)::TIMESTAMPTZ AS ts FROM range(1190) r(i)) GROUP BY name"
    )
    with connection.cursor() as cursor:
        found = dict(cursor.execute(sql).fetchall())
    expected = dict(oracle.execute(sql).fetchall())
    different = {name for name in known if found[name] != expected[name]}
    assert different <= DATABASE_DIFFERS, sorted(different - DATABASE_DIFFERS)


def test_rows_that_came_in_over_flight(server, connection, oracle):
    """More rows than a vector, and as the timestamps producers send."""
    count = 10_000
    base = pa.array([None if i % 11 == 0 else i * 9_999_999_999 - 10**15 for i in range(count)], pa.int64())
    table = pa.table(
        {
            "id": range(count),
            "at_": base.cast(pa.timestamp("us", "UTC")),
            "ns": base.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("ns", "UTC")),
        }
    )
    put(server.client(), "sent", table)
    oracle.register("sent", table)
    sql = (
        "SELECT id, date_trunc('week', at_)::VARCHAR, (at_ + INTERVAL 1 MONTH)::VARCHAR, date_part('doy', at_), "
        "(at_ AT TIME ZONE 'Europe/Berlin')::VARCHAR, (at_ - TIMESTAMPTZ '2000-01-01')::VARCHAR, at_::DATE::VARCHAR, "
        "time_bucket(INTERVAL 7 DAYS, at_)::VARCHAR, timezone('Asia/Kathmandu', ns)::VARCHAR, range(at_, at_ + INTERVAL 2 DAYS, INTERVAL 1 DAY)::VARCHAR "
        "FROM sent ORDER BY id"
    )
    found = query(server.client(), sql).to_pylist()
    assert found == oracle.sql(sql).to_arrow_table().to_pylist()
    result = query(server.client(), "SELECT date_trunc('day', at_) AS day FROM sent LIMIT 1")
    assert result.schema.field("day").type == pa.timestamp("us", "UTC")
    filtered = "SELECT count(*) FROM sent WHERE at_ >= TIMESTAMPTZ '2001-01-01' - INTERVAL 1 YEAR AND date_trunc('month', at_) = DATE '2000-05-01'"
    assert query(server.client(), filtered).to_pydict() == oracle.sql(filtered).to_arrow_table().to_pydict()


def test_times_as_pandas_makes_them(server, connection):
    """Nanoseconds with a zone are the unit that pandas and Parquet have by default, and rarely any are used."""
    frame = pd.DataFrame({"ts": pd.to_datetime(["2024-02-29 12:00:00.123456", None, "1969-12-31 23:59:59.000000"], utc=True)})
    frame["ts"] = frame["ts"].astype("datetime64[ns, UTC]")
    with connection.cursor() as cursor:
        cursor.adbc_ingest("whole", pa.Table.from_pandas(frame))
        finer = pd.DataFrame({"ts": pd.to_datetime(["2024-02-29 12:00:00.123456789"], utc=True).astype("datetime64[ns, UTC]")})
        cursor.adbc_ingest("finer", pa.Table.from_pandas(finer))
        with pytest.raises(Exception, match="row 1 .*ts.* TIMESTAMP WITH TIME ZONE"):
            cursor.adbc_ingest("whole", pa.Table.from_pandas(finer), mode="append")
        cursor.adbc_ingest("whole", pa.Table.from_pandas(frame), mode="append")
        cursor.adbc_ingest("finer", pa.Table.from_pandas(frame), mode="append")
    for table, kind in [("whole", "TIMESTAMP WITH TIME ZONE"), ("finer", "TIMESTAMPTZ_NS")]:
        for sql, expected in [
            (f"SELECT DISTINCT typeof(ts) AS x FROM {table}", kind),
            (f"SELECT max(date_trunc('month', ts))::VARCHAR AS x FROM {table}", "2024-02-01 00:00:00+00"),
            (f"SELECT count(*) AS x FROM {table} WHERE ts < now() - INTERVAL 1 DAY", 4 if table == "whole" else 3),
            (f"SELECT min(ts + INTERVAL 1 SECOND)::VARCHAR AS x FROM {table}", "1970-01-01 00:00:00+00"),
            (f"SELECT max(extract(second FROM ts)) AS x FROM {table}", 59),
        ]:
            assert query(server.client(), sql)["x"].to_pylist() == [expected], sql
    found = query(server.client(), "SELECT ts FROM finer ORDER BY ts DESC NULLS LAST LIMIT 1")["ts"].cast(pa.int64())
    assert found.to_pylist() == [1709208000123456789]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["checkpointed", "from the log"])
def test_objects_that_use_them_survive_a_restart(tmp_path, how):
    server = Server(tmp_path)
    statements = [
        "CREATE TABLE t (ts TIMESTAMPTZ DEFAULT '2020-01-01 00:00:00 Europe/Berlin', day DATE DEFAULT current_date)",
        "INSERT INTO t (ts) VALUES ('2024-02-29 12:00:00+00'), (DEFAULT)",
        "CREATE VIEW v AS SELECT date_trunc('month', ts) AS month, ts - INTERVAL 1 DAY AS before, extract(year FROM ts) AS y, "
        "ts AT TIME ZONE 'Europe/Berlin' AS local, ts::DATE AS d, date_part(['year', 'epoch'], ts) AS s FROM t ORDER BY ts",
        "CREATE MACRO since(x) AS age(TIMESTAMPTZ '2025-01-01', x)",
        "CREATE TABLE g (ts TIMESTAMPTZ, y BIGINT GENERATED ALWAYS AS (year(ts)))",
        "INSERT INTO g VALUES ('2024-02-29 12:00:00+00')",
        "CREATE INDEX plain ON t (ts)",
        "CREATE TABLE c (ts TIMESTAMPTZ CHECK (date_part('hour', ts) < 13))",
        "INSERT INTO c VALUES ('2024-02-29 12:00:00+00')",
        "INSERT INTO t (ts) VALUES ('2024-03-01 12:00:00 America/New_York')",
    ]
    sql = "SELECT v.*, since(month), (SELECT y FROM g) FROM v"
    with server.connect() as connection, connection.cursor() as cursor:
        for text in statements:
            cursor.execute(text)
        before = cursor.execute(sql).fetchall()
    assert len(before) == 3
    server.stop(how)
    server = Server(tmp_path)
    with server.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute(sql).fetchall() == before
        cursor.execute("INSERT INTO t (ts) VALUES (now())")
        found = cursor.execute(
            "SELECT count(*) FROM t WHERE date_trunc('day', ts) = TIMESTAMPTZ '2024-02-29'"
        )
        assert found.fetchone() == (1,)
        with pytest.raises(Exception, match="CHECK"):
            cursor.execute("INSERT INTO c VALUES ('2024-02-29 13:00:00+00')")
        assert cursor.execute("SELECT count(*) FROM t WHERE day = today()").fetchone() == (4,)
    assert server.stop() == 0


def test_an_index_on_them_is_refused(server):
    """The engine cannot evaluate the keys of such an index when it deletes rows; see engine::timezone::vector."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE keyed (ts TIMESTAMPTZ, naive TIMESTAMP)")
        for key in ["date_trunc('day', ts)", "ts + INTERVAL 1 DAY", "year(ts)", "date_part('hour', ts)"]:
            with pytest.raises(Exception, match="side effects"):
                cursor.execute(f"CREATE INDEX refused ON keyed (({key}))")
        cursor.execute("CREATE INDEX taken ON keyed ((date_trunc('day', naive)))")
        cursor.execute("INSERT INTO keyed VALUES ('2024-02-29', '2024-02-29')")
        cursor.execute("DELETE FROM keyed")


def test_an_extension_that_cannot_be_loaded_is_named(tmp_path):
    missing = tmp_path / "none" / "icu.duckdb_extension"
    broken = tmp_path / "icu.duckdb_extension"
    broken.write_bytes(b"not an extension" * 100)
    for path, why in [(missing, "there is no such file"), (broken, "extension")]:
        done = run("serve", cwd=tmp_path, check=False, env={"PINTAIL_DATABASE__ICU_EXTENSION": str(path)})
        assert done.returncode != 0
        assert (
            "database.icu_extension" in done.stderr and str(path) in done.stderr and why in done.stderr
        ), done.stderr


def test_what_cannot_be_had_is_still_what_is_written_here(connection, oracle):
    for expression in NOT_HAD:
        assert compare(
            connection, oracle, [expression]
        ), f"{expression} now equals ICU's; take it off the list"


# What an overload cannot reach or ICU does in a way nobody can mean, each with its reason.
NOT_HAD = {
    "TIMESTAMPTZ 'infinity'::TIMETZ": "cast by the engine, which refuses infinity; the extension gives NULL",
    "TIMESTAMPTZ '-infinity'::TIMETZ": "the same",
    "strftime(ts, '%Z')": "formatted by the engine, which leaves the zone's name out; write UTC into the format",
    "strptime('2020-01-01 Europe/Berlin', '%Y-%m-%d %Z')": "bound by the engine as TIMESTAMP; add AT TIME ZONE",
    "date_trunc('era', ts)": "the extension fails here with an internal error of its own",
    "time_bucket(INTERVAL '0 days', TIMESTAMPTZ 'infinity')": "a width of 0 is refused; the extension looks at infinity first",
    "naive AT TIME ZONE 'UTC-03:30'": "the extension drops the minutes behind UTC, not those behind GMT",
    "naive AT TIME ZONE 'EST5EDT'": "a link to America/New_York since IANA 2024b; the extension's data is older",
    "TIMESTAMP '2038-06-01' AT TIME ZONE 'Africa/Casablanca'": "the extension's data ends with 2037 where there is no rule",
}

# Zones whose rules changed between the two editions of the IANA database.
DATABASE_DIFFERS = {"America/Ensenada", "America/Santa_Isabel", "America/Tijuana", "Mexico/BajaNorte"}
