"""Grants, row filters and hidden columns, with ADBC, pandas, polars, pyarrow and the command line."""

import adbc_driver_flightsql.dbapi as dbapi
import polars
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as parquet
import pytest
from adbc_driver_manager import Error as AdbcError
from conftest import Server, run

PASSWORD = "correct horse"


class Granted:
    """A server with `root`, the reader `ada` who sees field 7 without names, and the writer `walter` of the schema `staging`."""

    def __init__(self, folder):
        (folder / "pintail.toml").write_text('[auth]\nanonymous = "off"\n')
        for name, role in [("root", "admin"), ("ada", "reader"), ("walter", "writer")]:
            run(
                *("user", "add", name, "--role", role, "--database", "pintail.duckdb"),
                cwd=folder,
                env={"PINTAIL_NEW_PASSWORD": PASSWORD},
            )
        self.folder = folder
        self.server = Server(folder, "--config", "pintail.toml")
        with self.connect("root") as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE wells AS SELECT i % 10 AS field_code, 'secret' || i AS name, i::DOUBLE AS oil FROM range(1000) r(i)"
            )
            cursor.execute("CREATE SCHEMA staging")
        self.cli("grant", "read", "--on", "main.wells", "--to", "ada", "--where", "field_code = 7", "--hide", "name")
        self.cli("grant", "read,ingest,define", "--on", "staging.*", "--to", "walter")

    def cli(self, *arguments, user="root", check=True):
        environment = {"PINTAIL_SERVER": self.server.uri, "HOME": str(self.folder)}
        environment |= {"PINTAIL_USER": user, "PINTAIL_PASSWORD": PASSWORD}
        return run(*arguments, env=environment, check=check)

    def connect(self, name) -> dbapi.Connection:
        login = {"username": name, "password": PASSWORD}
        return dbapi.connect(self.server.uri, login, autocommit=True)

    def flight(self, name):
        client = self.server.client()
        login = client.authenticate_basic_token(name, PASSWORD)
        return client, flight.FlightCallOptions(headers=[login])


@pytest.fixture(scope="module")
def granted(tmp_path_factory):
    granted = Granted(tmp_path_factory.mktemp("granted"))
    yield granted
    granted.server.stop()


def test_a_reader_gets_the_part_of_a_table(granted):
    with granted.connect("ada") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM wells ORDER BY oil")
        table = cursor.fetch_arrow_table()
        assert table.column_names == ["field_code", "oil"]
        assert set(table["field_code"].to_pylist()) == {7} and table.num_rows == 100
        cursor.execute("SELECT count(*) FROM wells WHERE oil > ? AND field_code = ?", (500.0, 7))
        assert cursor.fetchone() == (50,)
        for sql in ["SELECT name FROM wells", "SELECT * FROM pintail_internal.grants", "DELETE FROM wells"]:
            with pytest.raises(AdbcError) as refused:
                cursor.execute(sql)
                cursor.fetchall()
            assert "secret" not in str(refused.value)
        assert polars.read_database("SELECT sum(oil) AS oil FROM wells", connection)["oil"][0] == 50200.0
        objects = connection.adbc_get_objects(depth="columns").read_all().to_pylist()
        assert "staging" not in str(objects)
        names = [c["column_name"] for d in objects for s in d["catalog_db_schemas"] for t in s["db_schema_tables"] for c in t["table_columns"]]
        assert sorted(names) == ["field_code", "oil"]
    client, options = granted.flight("ada")
    paths = [info.descriptor.path for info in client.list_flights(options=options)]
    assert paths == [[b"pintail", b"main", b"wells"]]
    info = client.get_flight_info(flight.FlightDescriptor.for_path("main", "wells"), options)
    assert info.schema.names == ["field_code", "oil"] and info.total_records == -1
    assert client.do_get(info.endpoints[0].ticket, options).read_all().num_rows == 100


def test_a_writer_has_a_schema(granted):
    rows = pa.table({"a": [1, 2, 3]})
    with granted.connect("walter") as connection, connection.cursor() as cursor:
        assert cursor.adbc_ingest("t", rows, mode="create", db_schema_name="staging") == 3
        assert cursor.adbc_ingest("t", rows, mode="append", db_schema_name="staging") == 3
        cursor.execute("CREATE TABLE staging.u AS SELECT * FROM staging.t")
        cursor.execute("SELECT count(*) FROM staging.u")
        assert cursor.fetchone() == (6,)
        for work in [
            lambda: cursor.execute("SELECT * FROM wells"),
            lambda: cursor.adbc_ingest("wells", rows, mode="append", db_schema_name="main"),
            lambda: cursor.adbc_ingest("elsewhere", rows, mode="create", db_schema_name="main"),
        ]:
            with pytest.raises(AdbcError, match="(?i)not there|grant"):
                work()
    client, options = granted.flight("walter")
    writer, _ = client.do_put(flight.FlightDescriptor.for_path("main", "wells"), rows.schema, options)
    with pytest.raises(flight.FlightUnauthorizedError):
        writer.write_table(rows)
        writer.close()


def test_the_command_line_grants_lists_and_revokes(granted):
    assert "field_code = 7" in granted.cli("grants").stdout
    assert "walter" not in granted.cli("grants", user="ada").stdout
    refused = granted.cli("grant", "read", "--on", "*", "--to", "ada", user="ada", check=False)
    assert refused.returncode == 1 and "admin" in refused.stderr
    wrong = granted.cli("grant", "read", "--on", "main.wells", "--to", "ada", "--where", "nothing = 1", check=False)
    assert wrong.returncode == 1 and "nothing" in wrong.stderr
    granted.cli("grant", "read", "--on", "staging.*", "--to", "ada")
    assert granted.cli("query", "SELECT count(*) AS n FROM information_schema.schemata", "--format", "csv", user="ada").stdout
    assert "staging.*" in granted.cli("revoke", "--on", "staging.*", "--from", "ada").stdout
    denied = granted.cli("query", "FROM staging.t", user="ada", check=False)
    assert denied.returncode == 1 and "pintail grant read" in denied.stderr


def test_parameters_over_a_part(granted):
    """Parameters whose type nothing says, over a table that is granted in part, as over a whole one."""
    with granted.connect("ada") as connection, connection.cursor() as cursor:
        for sql, values, rows in [
            ("SELECT count(*) FROM wells WHERE ? IS NULL OR oil = ?", (None, 7.0), [(100,)]),
            ("SELECT count(*) FROM wells WHERE oil + ? > 17", (7,), [(99,)]),
            ("SELECT ? AS tag, oil FROM wells WHERE oil = 7", ("x",), [("x", 7.0)]),
            ("SELECT count(*) FROM wells WHERE date_trunc(?, DATE '2020-01-05') = DATE '2020-01-01'", ("month",), [(100,)]),
            ("SELECT greatest(?, oil) AS g FROM wells WHERE oil = 7", (9.0,), [(9.0,)]),
            ("SELECT count(*) FROM wells WHERE list_contains(?, oil)", ([7.0, 17.0],), [(2,)]),
            ("SELECT oil FROM wells ORDER BY oil LIMIT ? OFFSET ?", (1, 1), [(17.0,)]),
        ]:
            cursor.execute(sql, values)
            assert cursor.fetchall() == rows, sql


def test_a_part_is_read_through_one_endpoint(granted):
    client, options = granted.flight("ada")
    wide = flight.FlightCallOptions(headers=[*options_headers(granted, "ada"), (b"pintail-endpoints", b"4")])
    for descriptor in [flight.FlightDescriptor.for_command(b"SELECT * FROM wells"), flight.FlightDescriptor.for_path("main", "wells")]:
        info = client.get_flight_info(descriptor, wide)
        assert len(info.endpoints) == 1
        assert client.do_get(info.endpoints[0].ticket, options).read_all().num_rows == 100


def options_headers(granted, name):
    return [granted.server.client().authenticate_basic_token(name, PASSWORD)]


def test_grants_by_the_command_line_say_whom_they_hold(granted):
    nobody = granted.cli("grant", "read", "--on", "main.wells", "--to", "adda", check=False)
    assert nobody.returncode == 1 and "adda" in nobody.stderr and "--new-user" in nobody.stderr
    told = granted.cli("grant", "read", "--on", "main.wells", "--to", "adda", "--new-user").stdout
    assert "there is no user adda" in told
    granted.cli("revoke", "--on", "main.wells", "--from", "adda")
    told = granted.cli("grant", "read", "--on", "main.wells", "--to", "walter", "--hide", "name,oil").stdout
    assert "walter, a writer, has 2 grants now" in told
    row = next(line for line in granted.cli("grants").stdout.splitlines() if line.startswith("walter") and "wells" in line)
    assert "name,oil" in row
    own = granted.cli("grants", user="walter").stdout
    assert "main.wells" in own and "in part" in own and "name,oil" not in own
    granted.cli("revoke", "--on", "wells", "--from", "walter")
    wrong = granted.cli("grant", "read", "--on", "main.wells", "--to", "ada", "--where", "field_code = $1", check=False)
    assert wrong.returncode == 1 and "parameter" in wrong.stderr


def test_the_last_admin_stays(granted):
    for change in [("user", "role", "root", "reader"), ("user", "remove", "root")]:
        last = granted.cli(*change, check=False)
        assert last.returncode == 1 and "--force" in last.stderr
    database = granted.folder / "alone.duckdb"
    environment = {"PINTAIL_NEW_PASSWORD": PASSWORD}
    run("user", "add", "only", "--role", "admin", "--database", str(database), env=environment)
    refused = run("user", "remove", "only", "--database", str(database), env=environment, check=False)
    assert refused.returncode == 1 and "last admin" in refused.stderr
    run("user", "remove", "only", "--force", "--database", str(database), env=environment)


def test_new_files_are_their_users_alone(granted):
    with granted.connect("root") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE logged AS SELECT 1 AS a")
    files = [file for file in granted.folder.iterdir() if file.name.startswith("pintail.duckdb") and file.is_file()]
    assert "pintail.duckdb.wal" in [file.name for file in files]
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}


def test_a_writer_loads_files_each_once(granted, tmp_path):
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"a": [1, 2, 3]}), file)
    granted.cli("load", str(file), "--table", "main.of_root")
    for told in ["loaded 3 rows", "loaded 0 rows"]:
        assert told in granted.cli("load", str(file), "--table", "staging.loaded", user="walter").stdout
    assert granted.cli("load", str(file), "--table", "main.of_root", user="walter", check=False).returncode == 1
    known = "SELECT DISTINCT table_name FROM pintail_internal.load_ledger"
    with granted.connect("walter") as connection, connection.cursor() as cursor:
        cursor.execute(known)
        assert cursor.fetchall() == [("staging.loaded",)]
    with granted.connect("ada") as connection, connection.cursor() as cursor, pytest.raises(AdbcError):
        cursor.execute(known)
    # One who holds no grants loads into any table.
    environment = {"PINTAIL_SERVER": granted.server.uri, "HOME": str(granted.folder), "PINTAIL_USER": "root"}
    run("user", "add", "wim", "--role", "writer", env={**environment, "PINTAIL_PASSWORD": PASSWORD, "PINTAIL_NEW_PASSWORD": PASSWORD})
    for told in ["loaded 3 rows", "loaded 0 rows"]:
        assert told in granted.cli("load", str(file), "--table", "main.of_wim", user="wim").stdout
