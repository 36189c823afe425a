"""`pintail.load`: the server reads files of its own machine, from the directories that its operator allows."""

import json

import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as parquet
import pytest

from conftest import Server, query, run


@pytest.fixture
def loading(tmp_path):
    allowed = tmp_path / "exports"
    (allowed / "year=2026").mkdir(parents=True)
    for number in range(3):
        table = pa.table({"id": range(number * 1000, number * 1000 + 1000), "name": [f"well {number}"] * 1000})
        parquet.write_table(table, allowed / "year=2026" / f"{number}.parquet", row_group_size=250)
    (tmp_path / "secret.csv").write_text("id\n1\n")
    server = Server(tmp_path, env={"PINTAIL_INGEST__LOAD_DIRECTORIES": json.dumps([str(allowed)])})
    yield server
    server.stop()


def load(client, **body) -> list[dict]:
    action = flight.Action("pintail.load", json.dumps(body).encode())
    return [json.loads(result.body.to_pybytes()) for result in client.do_action(action)]


def test_a_folder_is_loaded_as_pintail_load_does_it(loading):
    client = loading.client()
    *told, last = load(client, paths=["."], table="wells")
    assert (last["rows"], last["files"], last["durable"]) == (3000, 3, True)
    assert told[-1] == {"progress": {"rows": 3000, "of": 3000}}
    found = query(client, "SELECT count(*) AS n, max(year) AS year FROM wells").to_pylist()
    assert found == [{"n": 3000, "year": 2026}]
    # The same files by the command line: all of them are there.
    done = run("load", "exports", "--table", "wells", "--server", loading.uri, cwd=loading.folder)
    assert "3 of 3 files were there already" in done.stdout
    assert load(client, paths=["year=2026/*.parquet"], table="wells")[-1]["left_out"] == 3


def test_what_lies_elsewhere_is_refused(loading):
    client = loading.client()
    for path in ["../secret.csv", str(loading.folder / "secret.csv"), "/etc/passwd"]:
        with pytest.raises(flight.FlightUnauthorizedError, match="ingest.load_directories"):
            load(client, paths=[path], table="wells")

