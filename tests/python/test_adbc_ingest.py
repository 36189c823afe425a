"""Bulk ingest through ADBC: modes, targets, transactions, shapes of input."""

import pyarrow as pa
import pytest
from adbc_driver_manager import AdbcStatusCode, Error, OperationalError, ProgrammingError
from conftest import arrow, rows, wait_for


def wells(count: int, first=0) -> pa.Table:
    numbers = range(first, first + count)
    names = pa.array([None if n % 5 == 0 else f"well {n} ü" for n in numbers], pa.string())
    return pa.table({"id": pa.array(numbers, pa.int64()), "name": names})


EMPTY = pa.RecordBatch.from_pylist([], schema=wells(0).schema)


def stored(connection, name="wells") -> pa.Table:
    return arrow(connection, f"SELECT * FROM {name} ORDER BY ALL")


def ingest(connection, name, data, mode="create", **target) -> int:
    with connection.cursor() as cursor:
        return cursor.adbc_ingest(name, data, mode=mode, **target)


# Modes


def test_create_makes_the_table_and_counts_the_rows(connection):
    assert ingest(connection, "wells", wells(1_000)) == 1_000
    assert stored(connection).equals(wells(1_000))
    with pytest.raises(ProgrammingError, match="wells.* already exists") as refused:
        ingest(connection, "wells", wells(1))
    assert refused.value.status_code == AdbcStatusCode.ALREADY_EXISTS
    assert stored(connection).equals(wells(1_000))


def test_append_adds_to_the_table_and_wants_it_there(connection):
    with pytest.raises(ProgrammingError, match="wells.* does not exist") as refused:
        ingest(connection, "wells", wells(1), "append")
    assert refused.value.status_code == AdbcStatusCode.NOT_FOUND
    ingest(connection, "wells", wells(10))
    assert ingest(connection, "wells", wells(5, first=10), "append") == 5
    assert stored(connection).equals(wells(15))


def test_create_append_does_either(connection):
    assert ingest(connection, "wells", wells(10), "create_append") == 10
    assert ingest(connection, "wells", wells(5, first=10), "create_append") == 5
    assert stored(connection).equals(wells(15))


def test_replace_drops_what_was_there_and_its_columns(connection):
    assert ingest(connection, "wells", wells(10), "replace") == 10
    other = pa.table({"depth": [1.5]})
    assert ingest(connection, "wells", other, "replace") == 1
    assert stored(connection).equals(other)


def test_append_matches_columns_by_name(connection):
    ingest(connection, "wells", wells(2))
    ingest(connection, "wells", pa.table({"name": ["a"], "id": [7]}), "append")
    ingest(connection, "wells", pa.table({"id": [8]}), "append")
    assert rows(connection, "SELECT name FROM wells WHERE id > 6 ORDER BY id") == [("a",), (None,)]
    with pytest.raises(ProgrammingError, match='"depth"'):
        ingest(connection, "wells", pa.table({"depth": [1]}), "append")
    with pytest.raises(ProgrammingError, match='"id" is BIGINT and .* VARCHAR'):
        ingest(connection, "wells", pa.table({"id": ["x"]}), "append")
    assert rows(connection, "SELECT count(*) FROM wells") == [(4,)]


def test_a_column_that_may_not_be_null_becomes_not_null(connection):
    fields = [pa.field("id", pa.int64()), pa.field("name", pa.string(), nullable=False)]
    ingest(connection, "wells", pa.table([[1], ["a"]], schema=pa.schema(fields)))
    assert [field.nullable for field in connection.adbc_get_table_schema("wells")] == [True, False]
    with pytest.raises(OperationalError, match="NOT NULL"):
        ingest(connection, "wells", wells(1), "append")
    assert rows(connection, "SELECT count(*) FROM wells") == [(1,)]


def test_rows_that_break_a_constraint_leave_nothing(connection):
    rows(connection, "CREATE TABLE wells (id BIGINT PRIMARY KEY, name VARCHAR)")
    ingest(connection, "wells", wells(10), "append")
    with pytest.raises(OperationalError, match="(?i)duplicate key"):
        ingest(connection, "wells", wells(300_000, first=9), "append")
    assert stored(connection).equals(wells(10))


# Targets


def test_into_another_schema_beside_a_table_of_the_same_name(connection):
    rows(connection, "CREATE SCHEMA oil")
    ingest(connection, "wells", wells(3))
    assert ingest(connection, "wells", wells(10), "replace", db_schema_name="oil") == 10
    assert ingest(connection, "wells", wells(1), "replace", db_schema_name="oil") == 1
    assert stored(connection, "oil.wells").equals(wells(1))
    assert stored(connection).equals(wells(3))
    with pytest.raises(ProgrammingError, match="nowhere"):
        ingest(connection, "wells", wells(1), db_schema_name="nowhere")


def test_into_a_catalog(connection):
    assert ingest(connection, "wells", wells(3), catalog_name="pintail", db_schema_name="main") == 3
    assert ingest(connection, "wells", wells(2, first=3), "append", catalog_name="pintail") == 2
    assert stored(connection, "pintail.main.wells").equals(wells(5))
    with pytest.raises(ProgrammingError, match="nowhere"):
        ingest(connection, "wells", wells(1), catalog_name="nowhere", db_schema_name="main")


def test_names_are_taken_as_they_are(connection):
    for name in ['a "quoted" name', "a.b.c", "Größe 井", "select", "a;b"]:
        assert ingest(connection, name, pa.table({'x "y"': [1], "select": [2]})) == 1
        quoted = '"' + name.replace('"', '""') + '"'
        assert arrow(connection, f"FROM {quoted}").to_pydict() == {'x "y"': [1], "select": [2]}


@pytest.mark.parametrize("temporary_first", [True, False])
def test_a_temporary_table_beside_a_permanent_one(server, connection, temporary_first):
    for temporary in (temporary_first, not temporary_first):
        count = 3 if temporary else 5
        assert ingest(connection, "wells", wells(count), temporary=temporary) == count
    assert ingest(connection, "wells", wells(1, first=3), "append", temporary=True) == 1
    assert ingest(connection, "wells", wells(1, first=5), "append") == 1
    assert stored(connection, "temp.main.wells").equals(wells(4))
    assert stored(connection, "pintail.main.wells").equals(wells(6))
    # The temporary one hides the other from its own connection only.
    assert stored(connection).equals(wells(4))
    with server.connect() as other:
        assert stored(other).equals(wells(6))


# Transactions


def test_an_ingest_in_an_open_transaction_is_part_of_it(server):
    """The driver sends no transaction with an ingest: it belongs to the one its session has open."""
    with server.connect(autocommit=False) as connection, server.connect() as other:
        assert ingest(connection, "wells", wells(200_000)) == 200_000
        assert rows(connection, "SELECT count(*) FROM wells") == [(200_000,)]
        with pytest.raises(ProgrammingError, match="wells"):
            rows(other, "FROM wells")
        connection.rollback()
        with pytest.raises(ProgrammingError, match="does not exist"):
            ingest(connection, "wells", wells(1), "append")
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE wells (id BIGINT, name VARCHAR)")
            cursor.adbc_ingest("wells", wells(10), mode="append")
            cursor.execute("UPDATE wells SET id = id + 100")
            cursor.adbc_ingest("wells", wells(10), mode="append")
        connection.commit()
        assert rows(other, "SELECT count(*), max(id) FROM wells") == [(20, 109)]


def test_a_replace_that_is_rolled_back_leaves_the_old_table(server):
    with server.connect(autocommit=False) as connection:
        ingest(connection, "wells", wells(10))
        connection.commit()
        ingest(connection, "wells", pa.table({"depth": [1.5]}), "replace")
        connection.rollback()
        assert stored(connection).equals(wells(10))


def test_a_source_that_fails_leaves_nothing(server, connection):
    """The driver then ends the stream as if it were complete, and cancels the call right after."""

    def broken():
        yield wells(200_000).to_batches()[0]
        raise OSError("the disk is gone")

    reader = pa.RecordBatchReader.from_batches(wells(0).schema, broken())
    with pytest.raises(Exception, match="the disk is gone"):
        ingest(connection, "wells", reader)
    wait_for(server, b'"streams":0')
    with server.connect() as other:
        assert rows(other, "SELECT count(*) FROM duckdb_tables()") == [(0,)]
    assert ingest(connection, "wells", wells(1)) == 1


# Shapes


def test_a_reader_of_many_batches(connection):
    table = wells(500_000)
    reader = pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(max_chunksize=7_000)))
    assert ingest(connection, "wells", reader) == 500_000
    assert stored(connection).equals(table)


def test_empty_batches_between_full_ones(connection):
    batches = [EMPTY, *wells(3).to_batches(), EMPTY, *wells(2, first=3).to_batches(), EMPTY]
    reader = pa.RecordBatchReader.from_batches(EMPTY.schema, batches)
    assert ingest(connection, "wells", reader) == 5
    assert stored(connection).equals(wells(5))


def test_no_rows_make_an_empty_table(connection):
    assert ingest(connection, "wells", EMPTY) == 0
    assert stored(connection).schema.equals(EMPTY.schema)
    assert ingest(connection, "wells", EMPTY, "append") == 0
    other = pa.record_batch({"depth": pa.array([], pa.float64())})
    assert ingest(connection, "wells", other, "replace") == 0
    assert stored(connection).to_pydict() == {"depth": []}


def test_no_batches_at_all_are_refused(connection):
    """The driver sends nothing then, neither the schema nor the table's name."""
    with pytest.raises(Error):
        ingest(connection, "wells", pa.RecordBatchReader.from_batches(EMPTY.schema, []))
    assert rows(connection, "SELECT count(*) FROM duckdb_tables()") == [(0,)]
    assert ingest(connection, "wells", wells(1)) == 1


def test_a_hundred_columns(connection):
    table = pa.table({f"column {n}": range(n, n + 5) for n in range(100)})
    assert ingest(connection, "wide", table) == 5
    assert arrow(connection, "FROM wide").equals(table)


def test_sliced_input_keeps_its_place(connection):
    assert ingest(connection, "wells", wells(1_000).slice(123, 456)) == 456
    assert stored(connection).equals(wells(456, first=123))


def test_a_row_larger_than_a_message(connection):
    """16 MiB is the driver's own limit for one message, in both directions."""
    table = pa.table({"id": [1, 2], "core": pa.array([b"\xff" * (10 << 20), b"\0" * (10 << 20)])})
    assert ingest(connection, "cores", table.to_reader(max_chunksize=1)) == 2
    found = rows(connection, "SELECT id, octet_length(core) FROM cores ORDER BY id")
    assert found == [(1, 10 << 20), (2, 10 << 20)]
    assert rows(connection, "SELECT core FROM cores WHERE id = 1") == [(b"\xff" * (10 << 20),)]


@pytest.mark.parametrize("count", [1, 2_047, 122_880, 122_881, 1_000_000])
def test_any_number_of_rows(connection, count):
    assert ingest(connection, "wells", wells(count).to_reader(max_chunksize=100_000)) == count
    assert rows(connection, "SELECT count(*), sum(id) FROM wells") == [(count, count * (count - 1) // 2)]
