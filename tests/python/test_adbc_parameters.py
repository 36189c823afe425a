"""Statements with parameters against DuckDB's own client: the same values bound, the same rows back.

ADBC refuses a result whose schema is not the one of FlightInfo, so every case also shows that what was announced is
what came. Raw Flight SQL is held to the same by comparing the two schemas.
"""

import datetime as dt
import decimal

import duckdb
import pyarrow as pa
import pytest
from conftest import rows
from flight_sql import act_sql, prepare, read, update

TABLE = [
    "CREATE TABLE wells (a INTEGER, si SMALLINT, bi BIGINT, t VARCHAR, d DATE, ts TIMESTAMP, tm TIME, u UUID, "
    "x DOUBLE, de DECIMAL(9,2), l INTEGER[], s STRUCT(a INTEGER, b VARCHAR), e ENUM('p', 'q'), bl BOOLEAN, "
    "iv INTERVAL, tz TIMESTAMPTZ)",
    "INSERT INTO wells VALUES (1, 1, 1, 'x', '2024-01-01', '2024-01-01 10:00', '10:00', "
    "'00000000-0000-0000-0000-000000000001', 1.5, 2.25, [1, 2], {'a': 1, 'b': 'k'}, 'p', true, INTERVAL 1 DAY, "
    "'2024-01-01 10:00:00+00'), (NULL, 2, 2, 'y', '2025-02-02', '2025-02-02 11:30', '11:30', "
    "'00000000-0000-0000-0000-000000000002', 2.5, 3.75, [3], {'a': 2, 'b': 'm'}, 'q', false, INTERVAL 2 HOUR, "
    "'2025-02-02 11:30:00+00')",
]
DAY, MOMENT = dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 10)

CASES = [
    # A text is taken for what it stands beside.
    ("SELECT bi FROM wells WHERE d = ?", ("2024-01-01",)),
    ("SELECT bi FROM wells WHERE d > ?", ("2024-05-01",)),
    ("SELECT bi FROM wells WHERE d <> ?", ("2024-01-01",)),
    ("SELECT bi FROM wells WHERE ? < ts", ("2024-01-01",)),
    ("SELECT bi FROM wells WHERE ts > ?", ("2024-01-01 10:00:00",)),
    ("SELECT bi FROM wells WHERE ts >= ?", (MOMENT,)),
    ("SELECT bi FROM wells WHERE ts > ?", (DAY,)),
    ("SELECT bi FROM wells WHERE tz > ?", ("2024-06-01 00:00:00+02",)),
    ("SELECT bi FROM wells WHERE d BETWEEN ? AND ?", ("2023-01-01", "2024-12-31")),
    ("SELECT bi FROM wells WHERE ts BETWEEN ? AND ?", (DAY, dt.date(2024, 12, 31))),
    ("SELECT bi FROM wells WHERE tm < ?", ("11:00",)),
    ("SELECT bi FROM wells WHERE tm < ?", (dt.time(11),)),
    ("SELECT bi FROM wells WHERE u = ?", ("00000000-0000-0000-0000-000000000001",)),
    ("SELECT bi FROM wells WHERE u IN (?, ?)", ("00000000-0000-0000-0000-000000000001",) * 2),
    ("SELECT bi FROM wells WHERE d IN (?, ?)", ("2024-01-01", "2025-02-02")),
    ("SELECT bi FROM wells WHERE e = ?", ("p",)),
    ("SELECT bi FROM wells WHERE e IN (?)", ("q",)),
    ("SELECT bi FROM wells WHERE iv = ?", ("1 day",)),
    ("SELECT bi FROM wells WHERE bl = ?", ("true",)),
    ("SELECT bi FROM wells WHERE a = ?", ("1",)),
    ("SELECT bi FROM wells WHERE x > ?", ("1.75",)),
    ("SELECT bi FROM wells WHERE de = ?", ("2.25",)),
    ("SELECT coalesce(d, ?) FROM wells", ("2024-05-05",)),
    ("SELECT coalesce(ts, ?) FROM wells", ("2024-05-05",)),
    ("SELECT coalesce(a, ?) FROM wells", ("7",)),
    ("SELECT greatest(d, ?) FROM wells", ("2024-05-05",)),
    ("SELECT age(ts, ?)::VARCHAR FROM wells", ("2020-01-01",)),
    ("SELECT ?::DATE - d FROM wells", ("2024-01-05",)),
    ("SELECT CASE WHEN bl THEN d ELSE ? END FROM wells", ("2000-01-01",)),
    ("SELECT if(bl, ts, ?) FROM wells", ("2000-01-01",)),
    ("SELECT nullif(d, ?) FROM wells", ("2024-01-01",)),
    # Numbers are as wide as they must be.
    ("SELECT a + ? FROM wells", (1,)),
    ("SELECT si + ? FROM wells", (1,)),
    ("SELECT si + ? FROM wells", (100_000,)),
    ("SELECT a + ? FROM wells", (2**40,)),
    ("SELECT bi * ? FROM wells", (1.5,)),
    ("SELECT de + ? FROM wells", (1,)),
    ("SELECT de + ? FROM wells", (decimal.Decimal("1.5"),)),
    ("SELECT coalesce(a, ?) FROM wells", (5,)),
    ("SELECT CASE WHEN ? THEN a ELSE ? END FROM wells", (True, 9)),
    ("SELECT -?", (5,)),
    ("SELECT [?, ?]", (1, 2.5)),
    # Nested values and their parts.
    ("SELECT ?.a", ({"a": 1},)),
    ("SELECT (?).a", ({"a": 1},)),
    ("SELECT (?).a + 1", ({"a": 1},)),
    ("SELECT ?[1].a", ([{"a": 5}],)),
    ("SELECT ?['a']", ({"a": 1},)),
    ("SELECT struct_extract(?, 'a')", ({"a": 1},)),
    ("SELECT ?[1], len(?)", ([7, 8], ["a"])),
    ("SELECT unnest(?)", ([1, 2],)),
    ("SELECT * FROM unnest(?)", ([1, 2],)),
    ("SELECT list_transform(?, lambda x: x + 1)", ([1, 2],)),
    ("SELECT list_contains(l, ?) FROM wells", (1,)),
    ("SELECT bi IN ? FROM wells", ([1, 3],)),
    ("SELECT bi = ANY(?) FROM wells", ([1, 3],)),
    ("SELECT {'k': ?}", (DAY,)),
    ("SELECT bi FROM wells WHERE s = ?", ({"a": 1, "b": "k"},)),
    ("SELECT bi FROM wells WHERE s.b = ?", ("k",)),
    ("SELECT bi FROM wells WHERE (bi, t) = (?, ?)", (1, "x")),
    # Places where the engine has to know the value.
    ("SELECT quantile_cont(x, ?) FROM wells", (0.5,)),
    ("SELECT quantile_cont(x, ?) FROM wells", ([0.25, 0.5],)),
    ("SELECT quantile_disc(bi, ?) FROM wells", (0.5,)),
    ("SELECT bi FROM wells ORDER BY bi LIMIT ?", (1,)),
    ("SELECT bi FROM wells ORDER BY bi LIMIT ? OFFSET ?", (1, 1)),
    ("SELECT ts + INTERVAL (?) DAY FROM wells", (3,)),
    ("SELECT ts + ?::INTERVAL FROM wells", ("1 day",)),
    ("SELECT ts - ? FROM wells", (dt.timedelta(days=1),)),
    ("SELECT time_bucket(?, ts) FROM wells", (dt.timedelta(days=1),)),
    ("SELECT date_trunc(?, ts) FROM wells", ("month",)),
    ("SELECT date_part(?, ts) FROM wells", ("year",)),
    ("SELECT date_part(?, ts) FROM wells", ("epoch",)),
    ("SELECT strftime(ts, ?) FROM wells", ("%Y",)),
    ("SELECT string_agg(t, ? ORDER BY bi) FROM wells", (",",)),
    ("SELECT lag(bi, ?) OVER (ORDER BY bi) FROM wells", (1,)),
    ("SELECT ntile(?) OVER (ORDER BY bi) FROM wells", (2,)),
    ("SELECT min(bi, ?) FROM wells", (1,)),
    ("SELECT round(x, ?) FROM wells", (0,)),
    ("SELECT sum(bi) FILTER (WHERE bi > ?)::BIGINT FROM wells", (1,)),
    ("SELECT * FROM range(?)", (3,)),
    ("SELECT * FROM generate_series(?, ?)", (1, 3)),
    # And the rest.
    ("SELECT ?", (None,)),
    ("SELECT ? IS NULL", (None,)),
    ("SELECT bi FROM wells WHERE a = ?", (None,)),
    ("SELECT coalesce(?, ?)", (None, 2.5)),
    ("SELECT ? + 1, ?", (1, "x")),
    ("SELECT bi FROM wells WHERE t LIKE ?", ("%x%",)),
    ("SELECT t || ? FROM wells", ("y",)),
    ("SELECT t || ? FROM wells", (5,)),
    ("SELECT substring(t, ?, ?) FROM wells", (1, 1)),
    ("SELECT chr(?), round(x, ?) AS r FROM wells", (65, 1)),
    ("SELECT try_cast(? AS INTEGER)", ("five",)),
    ("SELECT make_date(?, 1, 1)", (2024,)),
    ("SELECT map([?], [?])['a']", ("a", 1)),
    ("SELECT bi FROM wells UNION ALL SELECT ? ORDER BY 1", (7,)),
    ("WITH q AS (SELECT ? AS v) SELECT v + 1 FROM q", (4,)),
    ("VALUES (?, ?)", (1, "a")),
    ("FROM wells SELECT bi WHERE a = ?", (1,)),
    ("SELECT (SELECT ?)", (1,)),
    ("SELECT exists(SELECT 1 FROM wells WHERE a = ?)", (1,)),
    ("SELECT NOT ?, ? AND bl FROM wells", (True, True)),
    ("SELECT ? AS \"n?\", '?' -- ?", (1,)),
]


@pytest.fixture
def own():
    with duckdb.connect() as own:
        own.execute("SET TimeZone = 'UTC'")
        for sql in TABLE:
            own.execute(sql)
        yield own


@pytest.fixture
def filled(connection):
    for sql in TABLE:
        rows(connection, sql)
    return connection


def test_bound_values_mean_what_they_mean_to_the_engine_s_own_client(filled, own):
    problems = []
    for sql, values in CASES:
        expected = own.execute(sql, list(values)).fetchall()
        try:
            found = rows(filled, sql, values)
        except Exception as error:
            problems.append(f"{sql} {values}: {type(error).__name__} {error}")
            continue
        if repr(found) != repr(expected):
            problems.append(f"{sql} {values}: {found} instead of {expected}")
    assert not problems, "\n".join(problems)


def test_the_schema_of_flight_info_is_that_of_the_stream(server, filled, own):
    client = server.client()
    for sql, values in CASES:
        handle = (1, prepare(client, sql)["handle"])
        names = [str(number) for number in range(len(values))]
        parameters = pa.table([pa.array([value]) for value in values], names)
        update(client, "CommandPreparedStatementQuery", handle, parameters=parameters)
        # Compares the two schemas.
        found = read(client, "CommandPreparedStatementQuery", handle)
        assert found.num_rows == len(own.execute(sql, list(values)).fetchall()), sql
        act_sql(client, "ClosePreparedStatement", handle)


def test_several_rows_and_series_of_timestamps_with_a_zone(filled):
    with filled.cursor() as cursor:
        cursor.execute("SELECT 1::INTEGER + ? AS n", pa.table({"0": [1, 2**40]}))
        assert cursor.fetchall() == [(2,), (2**40 + 1,)]
        cursor.execute("SELECT round(1.55::DOUBLE, ?) AS n", pa.table({"0": [0, 1]}))
        assert cursor.fetchall() == [(2.0,), (1.6,)]
        cursor.execute("SELECT d = ? AS n FROM wells ORDER BY d", pa.table({"0": ["2024-01-01", "2025-02-02"]}))
        assert cursor.fetchall() == [(True,), (False,), (False,), (True,)]
    start = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    for argument in ["?", "?::TIMESTAMPTZ"]:
        sql = f"SELECT * FROM range({argument}, TIMESTAMPTZ '2024-01-03', INTERVAL 1 DAY)"
        assert rows(filled, sql, (start,)) == [(start,), (start + dt.timedelta(days=1),)]


def test_a_value_that_does_not_fit_is_refused_and_named(filled):
    for sql, value, part in [
        ("SELECT bi FROM wells WHERE d = ?", "yesterday", "yesterday"),
        ("SELECT bi FROM wells WHERE u = ?", "no uuid", "no uuid"),
        ("SELECT nope + ? FROM wells", 1, "nope"),
        ("SELECT (?).b", {"a": 1}, '"b"'),
    ]:
        with pytest.raises(Exception, match=part):
            rows(filled, sql, (value,))
    assert rows(filled, "SELECT count(*) FROM wells") == [(2,)]


UPSERTS = [
    ("INSERT INTO t (k, n) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET n = excluded.n", [(k % 4, k) for k in range(40)]),
    ("INSERT OR REPLACE INTO t (k, n) VALUES (?, ?)", [(k % 4, k) for k in range(40)]),
    ("INSERT INTO t (k, n) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET n = t.n + 1", [(k % 4, 1) for k in range(40)]),
    ("INSERT OR IGNORE INTO t (k, n) VALUES (?, ?)", [(k, k) for k in range(40)]),
    ("INSERT INTO t (k, n) VALUES (?, ?) ON CONFLICT DO NOTHING", [(k, k) for k in range(40)]),
    ("INSERT INTO t (n, k) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET n = t.n * 2 + 1", [(1, k % 30) for k in range(99)]),
    ("INSERT INTO t (k, n) VALUES (CAST(? AS INTEGER), ?) ON CONFLICT (k) DO NOTHING", [(k % 7, k) for k in range(40)]),
    ("INSERT INTO t (k, n) VALUES (?, ?) ON CONFLICT (k) DO NOTHING", [(k % 7 + 0.25, k) for k in range(40)]),
    ("INSERT INTO t (k, n) VALUES ((SELECT coalesce(max(k), 0) + ? FROM t), ?)", [(1, k) for k in range(40)]),
    ("INSERT INTO t (k, n) VALUES (following() + ?, ?)", [(0, k) for k in range(40)]),
]


@pytest.mark.parametrize(("sql", "values"), UPSERTS, ids=[sql for sql, _ in UPSERTS])
def test_many_bound_rows_are_many_statements(server, sql, values):
    """A row sees what the rows before it did, however many are bound at once, and none is left out beside a NULL."""
    # REPLACE takes no table with two keys.
    other = "VARCHAR" if "REPLACE" in sql else "VARCHAR UNIQUE"
    definitions = [
        f"CREATE TABLE t (k INTEGER PRIMARY KEY, n INTEGER, other {other})",
        "CREATE MACRO following() AS (SELECT coalesce(max(k), 0) + 1 FROM t)",
    ]
    with duckdb.connect() as own:
        for definition in definitions:
            own.execute(definition)
        for value in values:
            own.execute(sql, value)
        expected = own.execute("SELECT k, n FROM t ORDER BY ALL").fetchall()
    with server.connect() as connection, connection.cursor() as cursor:
        for definition in definitions:
            cursor.execute(definition)
        cursor.executemany(sql, values)
        cursor.execute("SELECT k, n FROM t ORDER BY ALL")
        assert cursor.fetchall() == expected
