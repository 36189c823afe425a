"""What an ADBC connection knows and keeps: catalog, schema, metadata, transactions, temporary tables."""

import json
import re
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from adbc_driver_manager import AdbcStatusCode, NotSupportedError, OperationalError, ProgrammingError
from conftest import Server, rows

WELLS = pa.table({"well": pa.array(["A-1", None]), "kbd": pa.array([1.5, None])})


def objects(connection, depth: str, **filters) -> list[tuple]:
    """What GetObjects lists, flattened to names; in order, each once."""
    found = []
    for catalog in connection.adbc_get_objects(depth=depth, **filters).read_all().to_pylist():
        if depth == "catalogs":
            found.append((catalog["catalog_name"],))
        for schema in catalog["catalog_db_schemas"] or []:
            path = (catalog["catalog_name"], schema["db_schema_name"])
            if depth == "db_schemas":
                found.append(path)
            for table in schema["db_schema_tables"] or []:
                if depth == "tables":
                    found.append((*path, table["table_name"]))
                for column in table["table_columns"] or []:
                    found.append((*path, table["table_name"], column["column_name"]))
    assert len(set(found)) == len(found), found
    if depth != "columns":  # columns come in the order of the table
        assert found == sorted(found)
    return found


@pytest.fixture
def field(connection):
    """A connection to a database with a table, a view, a second schema and a temporary table."""
    with connection.cursor() as cursor:
        cursor.executescript(
            "CREATE TABLE wells (id INTEGER NOT NULL, name VARCHAR, kbd DECIMAL(10, 2));"
            "CREATE VIEW deep AS SELECT * FROM wells WHERE kbd > 1;"
            "CREATE SCHEMA oil; CREATE TABLE oil.fields (code BIGINT PRIMARY KEY);"
            "CREATE TABLE oil.wells (id SMALLINT);"
            "CREATE TEMPORARY TABLE scratch (x DOUBLE)"
        )
    return connection


def test_the_catalog_is_the_file_and_the_schema_is_main(tmp_path):
    server = Server(tmp_path, "--database", "permian.db")
    try:
        with server.connect() as connection:
            assert connection.adbc_current_catalog == "permian"
            assert connection.adbc_current_db_schema == "main"
            options = connection.adbc_connection.get_option("adbc.flight.sql.session.options")
            assert json.loads(options)["catalog"] == "permian"
            assert ("permian", "main") in objects(connection, "db_schemas")
    finally:
        server.stop()


def test_the_current_schema_is_where_names_are_looked_up_and_tables_made(server, connection):
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA oil")
        connection.adbc_current_db_schema = "oil"
        assert connection.adbc_current_db_schema == "oil"
        cursor.execute("CREATE TABLE fields (code INTEGER)")
        cursor.adbc_ingest("wells", WELLS, mode="create")
    assert rows(connection, "SELECT count(*) FROM wells") == [(2,)]
    tables = objects(connection, "tables", catalog_filter="pintail")
    assert tables == [("pintail", "oil", "fields"), ("pintail", "oil", "wells")]
    # Another connection is another session.
    with server.connect() as other:
        assert other.adbc_current_db_schema == "main"
        with pytest.raises(ProgrammingError, match="wells"):
            rows(other, "FROM wells")
    connection.adbc_current_db_schema = "main"
    assert connection.adbc_current_db_schema == "main"
    with pytest.raises(ProgrammingError, match="wells"):
        rows(connection, "FROM wells")


def test_a_schema_a_catalog_or_an_option_that_is_not_there_is_refused(connection):
    with pytest.raises(ProgrammingError, match="'schema'"):
        connection.adbc_current_db_schema = "nowhere"
    with pytest.raises(ProgrammingError, match="'catalog'"):
        connection.adbc_current_catalog = "nowhere"
    with pytest.raises(ProgrammingError, match="'colour' .*invalid name"):
        connection.adbc_connection.set_options(**{"adbc.flight.sql.session.option.colour": "red"})
    connection.adbc_current_catalog = "pintail"
    assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("pintail", "main")
    assert rows(connection, "SELECT current_database(), current_schema()") == [("pintail", "main")]


def test_info_names_the_server_and_its_version(connection):
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Pintail"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", info["vendor_version"])
    assert info["vendor_arrow_version"]
    assert info["driver_name"] == "ADBC Flight SQL Driver - Go"


def test_objects_by_catalog(field):
    assert ("pintail",) in objects(field, "catalogs")
    assert objects(field, "catalogs", catalog_filter="pintail") == [("pintail",)]
    assert objects(field, "catalogs", catalog_filter="pin%") == [("pintail",)]
    assert objects(field, "catalogs", catalog_filter="nowhere") == []


def test_objects_by_schema(field):
    assert {("pintail", "main"), ("pintail", "oil")} <= set(objects(field, "db_schemas"))
    assert objects(field, "db_schemas", db_schema_filter="oil") == [("pintail", "oil")]
    assert objects(field, "db_schemas", db_schema_filter="o_l") == [("pintail", "oil")]
    both = objects(field, "db_schemas", catalog_filter="pintail", db_schema_filter="main")
    assert both == [("pintail", "main")]
    assert objects(field, "db_schemas", catalog_filter="nowhere") == []
    assert objects(field, "db_schemas", db_schema_filter="nowhere") == []


def test_objects_by_table(field):
    everything = objects(field, "tables")
    assert [
        ("pintail", "main", "deep"),
        ("pintail", "main", "wells"),
        ("pintail", "oil", "fields"),
        ("pintail", "oil", "wells"),
        ("temp", "main", "scratch"),
    ] == [path for path in everything if path[1] in ("main", "oil") and path[0] in ("pintail", "temp")]
    wells = [("pintail", "main", "wells"), ("pintail", "oil", "wells")]
    assert objects(field, "tables", table_name_filter="wells") == wells
    assert objects(field, "tables", table_name_filter="we%s") == wells
    assert objects(field, "tables", db_schema_filter="oil", table_name_filter="w____") == wells[1:]
    assert objects(field, "tables", catalog_filter="nowhere") == []
    assert objects(field, "tables", db_schema_filter="nowhere") == []
    assert objects(field, "tables", table_name_filter="nowhere") == []
    assert objects(field, "tables", table_types_filter=["VIEW"]) == [("pintail", "main", "deep")]
    assert objects(field, "tables", table_types_filter=["LOCAL TEMPORARY"]) == [("temp", "main", "scratch")]
    assert ("pintail", "main", "deep") not in objects(field, "tables", table_types_filter=["BASE TABLE"])


def test_objects_by_column(field):
    wells = [("pintail", "main", "wells", name) for name in ("id", "name", "kbd")]
    of_wells = {"catalog_filter": "pintail", "db_schema_filter": "main", "table_name_filter": "wells"}
    assert objects(field, "columns", **of_wells) == wells
    assert objects(field, "columns", **of_wells, column_name_filter="%d") == [wells[0], wells[2]]
    assert ("pintail", "oil", "fields", "code") in objects(field, "columns", column_name_filter="code")
    assert objects(field, "columns", table_name_filter="nowhere") == []
    assert objects(field, "columns", column_name_filter="nowhere") == []


def test_columns_have_their_place_and_their_type_as_duckdb_spells_it(field):
    (catalog,) = field.adbc_get_objects(
        depth="all", catalog_filter="pintail", db_schema_filter="main", table_name_filter="wells"
    ).read_all().to_pylist()
    (table,) = catalog["catalog_db_schemas"][0]["db_schema_tables"]
    assert table["table_type"] == "BASE TABLE"
    columns = table["table_columns"]
    assert [column["ordinal_position"] for column in columns] == [1, 2, 3]
    assert [column["xdbc_type_name"] for column in columns] == ["INTEGER", "VARCHAR", "DECIMAL(10,2)"]
    # The codes of JDBC and ODBC, which the driver takes from the Arrow types.
    assert [column["xdbc_data_type"] for column in columns] == [4, 12, 3]
    assert [column["xdbc_scope_table"] for column in columns] == ["wells"] * 3


def test_a_metadata_query_sees_the_open_transaction_and_nobody_else_does(server):
    with server.connect(autocommit=False) as connection, server.connect() as other:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE wells (id INTEGER)")
        path = [("pintail", "main", "wells")]
        assert objects(connection, "tables", table_name_filter="wells") == path
        assert connection.adbc_get_table_schema("wells").names == ["id"]
        assert objects(other, "tables", table_name_filter="wells") == []
        connection.rollback()
        assert objects(connection, "tables", table_name_filter="wells") == []


def test_the_schema_of_a_table_has_its_types_and_what_may_be_null(field):
    schema = field.adbc_get_table_schema("wells", db_schema_filter="main")
    expected = [("id", pa.int32(), False), ("name", pa.string(), True), ("kbd", pa.decimal128(10, 2), True)]
    assert [(column.name, column.type, column.nullable) for column in schema] == expected
    assert schema.field("kbd").metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"] == b"DECIMAL(10,2)"
    in_oil = field.adbc_get_table_schema("wells", catalog_filter="pintail", db_schema_filter="oil")
    assert in_oil.field("id").type == pa.int16()
    assert field.adbc_get_table_schema("deep").names == ["id", "name", "kbd"]
    assert field.adbc_get_table_schema("scratch").field("x").type == pa.float64()
    with pytest.raises(ProgrammingError) as refused:
        field.adbc_get_table_schema("nowhere")
    assert refused.value.status_code == AdbcStatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["a_b", "a%b", "%", "_", "Wells", "well's", 'a "b"', "Öl Feld", "a.b"])
def test_names_that_look_like_patterns_find_their_table(connection, name):
    """The driver sends the name as a LIKE pattern; tables that match as well must not come instead."""
    with connection.cursor() as cursor:
        for decoy in ("aab", "axxb", "x", "other"):
            cursor.adbc_ingest(decoy, pa.table({"decoy": [1]}))
        cursor.adbc_ingest(name, pa.table({"right": [1]}))
    assert connection.adbc_get_table_schema(name).names == ["right"]
    assert ("pintail", "main", name) in objects(connection, "tables", table_name_filter=name)


def test_table_types(connection):
    types = connection.adbc_get_table_types()
    assert {"BASE TABLE", "VIEW", "LOCAL TEMPORARY"} <= set(types)
    assert types == sorted(set(types))


def test_commit_keeps_and_rollback_drops(server):
    with server.connect(autocommit=False) as connection, server.connect() as other:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE wells (id INTEGER)")
            cursor.execute("INSERT INTO wells VALUES (1)")
            connection.commit()
            cursor.execute("INSERT INTO wells VALUES (2)")
            cursor.execute("UPDATE wells SET id = 10 WHERE id = 1")
        assert rows(connection, "FROM wells ORDER BY id") == [(2,), (10,)]
        assert rows(other, "FROM wells") == [(1,)]
        connection.rollback()
        assert rows(connection, "FROM wells") == [(1,)]
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM wells")
        connection.commit()
        assert rows(other, "FROM wells") == []


def test_a_transaction_keeps_the_snapshot_it_began_with(server):
    with server.connect(autocommit=False) as reader, server.connect() as writer:
        rows(writer, "CREATE TABLE wells (id INTEGER)")
        reader.rollback()
        assert rows(reader, "SELECT count(*) FROM wells") == [(0,)]
        rows(writer, "INSERT INTO wells VALUES (1)")
        assert rows(reader, "SELECT count(*) FROM wells") == [(0,)]
        reader.commit()
        assert rows(reader, "SELECT count(*) FROM wells") == [(1,)]


def test_autocommit_can_be_switched_both_ways(server, connection):
    low_level = connection.adbc_connection
    for end in (low_level.commit, low_level.rollback):
        with pytest.raises(ProgrammingError):
            end()
    rows(connection, "CREATE TABLE wells (id INTEGER)")
    low_level.set_autocommit(False)
    assert low_level.get_option("adbc.connection.autocommit") == "false"
    rows(connection, "INSERT INTO wells VALUES (1)")
    low_level.rollback()
    low_level.commit()
    assert rows(connection, "FROM wells") == []
    rows(connection, "INSERT INTO wells VALUES (2)")
    # Switching it on commits what is open.
    low_level.set_autocommit(True)
    assert low_level.get_option("adbc.connection.autocommit") == "true"
    with server.connect() as other:
        assert rows(other, "FROM wells") == [(2,)]
    rows(connection, "INSERT INTO wells VALUES (3)")
    with server.connect() as other:
        assert rows(other, "FROM wells ORDER BY id") == [(2,), (3,)]


def test_two_transactions_that_change_one_row_conflict(server):
    with server.connect(autocommit=False) as first, server.connect(autocommit=False) as second:
        rows(first, "CREATE TABLE wells AS SELECT 1 AS id, 0 AS n")
        first.commit()
        second.rollback()
        rows(first, "UPDATE wells SET n = 1")
        with pytest.raises(OperationalError, match="(?i)conflict"):
            rows(second, "UPDATE wells SET n = 2")
        first.commit()
        second.rollback()
        rows(second, "UPDATE wells SET n = n + 10")
        second.commit()
        assert rows(first, "SELECT n FROM wells") == [(11,)]


def test_after_a_failed_statement_the_transaction_can_be_rolled_back_and_the_connection_used(server):
    with server.connect(autocommit=False) as connection:
        rows(connection, "CREATE TABLE wells (id INTEGER PRIMARY KEY)")
        connection.commit()
        rows(connection, "INSERT INTO wells VALUES (1)")
        with pytest.raises(OperationalError, match="(?i)duplicate key"):
            rows(connection, "INSERT INTO wells VALUES (1)")
        connection.rollback()
        assert rows(connection, "FROM wells") == []
        rows(connection, "INSERT INTO wells VALUES (2)")
        connection.commit()
        assert rows(connection, "FROM wells") == [(2,)]


def test_sql_cannot_begin_or_end_a_transaction(connection):
    for statement in ("BEGIN", "COMMIT", "ROLLBACK"):
        with pytest.raises(NotSupportedError, match="autocommit"):
            rows(connection, statement)


def test_closing_a_connection_rolls_back(server, connection):
    rows(connection, "CREATE TABLE wells (id INTEGER)")
    other = server.connect(autocommit=False)
    rows(other, "INSERT INTO wells VALUES (1)")
    other.close()
    assert rows(connection, "FROM wells") == []
    # Nothing of it is left to conflict with.
    rows(connection, "DROP TABLE wells")


def test_a_client_that_dies_leaves_no_transaction_behind(server, connection):
    rows(connection, "CREATE TABLE wells AS SELECT 1 AS id")
    program = (
        "import os, sys, adbc_driver_flightsql.dbapi as dbapi\n"
        "cursor = dbapi.connect(sys.argv[1]).cursor()\n"
        "cursor.execute('UPDATE wells SET id = 2')\n"
        "os._exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, server.uri], timeout=60).returncode == 7
    # The server learns of it when the TCP connection breaks; until then the row conflicts.
    deadline = time.monotonic() + 30
    while True:
        try:
            rows(connection, "UPDATE wells SET id = 3")
            break
        except OperationalError as conflict:
            assert "onflict" in str(conflict) and time.monotonic() < deadline
    assert rows(connection, "FROM wells") == [(3,)]


def test_temporary_tables_belong_to_their_connection(server, connection):
    rows(connection, "CREATE TEMPORARY TABLE scratch AS SELECT 1 AS id")
    assert rows(connection, "FROM scratch") == [(1,)]
    assert objects(connection, "tables", table_name_filter="scratch") == [("temp", "main", "scratch")]
    with server.connect() as other:
        with pytest.raises(ProgrammingError, match="scratch"):
            rows(other, "FROM scratch")
        assert objects(other, "tables", table_name_filter="scratch") == []
        rows(other, "CREATE TEMPORARY TABLE scratch AS SELECT 2 AS id")
        assert rows(other, "FROM scratch") == [(2,)]
    assert rows(connection, "FROM scratch") == [(1,)]


@pytest.mark.parametrize("name, password", [("u", "p"), ("user", "pass"), ("user", "pass1"), ("Öl", "")])
def test_a_user_and_a_password_make_a_session_as_well(server, name, password):
    """The driver sends them in a Handshake, base64 without padding, and then the token it got back."""
    with server.connect(db_kwargs={"username": name, "password": password}) as connection:
        rows(connection, "CREATE SCHEMA oil")
        connection.adbc_current_db_schema = "oil"
        assert rows(connection, "SELECT current_schema()") == [("oil",)]


def test_cookies_make_a_session_as_well(server):
    cookies = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"}
    with server.connect(db_kwargs=cookies) as connection:
        rows(connection, "CREATE TEMPORARY TABLE scratch AS SELECT 1 AS id")
        assert rows(connection, "FROM scratch") == [(1,)]
