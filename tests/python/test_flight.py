"""pyarrow.flight, polars and pandas against a real server."""

import threading
import time

import pandas
import polars
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from conftest import Server, put, query


def wells(rows: int) -> pa.Table:
    numbers = pa.array(range(rows), pa.int64())
    return pa.table(
        {
            "id": numbers,
            "well": pa.array([None if n % 7 == 0 else f"well {n} ü" for n in range(rows)]),
            "kbd": pa.array([n * 0.5 for n in range(rows)]),
            "at": numbers.cast(pa.timestamp("us", tz="UTC")),
        }
    )


def test_a_table_comes_back_equal(server):
    client = server.client()
    table = wells(300_000)
    answer = put(client, "wells", table)
    assert answer == {"table": "wells", "rows": 300_000, "durable": True, "duplicate": False}
    assert query(client, "SELECT * FROM wells").equals(table)
    by_path = client.get_flight_info(flight.FlightDescriptor.for_path("wells"))
    assert by_path.schema.equals(table.schema)
    assert client.do_get(by_path.endpoints[0].ticket).read_all().equals(table)
    # A command's own bytes are a ticket as well, and save a round trip.
    assert client.do_get(flight.Ticket(b"SELECT * FROM wells")).read_all().equals(table)


def test_every_type_comes_back_equal(server):
    import datetime
    import decimal
    import uuid

    table = pa.table(
        {
            "b": pa.array([True, None, False]),
            **{f"i{w}": pa.array([1, None, 3], getattr(pa, f"int{w}")()) for w in (8, 16, 32, 64)},
            **{f"u{w}": pa.array([1, None, 3], getattr(pa, f"uint{w}")()) for w in (8, 16, 32, 64)},
            "f32": pa.array([1.5, None, float("inf")], pa.float32()),
            "f64": pa.array([1.5, None, -0.0]),
            "dec": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-9.99")], pa.decimal128(10, 2)),
            "dec38": pa.array([decimal.Decimal("1e20"), None, decimal.Decimal(-1)], pa.decimal128(38, 4)),
            "s": pa.array(["a", None, ""]),
            "bin": pa.array([b"\x00\xff", None, b""]),
            "d": pa.array([datetime.date(2020, 2, 29), None, datetime.date(1, 1, 1)]),
            "t": pa.array([datetime.time(23, 59, 59, 999999), None, datetime.time(0)], pa.time64("us")),
            **{f"ts_{u}": pa.array([1, None, -1], pa.timestamp(u)) for u in ("s", "ms", "us", "ns")},
            "tz": pa.array([1, None, -1], pa.timestamp("us", tz="UTC")),
            "l": pa.array([[1, None], None, []], pa.list_(pa.int32())),
            "st": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": None}]),
            "m": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "ll": pa.array([[["x"], []], None, [None]], pa.list_(pa.list_(pa.string()))),
            "fsl": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2)),
            "null": pa.nulls(3, pa.string()),
        }
    )
    client = server.client()
    put(client, "types", table)
    found = query(client, "SELECT * FROM types")
    for name in table.column_names:
        assert found[name].to_pylist() == table[name].to_pylist(), name
        if name != "m":  # names of a map's inner fields differ between implementations
            assert found.schema.field(name).type.equals(table.schema.field(name).type), name
    # Sliced input: offsets are honoured in every type.
    put(client, "sliced", table.slice(1, 2))
    found = query(client, "SELECT * FROM sliced")
    for name in table.column_names:
        assert found[name].to_pylist() == table[name].slice(1, 2).to_pylist(), name


def test_encodings_of_one_value_are_stored_alike(server):
    words = pa.array(["oil", None, "gas", "oil"])
    client = server.client()
    for name, column in {
        "plain": words,
        "large": words.cast(pa.large_string()),
        "view": words.cast(pa.string_view()),
        "dictionary": words.dictionary_encode(),
        "run_end": pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3, 4], pa.int32()), words),
    }.items():
        put(client, name, pa.table({"w": column}))
        assert query(client, f"SELECT w FROM {name}")["w"].to_pylist() == words.to_pylist(), name


def test_polars_and_pandas_frames(server):
    client = server.client()
    frame = polars.DataFrame({"well": ["a", "b", None], "kbd": [1.5, None, 3.0]})
    put(client, "frames", frame.to_arrow())
    assert polars.from_arrow(query(client, "FROM frames")).equals(frame)
    pandas_frame = pandas.DataFrame({"n": [1, 2], "when": pandas.to_datetime(["2020-01-01", "2021-01-01"])})
    put(client, "pandas_frames", pa.Table.from_pandas(pandas_frame))
    back = query(client, "FROM pandas_frames").to_pandas()
    pandas.testing.assert_frame_equal(back, pandas_frame, check_dtype=False)


def test_errors_reach_python_with_their_kind(server):
    client = server.client()
    put(client, "wells", wells(10))
    with pytest.raises(pa.ArrowInvalid, match="SELEC"):
        query(client, "SELEC 1")
    with pytest.raises(pa.ArrowKeyError, match="nowhere"):
        query(client, "FROM nowhere")
    with pytest.raises(pa.ArrowKeyError, match="unknown or expired ticket"):
        client.do_get(flight.Ticket(b"\0pintail\x01" + bytes(16))).read_all()
    with pytest.raises(pa.ArrowInvalid, match='column "well" is VARCHAR .* BIGINT'):
        put(client, "wells", pa.table({"well": [1]}))
    with pytest.raises(pa.ArrowInvalid, match='no column "depth"'):
        # Enough rows that the refusal comes while the client is still sending.
        put(client, "wells", pa.table({"depth": pa.array(range(5_000_000), pa.int64())}))
    with pytest.raises(pa.ArrowNotImplementedError):
        list(client.do_action(flight.Action("pintail.nothing", b"")))
    assert query(client, "SELECT count(*) AS n FROM wells")["n"].to_pylist() == [10]


def test_list_flights_and_actions(server):
    client = server.client()
    put(client, "wells", wells(1_000))
    (found,) = client.list_flights()
    assert found.descriptor.path[-1] == b"wells" and found.total_records == 1_000
    assert client.do_get(found.endpoints[0].ticket).read_all().num_rows == 1_000
    assert {action.type for action in client.list_actions()} >= {"pintail.status", "pintail.checkpoint"}
    (answer,) = client.do_action(flight.Action("pintail.checkpoint", b""))
    assert b"wal_bytes" in answer.body.to_pybytes()


def test_acknowledged_rows_survive_kill_9(tmp_path):
    import signal

    server = Server(tmp_path)
    table = wells(200_000)
    put(server.client(), "wells", table)
    server.stop(signal.SIGKILL)
    server = Server(tmp_path)
    try:
        assert query(server.client(), "FROM wells").equals(table)
    finally:
        server.stop()


def test_sigterm_lets_a_put_finish_and_a_second_one_forces(tmp_path):
    import signal

    server = Server(tmp_path)
    client = server.client()
    table = wells(1_000)
    writer, reader = client.do_put(flight.FlightDescriptor.for_path("wells"), table.schema)
    writer.write_table(table)
    # The server knows of the put when it counts the stream.
    other = server.client()
    deadline = time.monotonic() + 30
    while b'"streams":1' not in next(other.do_action(flight.Action("pintail.status", b""))).body.to_pybytes():
        assert time.monotonic() < deadline
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(Exception):
        while time.monotonic() < deadline:
            flight.connect(server.uri).list_flights(options=flight.FlightCallOptions(timeout=1)).__next__()
    writer.write_table(table)
    writer.done_writing()
    assert b'"rows":2000' in reader.read().to_pybytes()
    writer.close()
    assert server.process.wait(30) == 0
    assert not (tmp_path / "pintail.duckdb.wal").exists()

    server = Server(tmp_path)
    endless = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
    outcome = []

    def wait_for_ever():
        try:
            server.client().do_get(flight.Ticket(endless)).read_all()
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=wait_for_ever)
    thread.start()
    other = server.client()
    while b'"running":1' not in next(other.do_action(flight.Action("pintail.status", b""))).body.to_pybytes():
        assert time.monotonic() < deadline
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    thread.join(10)
    assert outcome


def test_memory_stays_flat_while_a_slow_client_reads(server):
    def peak() -> int:
        text = open(f"/proc/{server.pid}/status").read()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024

    client = server.client()

    def read(rows: int):
        sql = f"SELECT range AS n, 'row number ' || range AS s FROM range({rows})"
        seen = 0
        for chunk in client.do_get(flight.Ticket(sql.encode())):
            seen += chunk.data.num_rows
            time.sleep(0.002)
        assert seen == rows

    read(300_000)
    small = peak()
    read(6_000_000)
    assert peak() - small < 64 << 20
