"""Results in several endpoints, as clients read them."""

import time

import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as flight

HEADER = "adbc.flight.sql.rpc.call_header.pintail-endpoints"
ROWS = 2_000_000
SQL = f"SELECT range AS n, repeat('x', 40) AS s FROM range({ROWS})"


def connect(server, count: int):
    return server.connect(db_kwargs={HEADER: str(count)})



def assert_all(column: pa.ChunkedArray):
    assert len(column) == ROWS
    assert pc.count_distinct(column).as_py() == ROWS
    assert pc.sum(column).as_py() == ROWS * (ROWS - 1) // 2


def test_adbc_reads_all_endpoints(server):
    with connect(server, 4) as connection:
        with connection.cursor() as cursor:
            assert_all(cursor.execute(SQL).fetch_arrow_table()["n"])
            assert_all(cursor.execute(f"{SQL} WHERE n >= ?", (0,)).fetch_arrow_table()["n"])
            ordered = cursor.execute(f"{SQL} ORDER BY n DESC").fetch_arrow_table()["n"]
            assert ordered[0].as_py() == ROWS - 1 and ordered[-1].as_py() == 0
            partitions, schema = cursor.adbc_execute_partitions(SQL)
            assert len(partitions) == 4 and schema.names == ["n", "s"]
            parts = []
            for partition in partitions:
                cursor.adbc_read_partition(partition)
                parts.append(cursor.fetch_arrow_table())
            assert_all(pa.concat_tables(parts)["n"])
            cursor.execute("CREATE TABLE t (a INTEGER)")
            cursor.execute("INSERT INTO t VALUES (1), (2)")
            assert cursor.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_adbc_cancels_all_endpoints(server):
    with connect(server, 4) as connection, connection.cursor() as cursor:
        reader = cursor.execute("SELECT range AS n FROM range(5000000000)").fetch_record_batch()
        reader.read_next_batch()
        reader.close()
    client = server.client()
    until = time.monotonic() + 10
    while b'"running":0' not in next(client.do_action(flight.Action("pintail.status", b""))).body.to_pybytes():
        assert time.monotonic() < until, "the query goes on"


def test_polars_reads_all_endpoints(server):
    with connect(server, 3) as connection:
        assert_all(polars.read_database(SQL, connection).to_arrow()["n"])


def test_pyarrow_reads_endpoints_one_after_another(server):
    client = server.client()
    options = flight.FlightCallOptions(headers=[(b"pintail-endpoints", b"4")])
    info = client.get_flight_info(flight.FlightDescriptor.for_command(SQL), options)
    assert len(info.endpoints) == 4 and not info.ordered
    parts = [client.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints]
    assert all(part.schema == info.schema for part in parts)
    assert_all(pa.concat_tables(parts)["n"])
