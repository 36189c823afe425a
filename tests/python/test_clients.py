"""Clients that people have: pandas, polars, DuckDB, ibis, SQLAlchemy, pyarrow.flight, JDBC by its calls."""

import contextlib
import threading

import duckdb
import ibis
import pandas
import polars
import polars.testing
import pyarrow as pa
import pyarrow.flight as flight
import pytest
import sqlalchemy
from adbc_driver_manager import ProgrammingError
from conftest import put, query, rows, wait_for
from flight_sql import (
    act,
    act_sql,
    command,
    fields,
    message,
    prepare,
    read,
    session_options,
    set_session_options,
    update,
)

REFUSALS = (pa.ArrowException, flight.FlightError, OSError)
ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"


def flight_sql_uri(server) -> str:
    """The address as polars wants it: the scheme names the driver."""
    return server.uri.replace("grpc://", "flightsql://") + "?transport=tcp"


# pandas


def test_pandas_reads(server, connection):
    rows(connection, "CREATE TABLE wells AS SELECT 1 AS id, 'a' AS name, DATE '2020-02-29' AS spud")
    frame = pandas.read_sql("SELECT id, name FROM wells", connection)
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame({"id": [1], "name": ["a"]}), check_dtype=False)
    assert pandas.read_sql_table("wells", connection, columns=["name"]).to_dict("list") == {"name": ["a"]}
    arrow_backed = pandas.read_sql("FROM wells", connection, dtype_backend="pyarrow")
    assert str(arrow_backed.dtypes["spud"]) == "date32[day][pyarrow]"
    with pytest.raises(pandas.errors.DatabaseError, match="nowhere"):
        pandas.read_sql("FROM nowhere", connection)


def test_pandas_writes_in_every_mode(server):
    seen = pandas.to_datetime(["2020-01-01", None])
    frame = pandas.DataFrame({"id": [1, 2], "name": ["a", None], "seen": seen})
    with server.connect(autocommit=False) as connection, server.connect() as other:
        assert frame.to_sql("wells", connection, index=False) == 2
        with pytest.raises(ValueError, match="already exists"):
            frame.to_sql("wells", connection, index=False)
        assert frame.to_sql("wells", connection, index=False, if_exists="append") == 2
        assert rows(other, "SELECT count(*), count(name), count(seen) FROM wells") == [(4, 2, 2)]
        assert frame.head(1).to_sql("wells", connection, index=False, if_exists="delete_rows") == 1
        assert rows(other, "SELECT id FROM wells") == [(1,)]
        depths = pandas.DataFrame({"depth": [1.5]})
        assert depths.to_sql("wells", connection, index=False, if_exists="replace") == 1
        assert rows(other, "FROM wells") == [(1.5,)]
        rows(other, "CREATE SCHEMA oil")
        connection.rollback()
        assert frame.to_sql("wells", connection, index=False, schema="oil") == 2
        assert rows(other, "SELECT count(*) FROM oil.wells") == [(2,)]


# polars


def test_polars_reads(server, connection):
    rows(connection, "CREATE TABLE wells AS SELECT range::INTEGER AS id FROM range(100000)")
    found = polars.read_database_uri("FROM wells ORDER BY id", flight_sql_uri(server), engine="adbc")
    assert found.equals(polars.DataFrame({"id": range(100_000)}, schema={"id": polars.Int32}))
    deep = polars.read_database(
        "SELECT id FROM wells WHERE id > ?", connection, execute_options={"parameters": [99_997]}
    )
    assert deep["id"].to_list() == [99_998, 99_999]
    batches = polars.read_database("FROM wells", connection, iter_batches=True, batch_size=10_000)
    assert sum(batch.height for batch in batches) == 100_000


@pytest.mark.parametrize("by_uri", [True, False])
def test_polars_writes_in_every_mode(server, connection, by_uri):
    frame = polars.DataFrame({"id": [1, 2, None], "name": ["a", None, "a name longer than twelve"]})

    def write(frame, table, mode):
        target = flight_sql_uri(server) if by_uri else connection
        return frame.write_database(table, target, engine="adbc", if_table_exists=mode)

    assert write(frame, "wells", "fail") == 3
    with pytest.raises(ProgrammingError, match="already exists"):
        write(frame, "wells", "fail")
    assert write(frame, "wells", "append") == 3
    assert rows(connection, "SELECT count(*), count(name) FROM wells") == [(6, 4)]
    assert write(frame, "wells", "replace") == 3
    polars.testing.assert_frame_equal(polars.read_database("FROM wells", connection), frame)
    assert write(frame, "not_there_yet", "append") == 3
    rows(connection, "CREATE SCHEMA oil")
    assert write(frame, "oil.wells", "replace") == 3
    assert rows(connection, "SELECT count(*) FROM pintail.oil.wells") == [(3,)]


# DuckDB, ibis, SQLAlchemy


def test_duckdb_joins_a_result_with_what_it_has(connection):
    rows(connection, "CREATE TABLE wells AS SELECT range AS id, range % 3 AS field FROM range(300000)")
    local = duckdb.connect()
    local.execute("CREATE TABLE fields AS FROM (VALUES (0, 'north'), (1, 'south')) AS t(field, name)")
    with connection.cursor() as cursor:
        reader = cursor.execute("FROM wells").fetch_record_batch()
        sql = "SELECT name, count(*) FROM reader JOIN fields USING (field) GROUP BY ALL ORDER BY ALL"
        assert local.sql(sql).fetchall() == [("north", 100_000), ("south", 100_000)], reader.schema
    # And the other way: a result of DuckDB's goes in as it is.
    with connection.cursor() as cursor:
        assert cursor.adbc_ingest("fields", local.sql("FROM fields").to_arrow_table()) == 2
    assert rows(connection, "SELECT name FROM fields ORDER BY field") == [("north",), ("south",)]


def test_ibis_expressions_run_on_the_server(connection):
    rows(connection, "CREATE TABLE wells AS SELECT range AS id, range % 3 AS field FROM range(9)")
    schema = ibis.Schema.from_pyarrow(connection.adbc_get_table_schema("wells"))
    wells = ibis.table(schema, name="wells")
    deep = wells.filter(wells.id > 0)
    per_field = deep.group_by("field").agg(wells=deep.count(), ids=deep.id.sum())
    sql = ibis.to_sql(per_field.order_by("field"), dialect="duckdb")
    assert rows(connection, str(sql)) == [(0, 2, 9), (1, 3, 12), (2, 3, 15)]
    with connection.cursor() as cursor:
        local = ibis.memtable(cursor.execute("FROM wells").fetch_arrow_table())
    assert local.id.max().execute() == 8


def test_sqlalchemy_defines_changes_reads_and_reflects(server):
    address = server.uri.removeprefix("grpc://")
    engine = sqlalchemy.create_engine(f"adbc+flightsql://{address}?tls=false")
    wells = sqlalchemy.Table(
        "wells",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True, autoincrement=False),
        sqlalchemy.Column("name", sqlalchemy.String(100)),
        sqlalchemy.Column("kbd", sqlalchemy.Double),
    )
    try:
        wells.create(engine)
        with engine.begin() as connection:
            values = [{"id": 1, "name": "a", "kbd": 1.5}, {"id": 2, "name": None, "kbd": None}]
            assert connection.execute(wells.insert(), values).rowcount == 2
        with engine.connect() as connection:
            deep = sqlalchemy.select(wells).where(wells.c.kbd > 1.0)
            assert connection.execute(deep).all() == [(1, "a", 1.5)]
            connection.execute(wells.delete())
            connection.rollback()
            count = sqlalchemy.select(sqlalchemy.func.count()).select_from(wells)
            assert connection.execute(count).scalar() == 2
        inspector = sqlalchemy.inspect(engine)
        assert inspector.has_table("wells") and not inspector.has_table("nowhere")
        assert "main" in inspector.get_schema_names()
        types = {column["name"]: type(column["type"]).__name__ for column in inspector.get_columns("wells")}
        assert types == {"id": "Integer", "name": "String", "kbd": "Float"}
        frame = pandas.DataFrame({"id": [3], "name": ["c"], "kbd": [0.5]})
        assert frame.to_sql("wells", engine, index=False, if_exists="append") == 1
        assert pandas.read_sql("SELECT name FROM wells ORDER BY id", engine)["name"].tolist()[2] == "c"
    finally:
        engine.dispose()


# pyarrow.flight


def test_actions_are_listed(server):
    listed = {action.type for action in server.client().list_actions()}
    assert listed >= {
        "BeginTransaction",
        "EndTransaction",
        "CreatePreparedStatement",
        "ClosePreparedStatement",
        "CancelFlightInfo",
        "CancelQuery",
        "RenewFlightEndpoint",
        "SetSessionOptions",
        "GetSessionOptions",
        "CloseSession",
        "pintail.status",
        "pintail.checkpoint",
    }


def exchange(client, sql: str, upload: pa.Table, chunk_rows=65_536) -> pa.Table:
    """Sends `upload` as the table `input` of the statement while the result is read."""
    writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(sql))

    def send():
        with contextlib.suppress(*REFUSALS):  # the reader gets the server's reason
            writer.begin(upload.schema)
            writer.write_table(upload, max_chunksize=chunk_rows)
            writer.done_writing()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return reader.read_all()
    finally:
        sender.join(60)
        assert not sender.is_alive()
        with contextlib.suppress(*REFUSALS):
            writer.close()


def test_an_exchange_joins_the_upload_with_a_table(server):
    client = server.client()
    put(client, "wells", pa.table({"id": list(range(10)), "name": [f"well {n}" for n in range(10)]}))
    upload = pa.table({"id": [3, 99, 5], "kbd": [1.5, 2.5, 3.5]})
    sql = "SELECT name, kbd FROM input JOIN wells USING (id) ORDER BY id"
    assert exchange(client, sql, upload).to_pydict() == {"name": ["well 3", "well 5"], "kbd": [1.5, 3.5]}
    left = "SELECT count(*) AS n FROM wells LEFT JOIN input USING (id)"
    assert exchange(client, left, upload.slice(0, 0)).to_pydict() == {"n": [10]}
    assert exchange(client, "FROM input", upload.slice(0, 0)).schema.equals(upload.schema)
    # Twice in a statement, and as often as one likes.
    assert exchange(client, "FROM input UNION ALL FROM input", upload).num_rows == 6
    # It was never a table of the server's.
    with pytest.raises(pa.ArrowKeyError, match="input"):
        query(client, "FROM input")


def test_an_exchange_of_a_million_rows(server):
    client = server.client()
    put(client, "fields", pa.table({"field": pa.array(range(7), pa.int64()), "name": list("abcdefg")}))
    numbers = pa.array(range(1_000_000), pa.int64())
    upload = pa.table({"id": numbers, "field": pa.array([n % 7 for n in range(1_000_000)], pa.int64())})
    sql = "SELECT id, name FROM input JOIN fields USING (field)"
    found = exchange(client, sql, upload, chunk_rows=10_000)
    assert found.sort_by("id")["id"].combine_chunks().equals(numbers)
    total = exchange(client, "SELECT sum(id)::BIGINT AS total FROM input", upload)
    assert total.to_pydict() == {"total": [999_999 * 500_000]}


def test_an_exchange_that_fails_says_why(server):
    client = server.client()
    upload = pa.table({"id": range(200_000)})
    with pytest.raises(pa.ArrowInvalid, match="SELEC"):
        exchange(client, "SELEC id FROM input", upload)
    with pytest.raises(pa.ArrowKeyError, match="nowhere"):
        exchange(client, "FROM input JOIN nowhere USING (id)", upload)
    with pytest.raises(pa.ArrowInvalid, match="depth"):
        exchange(client, "SELECT depth FROM input", upload)
    with pytest.raises(pa.ArrowInvalid, match="too deep"):
        exchange(client, "SELECT CASE WHEN id < 199999 THEN id ELSE error('too deep') END FROM input", upload)
    assert exchange(client, "SELECT count(*) AS n FROM input", upload).to_pydict() == {"n": [200_000]}


def test_a_client_that_leaves_an_exchange_leaves_nothing_behind(server):
    client = server.client()
    upload = pa.table({"id": range(1_000)})
    writer, reader = client.do_exchange(flight.FlightDescriptor.for_command("FROM input"))
    writer.begin(upload.schema)
    writer.write_table(upload)
    reader.cancel()
    with contextlib.suppress(*REFUSALS):
        writer.close()
    endless = f"SELECT ({ENDLESS}) + (SELECT count(*) FROM input)"
    writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(endless))
    writer.begin(upload.schema)
    writer.write_table(upload)
    writer.done_writing()
    wait_for(server, b'"running":1')
    reader.cancel()
    with contextlib.suppress(*REFUSALS):
        writer.close()
    wait_for(server, b'"running":0')
    assert exchange(client, "SELECT count(*) AS n FROM input", upload).to_pydict() == {"n": [1_000]}


def test_a_schema_is_had_by_sql_by_path_and_by_command(server):
    client = server.client()
    table = pa.table({"id": [1], "name": ["a"]})
    put(client, "wells", table)
    for descriptor in [
        flight.FlightDescriptor.for_command("FROM wells"),
        flight.FlightDescriptor.for_path("wells"),
        flight.FlightDescriptor.for_path("main", "wells"),
        flight.FlightDescriptor.for_path("pintail", "main", "wells"),
        flight.FlightDescriptor.for_command(command("CommandStatementQuery", (1, "FROM wells"))),
    ]:
        assert client.get_schema(descriptor).schema.equals(table.schema)
    with pytest.raises(pa.ArrowKeyError, match="nowhere"):
        client.get_schema(flight.FlightDescriptor.for_path("nowhere"))


def test_a_reader_that_cancels_stops_the_query(server):
    reader = server.client().do_get(flight.Ticket(b"SELECT range AS n FROM range(100000000000)"))
    assert reader.read_chunk().data["n"][0].as_py() == 0
    wait_for(server, b'"running":1')
    reader.cancel()
    wait_for(server, b'"running":0')


@pytest.mark.parametrize("action", ["CancelFlightInfo", "CancelQuery"])
def test_a_query_is_cancelled_by_its_flight_info(server, action):
    client = server.client()
    info = client.get_flight_info(flight.FlightDescriptor.for_command(ENDLESS))
    outcome = []

    def fetch():
        try:
            outcome.append(client.do_get(info.endpoints[0].ticket).read_all())
        except (flight.FlightError, pa.ArrowException) as error:
            outcome.append(str(error))

    thread = threading.Thread(target=fetch)
    thread.start()
    wait_for(server, b'"running":1')
    if action == "CancelFlightInfo":
        (result,) = act(client, action, message((1, info.serialize())))
        status = fields(result)[1][0]
    else:
        status = act_sql(client, action, (1, info.serialize()))[1][0]
    assert status in (1, 2)  # cancelled, or about to be
    thread.join(10)
    assert len(outcome) == 1 and "was cancelled by another call" in outcome[0]
    wait_for(server, b'"running":0')


def test_an_endpoint_can_be_renewed(server):
    client = server.client()
    info = client.get_flight_info(flight.FlightDescriptor.for_command("SELECT 42 AS n"))
    (renewed,) = act(client, "RenewFlightEndpoint", message((1, info.endpoints[0].serialize())))
    endpoint = flight.FlightEndpoint.deserialize(renewed)
    assert endpoint.expiration_time is not None
    assert client.do_get(endpoint.ticket).read_all().to_pydict() == {"n": [42]}


# Sessions, raw


def test_a_token_is_a_session_on_any_connection(server):
    header, value = server.client().authenticate_basic_token("u", "p")
    assert header.lower() == b"authorization" and value.startswith(b"Bearer ")
    token = flight.FlightCallOptions(headers=[(header, value)])
    first, second = server.client(), server.client()
    update(first, "CommandStatementUpdate", (1, "CREATE SCHEMA oil"))
    assert set_session_options(first, {"schema": "oil"}, token) == {}
    assert session_options(second, token)["schema"] == "oil"
    # Without the token, a connection is a session of its own.
    assert session_options(second)["schema"] == "main"


def test_session_options_are_set_read_and_refused(server):
    client = server.client()
    assert session_options(client).items() >= {"catalog": "pintail", "schema": "main"}.items()
    update(client, "CommandStatementUpdate", (1, "CREATE SCHEMA oil; CREATE TABLE oil.wells (id INTEGER)"))
    assert set_session_options(client, {"catalog": "pintail", "schema": "oil"}) == {}
    assert query(client, "FROM wells").column_names == ["id"]
    invalid_name, invalid_value = 1, 2
    refused = set_session_options(client, {"colour": "red", "schema": "nowhere"})
    assert refused == {"colour": invalid_name, "schema": invalid_value}
    assert session_options(client)["schema"] == "oil"
    (closed,) = act(client, "CloseSession", b"")
    assert fields(closed)[1][0] in (1, 2)
    assert session_options(client)["schema"] == "main"


# Flight SQL, raw


def test_keys(server):
    client = server.client()
    update(
        client,
        "CommandStatementUpdate",
        (
            1,
            "CREATE TABLE fields (code INTEGER, country VARCHAR, PRIMARY KEY (country, code));"
            "CREATE TABLE wells (id BIGINT PRIMARY KEY, country VARCHAR, field INTEGER,"
            " FOREIGN KEY (country, field) REFERENCES fields (country, code));"
            "CREATE TABLE loose (id INTEGER)",
        ),
    )
    keys = read(client, "CommandGetPrimaryKeys", (3, "fields")).to_pylist()
    assert [(key["column_name"], key["key_sequence"]) for key in keys] == [("country", 1), ("code", 2)]
    assert {(key["catalog_name"], key["table_name"]) for key in keys} == {("pintail", "fields")}
    in_main = read(client, "CommandGetPrimaryKeys", (1, "pintail"), (2, "main"), (3, "wells"))
    assert in_main["column_name"].to_pylist() == ["id"]
    assert read(client, "CommandGetPrimaryKeys", (3, "loose")).num_rows == 0
    imported = read(client, "CommandGetImportedKeys", (3, "wells"))
    pairs = [("fields", "country", "wells", "country", 1), ("fields", "code", "wells", "field", 2)]
    names = ["pk_table_name", "pk_column_name", "fk_table_name", "fk_column_name", "key_sequence"]
    assert [tuple(key.values()) for key in imported.select(names).to_pylist()] == pairs
    assert read(client, "CommandGetExportedKeys", (3, "fields")).select(names).equals(imported.select(names))
    crossed = read(client, "CommandGetCrossReference", (3, "fields"), (6, "wells"))
    assert crossed.select(names).equals(imported.select(names))
    assert read(client, "CommandGetImportedKeys", (3, "fields")).num_rows == 0


def test_types_of_jdbc_and_odbc(server):
    client = server.client()
    everything = read(client, "CommandGetXdbcTypeInfo")
    assert {"BIGINT", "INTEGER", "VARCHAR", "DOUBLE"} <= set(everything["type_name"].to_pylist())
    bigint = -5
    assert read(client, "CommandGetXdbcTypeInfo", (1, bigint))["type_name"].to_pylist() == ["BIGINT", "UBIGINT"]
    assert set(read(client, "CommandGetXdbcTypeInfo", (1, 4))["data_type"].to_pylist()) == {4}


def test_all_of_sql_info_at_once(server):
    info = read(server.client(), "CommandGetSqlInfo")
    codes = info["info_name"].to_pylist()
    values = dict(zip(codes, info["value"].to_pylist()))
    assert len(codes) == len(values) >= 70
    assert values[0] == "Pintail" and values[3] is False and values[4] is True and values[504] == '"'
    transactions = 1
    assert values[8] == transactions


def test_the_calls_of_the_jdbc_driver(server):
    """Handshake, everything about the server, the catalog; statements always prepared, updates by DoPut."""
    client = server.client()
    token = flight.FlightCallOptions(headers=[client.authenticate_basic_token("u", "p")])
    assert read(client, "CommandGetSqlInfo").num_rows >= 70
    assert set_session_options(client, {"catalog": "pintail"}, token) == {}

    def execute_update(sql: str, parameters=None) -> int:
        statement = prepare(client, sql)
        assert not statement["result"] and statement["update"]  # how the driver tells an update
        handle = (1, statement["handle"])
        answer = update(client, "CommandPreparedStatementUpdate", handle, parameters=parameters)
        act_sql(client, "ClosePreparedStatement", handle)
        return answer.get(1, [0])[0]

    assert execute_update("CREATE TABLE wells (id INTEGER, name VARCHAR)") == 0
    assert execute_update("INSERT INTO wells VALUES (1, 'a'), (2, 'b')") == 2
    assert execute_update("INSERT INTO wells VALUES (?, ?)", pa.table({"1": [3, 4], "2": ["c", None]})) == 2
    assert execute_update("DELETE FROM wells WHERE id = 4") == 1

    statement = prepare(client, "SELECT id, name FROM wells WHERE id > ? ORDER BY id")
    assert statement["result"].names == ["id", "name"] and not statement["update"]
    assert len(statement["parameters"]) == 1
    handle = (1, statement["handle"])
    for bound, wanted in [(0, [1, 2, 3]), (2, [3]), (9, [])]:
        answer = update(client, "CommandPreparedStatementQuery", handle, parameters=pa.table({"1": [bound]}))
        assert answer.get(1, [statement["handle"]])[0]  # a new handle may come back, or the old one
        handle = (1, answer.get(1, [statement["handle"]])[0])
        found = read(client, "CommandPreparedStatementQuery", handle)
        assert found["id"].to_pylist() == wanted
    act_sql(client, "ClosePreparedStatement", handle)
    with pytest.raises(pa.ArrowKeyError):
        read(client, "CommandPreparedStatementQuery", handle)

    returning = prepare(client, "INSERT INTO wells VALUES (5, 'e') RETURNING id")
    assert returning["result"].names == ["id"] and not returning["update"]
    assert read(client, "CommandPreparedStatementQuery", (1, returning["handle"])).to_pydict() == {"id": [5]}
    assert query(client, "SELECT count(*) AS n FROM wells").to_pydict() == {"n": [4]}

    assert read(client, "CommandGetCatalogs")["catalog_name"].to_pylist().count("pintail") == 1
    assert "main" in read(client, "CommandGetDbSchemas", (1, "pintail"))["db_schema_name"].to_pylist()
    tables = read(client, "CommandGetTables", (1, "pintail"), (3, "w%"), (4, "BASE TABLE"), (5, True))
    assert tables["table_name"].to_pylist() == ["wells"]
    described = pa.ipc.read_schema(tables["table_schema"][0].as_buffer())
    assert described.names == ["id", "name"]
    assert "BASE TABLE" in read(client, "CommandGetTableTypes")["table_type"].to_pylist()
    act(client, "CloseSession", b"", token)


@pytest.mark.parametrize("prepared", [True, False])
def test_a_change_that_is_asked_for_like_a_query_runs_once(server, prepared):
    """Older drivers do that: GetFlightInfo, then DoGet. A ticket that is fetched again changes nothing."""
    client = server.client()
    update(client, "CommandStatementUpdate", (1, "CREATE TABLE wells (id INTEGER)"))
    insert = "INSERT INTO wells VALUES (1), (2)"
    if prepared:
        cmd = command("CommandPreparedStatementQuery", (1, prepare(client, insert)["handle"]))
    else:
        cmd = command("CommandStatementQuery", (1, insert))
    info = client.get_flight_info(flight.FlightDescriptor.for_command(cmd))
    for endpoint in info.endpoints:
        client.do_get(endpoint.ticket).read_all()
        with contextlib.suppress(pa.ArrowException):
            client.do_get(endpoint.ticket).read_all()
    assert query(client, "FROM wells").num_rows == 2


def test_a_transaction_by_its_handle(server):
    client, other = server.client(), server.client()
    update(client, "CommandStatementUpdate", (1, "CREATE TABLE wells (id INTEGER)"))
    commit, roll_back = 1, 2
    for end, count in [(roll_back, 0), (commit, 1)]:
        transaction = act_sql(client, "BeginTransaction")[1][0]
        insert = "INSERT INTO wells VALUES (1)"
        assert update(client, "CommandStatementUpdate", (1, insert), (2, transaction)) == {1: [1]}
        inside = read(client, "CommandStatementQuery", (1, "FROM wells"), (2, transaction))
        assert inside.num_rows == 1 and query(other, "FROM wells").num_rows == 0
        act_sql(client, "EndTransaction", (1, transaction), (2, end))
        assert query(other, "FROM wells").num_rows == count
        with pytest.raises(pa.ArrowKeyError):
            act_sql(client, "EndTransaction", (1, transaction), (2, end))
