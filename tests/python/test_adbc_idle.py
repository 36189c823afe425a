"""What an ADBC connection keeps while it is in use, and hears when the server has ended something of it."""

import signal

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa
import pytest
from conftest import Server, rows, wait_for


def impatient(folder, transaction="1 s", session="30 min"):
    """A server that gives up what nobody uses."""
    return Server(
        folder,
        env={
            "PINTAIL_SESSION__TRANSACTION_IDLE_TIMEOUT": transaction,
            "PINTAIL_SESSION__IDLE_TIMEOUT": session,
        },
    )


@pytest.fixture
def hasty(tmp_path):
    server = impatient(tmp_path)
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def forgetful(tmp_path):
    server = impatient(tmp_path, session="2 s")
    yield server
    server.stop(signal.SIGKILL)


EXPIRED = "session.transaction_idle_timeout"


def test_nothing_of_an_expired_transaction_is_stored_and_rollback_goes_on(hasty):
    with hasty.connect(autocommit=False) as connection, hasty.connect() as other:
        rows(connection, "CREATE TABLE wells (id BIGINT)")
        connection.commit()
        with connection.cursor() as kept:
            kept.execute("INSERT INTO wells VALUES (1)")
            wait_for(hasty, b'"transactions":0')
            with pytest.raises(dbapi.Error, match=EXPIRED):
                rows(connection, "INSERT INTO wells VALUES (2)")
            with connection.cursor() as cursor, pytest.raises(dbapi.Error, match=EXPIRED):
                # The driver sends no transaction id with an ingest.
                cursor.adbc_ingest("wells", pa.table({"id": [3]}), mode="append")
            with connection.cursor() as cursor, pytest.raises(dbapi.Error, match=EXPIRED):
                cursor.executemany("INSERT INTO wells VALUES (?)", [(4,), (5,)])
            with pytest.raises(dbapi.Error, match=EXPIRED):
                connection.adbc_get_objects(depth="tables").read_all()
            for _ in range(2):
                with pytest.raises(dbapi.Error, match=EXPIRED):
                    connection.commit()
            assert rows(other, "FROM wells") == []
            connection.rollback()
            rows(connection, "INSERT INTO wells VALUES (6)")
            connection.commit()
            assert rows(other, "FROM wells") == [(6,)]


def test_a_transaction_lives_as_long_as_its_result_is_read_and_its_rows_come(hasty):
    with hasty.connect(autocommit=False) as connection, hasty.connect(autocommit=False) as sleeper:
        rows(connection, "CREATE TABLE wells (id BIGINT)")

        def outlast():
            sleeper.rollback()
            wait_for(hasty, b'"transactions":1')

        def slow():
            for first in (0, 10):
                yield pa.record_batch({"id": list(range(first, first + 10))})
                if first == 0:
                    outlast()

        with connection.cursor() as cursor:
            cursor.execute("SELECT range AS id FROM range(10000000)")
            reader = cursor.fetch_record_batch()
            count = reader.read_next_batch().num_rows
            outlast()
            count += sum(batch.num_rows for batch in reader)
            assert count == 10_000_000
        with connection.cursor() as cursor:
            source = pa.RecordBatchReader.from_batches(pa.schema({"id": pa.int64()}), slow())
            assert cursor.adbc_ingest("wells", source, mode="append") == 20
        connection.commit()
        assert rows(connection, "SELECT count(*) FROM wells") == [(20,)]


@pytest.mark.parametrize("how", ["connection", "token", "cookie"])
def test_rows_do_not_go_to_another_schema_because_the_client_was_away(forgetful, how):
    known_by = {
        "connection": {},
        "token": {"username": "u", "password": "p"},
        "cookie": {"adbc.flight.sql.rpc.with_cookie_middleware": "true"},
    }[how]
    with forgetful.connect(db_kwargs=known_by) as connection, forgetful.connect() as other:
        rows(other, "CREATE SCHEMA oil")
        connection.adbc_current_db_schema = "oil"
        rows(connection, "CREATE TABLE wells (id BIGINT)")
        wait_for(forgetful, b'"sessions":1,')
        for _ in range(2):
            with pytest.raises(dbapi.Error, match="session.idle_timeout"):
                rows(connection, "SELECT 1")
            with connection.cursor() as cursor, pytest.raises(dbapi.Error, match="session.idle_timeout"):
                cursor.adbc_ingest("wells", pa.table({"id": [1]}), mode="create_append")
        assert rows(other, "SELECT schema_name FROM duckdb_tables() WHERE NOT internal AND table_name = 'wells'") == [("oil",)]
        connection.adbc_current_db_schema = "oil"
        with connection.cursor() as cursor:
            cursor.adbc_ingest("wells", pa.table({"id": [1]}), mode="append")
        assert rows(other, "FROM oil.wells") == [(1,)]


def test_a_transaction_that_failed_at_commit_stays_failed_until_rollback(server):
    """What the driver sends without a transaction id must not be stored on its own after it."""
    with server.connect(autocommit=False) as first, server.connect(autocommit=False) as second:
        rows(first, "CREATE TABLE wells (id BIGINT PRIMARY KEY)")
        first.commit()
        second.rollback()
        for connection in (first, second):
            rows(connection, "INSERT INTO wells VALUES (1)")
        first.commit()
        with pytest.raises(dbapi.Error, match="transaction has ended"):
            second.commit()
        with second.cursor() as cursor, pytest.raises(dbapi.Error, match="roll back"):
            cursor.adbc_ingest("wells", pa.table({"id": [2]}), mode="append")
        second.rollback()
        with second.cursor() as cursor:
            cursor.adbc_ingest("wells", pa.table({"id": [3]}), mode="append")
        second.commit()
        assert rows(first, "FROM wells ORDER BY id") == [(1,)]
        first.rollback()
        assert rows(first, "FROM wells ORDER BY id") == [(1,), (3,)]


def test_temporary_rows_of_an_ingest_stay_with_their_connection_by_every_name(server):
    with server.connect() as connection, server.connect() as other:
        with connection.cursor() as cursor:
            cursor.adbc_ingest("wells", pa.table({"id": [1]}))
            for catalog in ("temp", "TEMP"):
                cursor.adbc_ingest("wells", pa.table({"id": [2]}), mode="create_append", catalog_name=catalog)
        assert rows(connection, "SELECT id FROM wells") == [(2,), (2,)]
        assert rows(other, "SELECT id FROM wells") == [(1,)]
        assert rows(other, "SELECT count(*) FROM duckdb_tables() WHERE temporary") == [(0,)]
