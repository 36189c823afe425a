"""What an ADBC statement does: run once, bind, prepare, describe, script, cancel and fail clearly."""

import datetime
import decimal
import threading

import pyarrow as pa
import pytest
from adbc_driver_manager import AdbcStatusCode, NotSupportedError, OperationalError, ProgrammingError
from conftest import arrow, rows, wait_for

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
FETCH_TIMEOUT = "adbc.flight.sql.rpc.timeout_seconds.fetch"
UPDATE_TIMEOUT = "adbc.flight.sql.rpc.timeout_seconds.update"


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


def update(connection, sql: str) -> int:
    """Affected rows of a statement that is not prepared."""
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_sql_query(sql)
        return cursor.adbc_statement.execute_update()


def fetch(connection, sql: str) -> pa.Table:
    """The result of a statement that is not prepared."""
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_sql_query(sql)
        handle, _ = cursor.adbc_statement.execute_query()
        with pa.RecordBatchReader._import_from_c(handle.address) as reader:
            return reader.read_all()


def parameter_names(cursor, sql: str) -> list[str]:
    return cursor.adbc_prepare(sql).names


# Running


def test_execute_runs_definitions_changes_and_queries_exactly_once(connection, cursor):
    cursor.execute("CREATE SEQUENCE runs")
    cursor.execute("CREATE TABLE wells (id BIGINT, run BIGINT DEFAULT nextval('runs'))")
    cursor.execute("INSERT INTO wells (id) VALUES (1), (2), (3)")
    assert cursor.rowcount == 3
    cursor.fetchall()  # reading what a change returns does not run it again
    cursor.execute("UPDATE wells SET id = id + 10 WHERE id > 1")
    assert cursor.rowcount == 2
    cursor.execute("DELETE FROM wells WHERE id = 1")
    assert cursor.rowcount == 1
    cursor.execute("SELECT id, run FROM wells ORDER BY id")
    assert cursor.rowcount == -1
    assert [column[0] for column in cursor.description] == ["id", "run"]
    assert cursor.fetchall() == [(12, 2), (13, 3)]
    assert rows(connection, "SELECT nextval('runs')") == [(4,)]


def test_a_change_runs_without_being_fetched_and_in_order(connection, cursor):
    cursor.execute("CREATE TABLE wells (id INTEGER)")
    for number in range(20):
        cursor.execute(f"INSERT INTO wells VALUES ({number})")
    assert rows(connection, "SELECT list(id ORDER BY rowid) FROM wells") == [(list(range(20)),)]


def test_returning_gives_rows_and_runs_once(connection, cursor):
    cursor.execute("CREATE TABLE wells (id INTEGER)")
    cursor.execute("INSERT INTO wells VALUES (1), (2) RETURNING id * 10 AS ten")
    assert cursor.fetch_arrow_table().to_pydict() == {"ten": [10, 20]}
    assert rows(connection, "SELECT count(*) FROM wells") == [(2,)]


def test_affected_rows(connection):
    assert update(connection, "CREATE TABLE wells (id INTEGER)") == 0
    assert update(connection, "INSERT INTO wells VALUES (1)") == 1
    assert update(connection, "UPDATE wells SET id = id + 1 WHERE id = 1") == 1
    assert update(connection, "UPDATE wells SET id = 5 WHERE id = 1") == 0
    assert update(connection, "DELETE FROM wells WHERE id = 2") == 1
    assert update(connection, "DROP TABLE wells") == 0


def test_a_statement_that_is_not_prepared_runs_once_as_well(connection):
    fetch(connection, "CREATE TABLE wells (id INTEGER)")
    fetch(connection, "INSERT INTO wells VALUES (1), (2)")
    assert fetch(connection, "INSERT INTO wells VALUES (3) RETURNING id")["id"].to_pylist() == [3]
    assert fetch(connection, "SELECT id + 1 FROM wells ORDER BY ALL").columns[0].to_pylist() == [2, 3, 4]
    with pytest.raises(ProgrammingError, match="several"):
        fetch(connection, "DELETE FROM wells; SELECT 1")
    assert rows(connection, "SELECT count(*) FROM wells") == [(3,)]


def test_an_empty_result_has_its_columns(cursor):
    cursor.execute("SELECT 1 AS a, 'x' AS b WHERE false")
    assert [column[:2] for column in cursor.description] == [("a", pa.int32()), ("b", pa.string())]
    assert cursor.fetchall() == []


def test_text_beyond_ascii(connection, cursor):
    cursor.execute('CREATE TABLE "Größe 井" ("Tiefe 🚀" VARCHAR)')
    cursor.execute('INSERT INTO "Größe 井" VALUES (?)', ("Hallo, 世界 🚀",))
    found = rows(connection, "SELECT 'naïve' AS \"n°\", * FROM \"Größe 井\"")
    assert found == [("naïve", "Hallo, 世界 🚀")]


# Reading


def test_a_result_left_half_read_is_in_nobodys_way(connection, cursor):
    cursor.execute("SELECT range FROM range(5000000)")
    assert cursor.fetchmany(3) == [(0,), (1,), (2,)]
    cursor.execute("SELECT 42")
    assert cursor.fetchall() == [(42,)]
    cursor.execute("SELECT range FROM range(5000000)")
    with connection.cursor() as other:
        other.execute("SELECT range * 2 FROM range(5000000)")
        assert (cursor.fetchone(), other.fetchone()) == ((0,), (0,))
        rows(connection, "CREATE TABLE wells AS SELECT 1 AS id")
        assert (cursor.fetchone(), other.fetchone()) == ((1,), (2,))
    assert rows(connection, "FROM wells") == [(1,)]


def test_a_large_result_streams_whole(cursor):
    cursor.execute("SELECT range AS n, 'row ' || range AS s FROM range(1000000)")
    batches = list(cursor.fetch_record_batch())
    assert len(batches) > 1 and sum(batch.num_rows for batch in batches) == 1_000_000
    assert batches[-1]["n"][-1].as_py() == 999_999


def test_partitions_are_read_one_by_one(connection, cursor):
    partitions, schema = cursor.adbc_execute_partitions("SELECT range AS n FROM range(100000)")
    assert schema.names == ["n"]
    total = 0
    for partition in partitions:
        with connection.cursor() as reader:
            reader.adbc_read_partition(partition)
            total += reader.fetch_arrow_table().num_rows
    assert total == 100_000


def test_incremental_execution_hands_partitions_out_until_there_are_no_more(connection, cursor):
    cursor.adbc_statement.set_options(**{"adbc.statement.exec.incremental": "true"})
    sql, total = "SELECT range AS n FROM range(100000)", 0
    while True:
        partitions, _ = cursor.adbc_execute_partitions(sql)
        if not partitions:
            break
        for partition in partitions:
            with connection.cursor() as reader:
                reader.adbc_read_partition(partition)
                total += reader.fetch_arrow_table().num_rows
    assert total == 100_000


# Parameters


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        42,
        -(2**63),
        1.5,
        "Öl",
        "",
        b"\x00\xff",
        datetime.date(2020, 2, 29),
        datetime.time(23, 59, 59, 999999),
        datetime.datetime(2020, 2, 29, 12, 30, 0, 1),
        datetime.datetime(2020, 2, 29, 12, 30, tzinfo=datetime.timezone.utc),
        decimal.Decimal("123.45"),
        [1, None, 3],
        {"a": 1, "b": "x"},
    ],
    ids=repr,
)
def test_a_python_value_comes_back_as_it_was_bound(connection, value):
    ((found,),) = rows(connection, "SELECT ? AS x", (value,))
    assert found == value and type(found) is type(value)


def test_the_three_ways_to_write_a_parameter(connection):
    assert rows(connection, "SELECT ? + 1, ?", (41, "x")) == [(42, "x")]
    assert rows(connection, "SELECT $2, $1 + 1, $2", (41, "x")) == [("x", 42, "x")]
    # Names in the order of the statement, or of the columns' names when they are those of the parameters.
    assert rows(connection, "SELECT $depth + 1, $well", (41, "x")) == [(42, "x")]
    by_name = pa.record_batch({"well": ["x", "y"], "depth": [1, 2]})
    assert rows(connection, "SELECT $depth + 1, $well, $depth", by_name) == [(2, "x", 1), (3, "y", 2)]


def test_a_question_mark_or_a_dollar_in_text_is_no_parameter(connection):
    sql = "SELECT '?', '$1', ? AS \"a?\" -- and here? $2\n/* ?, $name */"
    assert rows(connection, sql, (1,)) == [("?", "$1", 1)]


def test_null_with_and_without_a_type(connection, cursor):
    cursor.execute("CREATE TABLE wells (id BIGINT, name VARCHAR, kbd DOUBLE)")
    nulls = pa.record_batch({"0": [7], "1": pa.nulls(1), "2": pa.nulls(1, pa.float64())})
    cursor.execute("INSERT INTO wells VALUES (?, ?, ?)", nulls)
    cursor.execute("INSERT INTO wells VALUES (?, ?, ?)", (8, None, None))
    cursor.executemany("INSERT INTO wells VALUES (?, ?, ?)", [(9, None, None), (10, "x", None)])
    assert rows(connection, "FROM wells ORDER BY id") == [
        (7, None, None),
        (8, None, None),
        (9, None, None),
        (10, "x", None),
    ]
    assert rows(connection, "SELECT ? IS NULL, coalesce(?, 5)", (None, None)) == [(True, 5)]


def test_bound_values_are_values_and_never_sql(connection, cursor):
    cursor.execute("CREATE TABLE wells (name VARCHAR)")
    hostile = "'); DROP TABLE wells; --"
    cursor.execute("INSERT INTO wells VALUES (?)", (hostile,))
    assert rows(connection, "SELECT name FROM wells WHERE name = ?", (hostile,)) == [(hostile,)]


def test_executemany_runs_once_per_row_and_adds_up(connection, cursor):
    cursor.execute("CREATE TABLE wells (id INTEGER PRIMARY KEY, name VARCHAR)")
    cursor.executemany("INSERT INTO wells VALUES (?, ?)", [(n, f"well {n}") for n in range(10)])
    assert cursor.rowcount == 10
    cursor.executemany("UPDATE wells SET name = ? WHERE id >= ?", [("a", 8), ("b", 9)])
    assert cursor.rowcount == 3
    cursor.executemany("DELETE FROM wells WHERE id = $id", pa.table({"id": [0, 1, 99]}))
    assert cursor.rowcount == 2
    cursor.executemany("INSERT INTO wells VALUES (100, 'no parameters')", None)
    found = rows(connection, "SELECT id, name FROM wells WHERE id > 6 ORDER BY id")
    assert found == [(7, "well 7"), (8, "a"), (9, "b"), (100, "no parameters")]


def test_executemany_of_a_hundred_thousand_rows(connection, cursor):
    cursor.execute("CREATE TABLE wells (id BIGINT, name VARCHAR, kbd DOUBLE)")
    table = pa.table(
        {
            "id": pa.array(range(100_000), pa.int64()),
            "name": pa.array([None if n % 7 == 0 else f"well {n}" for n in range(100_000)]),
            "kbd": pa.array([n / 8 for n in range(100_000)]),
        }
    )
    insert = "INSERT INTO wells VALUES (?, ?, ?)"
    cursor.executemany(insert, pa.RecordBatchReader.from_batches(table.schema, table.to_batches(1_000)))
    assert cursor.rowcount == 100_000
    assert arrow(connection, "FROM wells ORDER BY id").equals(table)
    cursor.executemany(insert, table.slice(0, 0))
    assert cursor.rowcount == 0
    assert rows(connection, "SELECT count(*) FROM wells") == [(100_000,)]


def test_executemany_that_fails_on_its_last_row_stores_none(connection, cursor):
    cursor.execute("CREATE TABLE wells (id INTEGER PRIMARY KEY)")
    with pytest.raises(OperationalError, match="(?i)duplicate key"):
        cursor.executemany("INSERT INTO wells VALUES (?)", [(1,), (2,), (1,)])
    assert rows(connection, "FROM wells") == []


def test_a_query_with_many_rows_bound_gives_the_result_of_each(connection, cursor):
    cursor.execute("SELECT 1 + ? AS n", pa.table({"0": [1, 2, 3, 4]}))
    assert cursor.fetch_arrow_table()["n"].to_pylist() == [2, 3, 4, 5]
    cursor.execute("SELECT range AS n FROM range(?)", pa.table({"0": [1, 0, 3]}))
    assert cursor.fetch_arrow_table()["n"].to_pylist() == [0, 0, 1, 2]
    cursor.execute("SELECT ? AS n", pa.table({"0": pa.array([], pa.int64())}))
    assert cursor.fetch_arrow_table().num_rows == 0


def test_what_does_not_fit_the_parameters_is_refused(connection):
    with pytest.raises(ProgrammingError, match="2 parameters"):
        rows(connection, "SELECT ? + ?", (1,))
    with pytest.raises(ProgrammingError, match="1 parameters"):
        rows(connection, "SELECT ?", (1, 2))
    with pytest.raises(ProgrammingError, match="parameters"):
        rows(connection, "SELECT 1", (1,))
    with pytest.raises(ProgrammingError, match="2 parameters"):
        rows(connection, "SELECT ? + ?")
    with pytest.raises(ProgrammingError, match=r"\$kbd"):
        rows(connection, "SELECT $well, $kbd", pa.record_batch({"well": [1], "oil": [2]}))
    with pytest.raises(ProgrammingError, match="'deep'"):
        rows(connection, "SELECT ?::INTEGER", ("deep",))
    rows(connection, "CREATE TABLE wells (id INTEGER)")
    with pytest.raises(ProgrammingError, match="'deep'"):
        rows(connection, "INSERT INTO wells VALUES (?)", ("deep",))
    assert rows(connection, "FROM wells") == []


# Preparing and describing


def test_a_statement_is_prepared_once_and_run_often(connection, cursor):
    assert cursor.adbc_prepare("SELECT ? + 1 AS n").names == ["1"]
    for number in range(5):
        assert cursor.execute("SELECT ? + 1 AS n", (number,)).fetchall() == [(number + 1,)]
    # Values of another type than before are another binding of the same statement.
    assert cursor.execute("SELECT ? + 1 AS n", (0.5,)).fetchall() == [(1.5,)]


def test_a_prepared_statement_sees_the_table_as_it_is_now(connection, cursor):
    rows(connection, "CREATE TABLE wells AS SELECT 1 AS id")
    cursor.adbc_prepare("SELECT * FROM wells")
    assert cursor.execute("SELECT * FROM wells").fetchall() == [(1,)]
    rows(connection, "INSERT INTO wells VALUES (2)")
    assert cursor.execute("SELECT * FROM wells").fetchall() == [(1,), (2,)]
    rows(connection, "DROP TABLE wells")
    with pytest.raises(ProgrammingError, match="wells"):
        cursor.execute("SELECT * FROM wells").fetchall()


def test_the_parameter_schema_has_a_field_for_each(connection, cursor):
    rows(connection, "CREATE TABLE wells (id INTEGER, name VARCHAR)")
    assert parameter_names(cursor, "SELECT 1") == []
    assert parameter_names(cursor, "SELECT 1 + ?") == ["1"]
    assert parameter_names(cursor, "SELECT 1 + ? + ?") == ["1", "2"]
    assert parameter_names(cursor, "SELECT $b, $a, $b") == ["b", "a"]
    assert parameter_names(cursor, "INSERT INTO wells VALUES (?, ?)") == ["1", "2"]
    assert parameter_names(cursor, "CREATE TABLE other (id INTEGER)") == []
    # Any type will do here, and the schema says so.
    assert cursor.adbc_prepare("SELECT ?").types == [pa.null()]


def test_the_schema_of_a_query_is_known_without_running_it(connection, cursor):
    rows(connection, "CREATE SEQUENCE runs")
    rows(connection, "CREATE TABLE wells (id INTEGER, name VARCHAR, kbd DECIMAL(10, 2))")
    for sql in [
        "SELECT id + 1 FROM wells",
        "SELECT count(*), sum(kbd), list(name), max(name) FROM wells",
        "SELECT *, nextval('runs') AS run FROM wells",
        "FROM wells",
        "WITH deep AS (SELECT * FROM wells) SELECT name AS \"a name\" FROM deep",
        "EXPLAIN FROM wells",
        "DESCRIBE wells",
        "SHOW TABLES",
        "VALUES (1, 'x')",
    ]:
        assert cursor.adbc_execute_schema(sql).equals(arrow(connection, sql).schema), sql
    assert rows(connection, "SELECT nextval('runs')") == [(1,)]


def test_the_schema_of_a_query_with_parameters(cursor):
    assert cursor.adbc_execute_schema("SELECT ?::BIGINT AS n, ? || 'x' AS s").names == ["n", "s"]
    assert cursor.adbc_execute_schema("SELECT range AS n FROM range(?)").types == [pa.int64()]


def test_asking_for_the_schema_of_a_change_does_not_run_it(connection, cursor):
    rows(connection, "CREATE TABLE wells (id INTEGER)")
    try:
        assert len(cursor.adbc_execute_schema("INSERT INTO wells VALUES (1)")) == 0
    except NotSupportedError:
        pass  # the driver's answer when a prepared statement has no result schema
    assert rows(connection, "FROM wells") == []


# Scripts


def test_a_script_runs_whole(connection, cursor):
    cursor.executescript(
        """
        -- two tables; and a comment with a semicolon
        CREATE TABLE wells (id INTEGER, name VARCHAR);
        INSERT INTO wells VALUES (1, 'a;b'), (2, 'it''s');
        CREATE TABLE deep AS SELECT * FROM wells WHERE id > 1;
        SELECT count(*) FROM wells;
        UPDATE wells SET id = id + 10;
        ;
        """
    )
    assert rows(connection, "SELECT id, name FROM wells ORDER BY id") == [(11, "a;b"), (12, "it's")]
    assert rows(connection, "FROM deep") == [(2, "it's")]


def test_a_script_that_fails_leaves_nothing_and_names_the_statement(connection, cursor):
    rows(connection, "CREATE TABLE wells (id INTEGER)")
    for script, part in [
        ("INSERT INTO wells VALUES (1); CREATE TABLE deep (n INT); INSERT INTO wells VALUES ('x')", "'x'"),
        ("INSERT INTO wells VALUES (1); UPDATE wells SET id = 2; SELECT * FROM nowhere", "nowhere"),
        ("INSERT INTO wells VALUES (1); DROP TABLE wells; COPY (SELECT 1) TO 'file.csv'", "COPY"),
    ]:
        with pytest.raises(ProgrammingError, match="statement 3") as refused:
            cursor.executescript(script)
        assert part in str(refused.value)
        assert rows(connection, "FROM wells") == []
        assert rows(connection, "SELECT table_name FROM duckdb_tables()") == [("wells",)]
    with pytest.raises(ProgrammingError, match="SELEC"):
        cursor.executescript("INSERT INTO wells VALUES (1); SELEC 1")
    assert rows(connection, "FROM wells") == []


def test_a_script_in_an_open_transaction_is_part_of_it(server):
    with server.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE wells (id INTEGER)")
        cursor.executescript("INSERT INTO wells VALUES (1); INSERT INTO wells VALUES (2)")
        connection.rollback()  # the driver committed the table before the script
        assert rows(connection, "FROM wells") == []
        cursor.executescript("INSERT INTO wells VALUES (3); INSERT INTO wells VALUES (4)")
        connection.commit()
        with server.connect() as other:
            assert rows(other, "FROM wells ORDER BY id") == [(3,), (4,)]


# Stopping


def test_cancel_stops_a_running_query(server, connection, cursor):
    outcome = []

    def run():
        try:
            outcome.append(cursor.execute(ENDLESS).fetchall())
        except OperationalError as error:
            outcome.append(error.status_code)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(server, b'"running":1')
    cursor.adbc_cancel()
    thread.join(10)
    assert not thread.is_alive() and outcome == [AdbcStatusCode.CANCELLED]
    wait_for(server, b'"running":0')
    assert rows(connection, "SELECT 1") == [(1,)]


def test_a_time_limit_of_the_client_stops_the_server_as_well(server, connection):
    with connection.cursor(adbc_stmt_kwargs={FETCH_TIMEOUT: "0.5"}) as cursor:
        with pytest.raises(OperationalError) as late:
            cursor.execute(ENDLESS).fetchall()
    assert late.value.status_code == AdbcStatusCode.TIMEOUT
    wait_for(server, b'"running":0')
    rows(connection, "CREATE TABLE sums (n HUGEINT)")
    with connection.cursor(adbc_stmt_kwargs={UPDATE_TIMEOUT: "0.5"}) as cursor:
        with pytest.raises(OperationalError) as late:
            cursor.execute(f"INSERT INTO sums {ENDLESS}")
    assert late.value.status_code == AdbcStatusCode.TIMEOUT
    wait_for(server, b'"running":0')
    assert rows(connection, "FROM sums") == []
    # Nothing of it holds on to the table.
    rows(connection, "DROP TABLE sums")


def test_closing_a_half_read_cursor_stops_its_query(server, connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT range FROM range(10000000000)")
        assert cursor.fetchone() == (0,)
        wait_for(server, b'"running":1')
    wait_for(server, b'"running":0')


# Failing


@pytest.mark.parametrize(
    "sql, kind, status, part",
    [
        ("SELEC 1", ProgrammingError, "INVALID_ARGUMENT", 'syntax error at or near "SELEC"'),
        ("FROM nowhere", ProgrammingError, "NOT_FOUND", "nowhere"),
        ("SELECT depth FROM wells", ProgrammingError, "INVALID_ARGUMENT", "depth"),
        ("SELECT 'x'::INTEGER", ProgrammingError, "INVALID_ARGUMENT", "'x'"),
        ("SELECT error('sandstone')", ProgrammingError, "INVALID_ARGUMENT", "sandstone"),
        ("CREATE TABLE wells (id INTEGER)", ProgrammingError, "ALREADY_EXISTS", "wells"),
        ("INSERT INTO wells VALUES ('x', 'y')", ProgrammingError, "INVALID_ARGUMENT", "'x'"),
        ("INSERT INTO wells VALUES (1, 'again')", OperationalError, "UNKNOWN", "Duplicate key"),
        ("INSERT INTO wells VALUES (2, NULL)", OperationalError, "UNKNOWN", "NOT NULL"),
        ("SELECT 1; SELECT 2", ProgrammingError, "INVALID_ARGUMENT", "several"),
        ("-- nothing", ProgrammingError, "INVALID_ARGUMENT", "found none"),
        ("COPY wells TO 'wells.csv'", ProgrammingError, "UNAUTHORIZED", "COPY"),
        ("ATTACH 'other.db'", ProgrammingError, "UNAUTHORIZED", "attach"),
        ("SET threads = 1", ProgrammingError, "UNAUTHORIZED", "SET"),
        ("USE main", ProgrammingError, "UNAUTHORIZED", "USE"),
        ("FROM read_csv('/etc/passwd')", ProgrammingError, "UNAUTHORIZED", "read_csv"),
        ("BEGIN", NotSupportedError, "NOT_IMPLEMENTED", "BEGIN"),
        ("PREPARE p AS SELECT 1", NotSupportedError, "NOT_IMPLEMENTED", "PREPARE"),
    ],
)
def test_an_error_has_its_kind_and_says_what_is_wrong(connection, sql, kind, status, part):
    rows(connection, "CREATE TABLE wells (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL)")
    rows(connection, "INSERT INTO wells VALUES (1, 'a')")
    with pytest.raises(kind) as refused:
        rows(connection, sql)
    assert status is None or refused.value.status_code == AdbcStatusCode[status]
    assert part in str(refused.value) and len(str(refused.value)) < 2500
    assert rows(connection, "FROM wells") == [(1, "a")]


def test_an_error_after_the_first_rows_is_the_end_of_the_result_and_not_a_short_one(connection, cursor):
    value = "CASE WHEN range < 3000000 THEN range ELSE error('no more oil') END"
    cursor.execute(f"SELECT {value} AS n FROM range(3000001)")
    with pytest.raises(ProgrammingError, match="no more oil"):
        cursor.fetch_arrow_table()
    assert rows(connection, "SELECT 1") == [(1,)]
