"""Declared tables as a person meets them: check, plan, apply, show, a start that is refused, comments in clients."""

import json

import pyarrow as pa
import pyarrow.flight as flight
import pytest
from conftest import REPOSITORY, Server, put, query, run

ORDERS = """
description = "Orders, one row each"
primary_key = ["id"]

[[field]]
name = "id"
type = "int32"
description = "Number of the order"

[[field]]
name = "state"
type = "string"
default = "new"
is_indexed = true
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "orders.toml").write_text(ORDERS)
    return folder


def test_check_needs_no_server_and_says_everything_at_once(tmp_path, folder):
    shown = run("schema", "check", REPOSITORY / "schemas").stdout
    assert "well_production: 14 columns, key (field_code, well_code, production_period)" in shown
    assert "well_production_production_period_index" in shown and "2 tables declared" in shown
    (folder / "orders.toml").write_text(ORDERS.replace("int32", "int33").replace("is_indexed", "indexed"))
    (folder / "copy.toml").write_text('name = "orders"\nprimary_key = ["nr"]\n[[field]]\nname = "a"\ntype = "int8"\ndefault = "x"\n')
    done = run("schema", "check", folder, check=False)
    assert done.returncode == 2 and done.stdout == ""
    for part in [
        "4 problems in the declarations",
        'orders.toml:7: field "id".type: unknown type "int33"; did you mean "int32"?',
        'orders.toml:14: field "state": unknown key "indexed"; did you mean "is_indexed"?',
        'copy.toml:2: primary_key: there is no field "nr"',
        'copy.toml:6: field "a".default: expected a whole number from -128 to 127 for int8, found "x"',
    ]:
        assert part in done.stderr, done.stderr
    assert run("schema", "check", tmp_path / "nothing", check=False).returncode == 2
    (tmp_path / "empty").mkdir()
    assert "no .toml file" in run("schema", "check", tmp_path / "empty", check=False).stderr


def test_a_table_is_planned_applied_changed_and_shown(server, folder):
    at = ["--server", server.uri]
    plan = run("schema", "plan", folder, *at).stdout
    assert "orders: create, version 1" in plan and "+ column state string default \"new\"" in plan
    assert "1 to create" in plan and "+ index on state" in plan
    assert run("tables", *at).stdout.startswith("no tables yet")
    assert "applied in one transaction" in run("schema", "apply", folder, *at).stdout
    assert "orders: as declared, version 1" in run("schema", "plan", folder, *at).stdout
    assert "1 declared: orders (v1)" in run("status", *at).stdout
    # A first producer; then the table grows, and the producer of the older shape goes on.
    older = pa.table({"id": pa.array([1, 2], pa.int32()), "state": ["paid", "new"]})
    put(server.client(), "orders", older, "append")
    wider = ORDERS.replace("int32", "int64") + '\n[[field]]\nname = "note"\ntype = "string"\n'
    (folder / "orders.toml").write_text(wider)
    plan = run("schema", "plan", folder, *at).stdout
    assert "~ column id int32 → int64, where every value fits" in plan
    assert "+ column note string, NULL in the 2 rows that are there" in plan and "version 1 → 2" in plan
    run("schema", "apply", folder, *at)
    assert query(server.client(), "SELECT id, state, note FROM orders ORDER BY id").to_pylist() == [
        {"id": 1, "state": "paid", "note": None},
        {"id": 2, "state": "new", "note": None},
    ]
    # What loses something is refused, with the reason and a way; allowed, it says what is lost.
    (folder / "orders.toml").write_text(wider.replace('name = "note"', 'name = "remark"'))
    refused = run("schema", "apply", folder, *at, check=False)
    assert refused.returncode == 1 and "nothing was changed" in refused.stderr
    assert '! drop column note VARCHAR' in refused.stdout and 'a rename is a drop and an add' in refused.stdout
    assert "--allow-breaking" in refused.stdout
    assert "note" in query(server.client(), "FROM orders").column_names
    done = run("schema", "apply", folder, *at, "--allow-breaking").stdout
    assert "breaking: the values of note in 2 rows are lost" in done
    assert query(server.client(), "FROM orders").column_names == ["id", "state", "remark"]
    versions = query(server.client(), "SELECT version FROM pintail_internal.schema_versions ORDER BY 1")
    assert versions["version"].to_pylist() == [1, 2, 3]
    # The table shown is the declaration, and an undeclared one can be adopted.
    (folder / "shown.toml").write_text(run("schema", "show", "orders", *at).stdout)
    (folder / "orders.toml").unlink()
    assert "orders: as declared, version 3" in run("schema", "plan", folder, *at).stdout
    query(server.client(), "CREATE TABLE old (a BIGINT, h \"NULL\", b TIMESTAMPTZ NOT NULL)")
    shown = run("schema", "show", "old", *at).stdout
    assert '# column "h" is left out: no Arrow type stands for "NULL"' in shown
    (folder / "old.toml").write_text(shown)
    assert "old: as declared, version 1" in run("schema", "plan", folder, *at).stdout
    assert run("schema", "show", "missing", *at, check=False).returncode == 1


def test_a_database_file_is_worked_on_without_a_server(tmp_path, folder):
    file = tmp_path / "some.duckdb"
    assert "1 to create" in run("schema", "plan", folder, "--database", file).stdout
    assert not file.exists()
    run("schema", "apply", folder, "--database", file)
    assert 'name = "orders"' in run("schema", "show", "ORDERS", "--database", file).stdout
    (folder / "orders.toml").write_text(ORDERS.replace("int32", "string"))
    refused = run("schema", "plan", folder, "--database", file, check=False)
    assert refused.returncode == 1 and "another kind of value" in refused.stdout
    assert run("schema", "show", "orders", "--database", tmp_path / "no.duckdb", check=False).returncode == 2


def test_a_start_takes_the_folder_or_refuses_it_whole(tmp_path, folder):
    server = Server(tmp_path, "--schemas", str(folder))
    assert "orders" in run("tables", "--server", server.uri).stdout
    assert server.stop() == 0
    before = (tmp_path / "pintail.duckdb").read_bytes()
    (folder / "orders.toml").write_text(ORDERS.replace("int32", "int8"))
    (folder / "more.toml").write_text('[[field]]\nname = "a"\ntype = "int8"\n')
    start = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--schemas", folder]
    refused = run(*start, cwd=tmp_path, check=False)
    assert refused.returncode == 2 and "it narrows the column" in refused.stderr, refused.stderr
    assert "more: create" in refused.stderr and (tmp_path / "pintail.duckdb").read_bytes() == before
    (folder / "more.toml").write_text('mode = "x"\n')
    refused = run(*start, cwd=tmp_path, check=False)
    assert refused.returncode == 2 and "2 problems" in refused.stderr, refused.stderr
    assert "schemas.dir" in run(*start[:-1], tmp_path / "nothing", cwd=tmp_path, check=False).stderr


def test_the_folder_beside_the_server_is_its_default(tmp_path, folder):
    folder.rename(tmp_path / "schemas")
    server = Server(tmp_path)
    answer = next(server.client().do_action(flight.Action("pintail.schemas", b"")))
    (table,) = json.loads(answer.body.to_pybytes())["tables"]
    assert (table["name"], table["version"], table["difference"]) == ("orders", 1, None)
    assert table["applied_at"].endswith("Z") and 'name = "id"' in table["declaration"]
    assert server.stop() == 0


def test_comments_and_keys_are_seen_by_clients(tmp_path, folder):
    server = Server(tmp_path, "--schemas", str(folder))
    try:
        with server.connect() as connection:
            found = connection.adbc_get_objects(depth="all").read_all().to_pylist()
            schemas = [schema for catalog in found for schema in catalog["catalog_db_schemas"]]
            assert "pintail_internal" not in [schema["db_schema_name"] for schema in schemas]
            (table,) = [table for schema in schemas for table in schema["db_schema_tables"]]
            assert [column["column_name"] for column in table["table_columns"]] == ["id", "state"]
            schema = connection.adbc_get_table_schema("orders")
            remarks = {field.name: (field.metadata or {}).get(b"ARROW:FLIGHT:SQL:REMARKS") for field in schema}
            assert remarks == {"id": b"Number of the order", "state": None}
            assert schema.metadata[b"ARROW:FLIGHT:SQL:REMARKS"] == b"Orders, one row each"
            assert (schema.field("id").nullable, schema.field("state").nullable) == (False, True)
        schema = server.client().get_schema(flight.FlightDescriptor.for_path("orders")).schema
        assert schema.names == ["id", "state"]
    finally:
        server.stop()
