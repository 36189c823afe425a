"""Writes the seeds that the tests damage: what real clients send, each a few hundred bytes to a few KB.

    python tests/corpus/make.py          with the packages of tests/python/requirements.txt

streams/*.arrows are IPC streams as pyarrow writes them, one batch each; commands/*.bin and actions/*.bin are what the ADBC driver sends
to a server that only writes down. Texts (*.txt) are written by hand: one seed a line, or one a paragraph.
"""

import datetime
import decimal
import re
from pathlib import Path

import adbc_driver_flightsql.dbapi as adbc
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.ipc as ipc

HERE = Path(__file__).resolve().parent
ROWS = 40


def some(values):
    """The values in turns, every seventh a NULL."""
    return [None if row % 7 == 6 else values[row % len(values)] for row in range(ROWS)]


def streams() -> dict:
    texts = some(["", "a", "field_code", "a text of more than twelve bytes", "ü"])
    day = datetime.datetime(2026, 1, 31, 10, 0, 0)
    plain = pa.table({
        "i": pa.array(some([1, -2, 2**40]), pa.int64()),
        "u": pa.array(some([0, 255]), pa.uint8()),
        "f": pa.array(some([0.5, float("nan")]), pa.float64()),
        "b": pa.array(some([True, False])),
        "d": pa.array(some([decimal.Decimal("1.50"), decimal.Decimal("-9999.99")]), pa.decimal128(9, 2)),
        "at": pa.array(some([day]), pa.timestamp("us", "Europe/Berlin")),
        "day": pa.array(some([day.date()]), pa.date32()),
        "t": pa.array(texts),
        "raw": pa.array(some([b"", b"\x00\xff"]), pa.binary()),
        "fixed": pa.array(some([b"0123456789abcdef"]), pa.binary(16)),
        "nothing": pa.nulls(ROWS),
    })
    nested = pa.table({
        "list": pa.array(some([[], [1, None], [1, 2, 3]]), pa.list_(pa.int32())),
        "large": pa.array(some([["a"], []]), pa.large_list(pa.string())),
        "fixed": pa.array(some([[1, 2]]), pa.list_(pa.int16(), 2)),
        "struct": pa.array(some([{"a": 1, "b": ["x"]}]), pa.struct([("a", pa.int8()), ("b", pa.list_(pa.string()))])),
        "map": pa.array(some([[("k", 1)], []]), pa.map_(pa.string(), pa.int64())),
        "deep": pa.array(some([[[[1]]]]), pa.list_(pa.list_(pa.list_(pa.int8())))),
    })
    words = pa.DictionaryArray.from_arrays(pa.array([row % 3 for row in range(ROWS)], pa.int8()), pa.array(["a", "bb", "ccc"]))
    inner = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array([[1, 2]], pa.list_(pa.int64())))
    ends = pa.array([10, ROWS], pa.int32())
    encoded = pa.table({
        "word": words,
        "lists": inner,
        "runs": pa.RunEndEncodedArray.from_arrays(ends, pa.array(["x", None])),
        "numbers": pa.RunEndEncodedArray.from_arrays(ends, pa.array([1.5, 2.5])),
    })
    views = pa.table({
        "text": pa.array(texts, pa.string_view()),
        "raw": pa.array(some([b"short", b"longer than twelve bytes"]), pa.binary_view()),
        "list": pa.array(some([[1, 2], []]), pa.list_view(pa.int64())),
        "large": pa.array(some([["a"]]), pa.large_list_view(pa.string_view())),
    })
    kinds = pa.array([row % 2 for row in range(ROWS)], pa.int8())
    unions = pa.table({
        "sparse": pa.UnionArray.from_sparse(kinds, [pa.array(range(ROWS)), pa.array(["x"] * ROWS)]),
        "dense": pa.UnionArray.from_dense(kinds, pa.array([0] * ROWS, pa.int32()), [pa.array([1]), pa.array(["x"])]),
    })
    return {"plain": plain, "nested": nested, "encoded": encoded, "views": views, "unions": unions}


def write_streams() -> None:
    folder = HERE / "streams"
    folder.mkdir(exist_ok=True)
    for name, table in streams().items():
        for codec in (None, "lz4", "zstd"):
            with ipc.new_stream(folder / f"{name}{'_' + codec if codec else ''}.arrows", table.schema, options=ipc.IpcWriteOptions(compression=codec)) as out:
                out.write_table(table)


class Recorder(flight.FlightServerBase):
    """Writes down what it is asked, and does nothing."""

    def __init__(self):
        super().__init__("grpc://127.0.0.1:0")
        self.kept = set()

    def _keep(self, folder, name, data):
        (HERE / folder).mkdir(exist_ok=True)
        file = HERE / folder / f"{name}.bin"
        if data and name not in self.kept:
            self.kept.add(name)
            file.write_bytes(bytes(data))
        raise flight.FlightCancelledError("written down")

    def _command(self, descriptor):
        url = re.search(rb"protocol[.]sql[.](\w+)", descriptor.command)
        self._keep("commands", url[1].decode() if url else "text", descriptor.command)

    def get_flight_info(self, context, descriptor):
        self._command(descriptor)

    def get_schema(self, context, descriptor):
        self._command(descriptor)

    def do_put(self, context, descriptor, reader, writer):
        self._command(descriptor)

    def do_action(self, context, action):
        if action.type == "CreatePreparedStatement":
            handle = b"0123456789abcdef"
            url = b"type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementResult"
            value = b"\x0a" + bytes([len(handle)]) + handle
            yield flight.Result(b"\x0a" + bytes([len(url)]) + url + b"\x12" + bytes([len(value)]) + value)
        self._keep("actions", action.type, action.body.to_pybytes())


def write_commands() -> None:
    server = Recorder()
    uri = f"grpc://127.0.0.1:{server.port}"
    rows = pa.table({"a": [1]})

    def record(ask, autocommit=True):
        try:
            with adbc.connect(uri, autocommit=autocommit) as connection, connection.cursor() as cursor:
                ask(connection, cursor)
        except (adbc_driver_manager.Error, pa.ArrowException, OSError):
            pass

    options = {"adbc.flight.sql.session.option.schema": "main", "adbc.flight.sql.session.optionbool.pintail-extension-types": "true"}
    record(lambda connection, cursor: cursor.execute("SELECT * FROM wells WHERE field_code = 7"))
    record(lambda connection, cursor: cursor.execute("SELECT ?", [1]))
    record(lambda connection, cursor: cursor.executemany("INSERT INTO t VALUES (?)", [(1,)]))
    record(lambda connection, cursor: cursor.adbc_ingest("t", rows, mode="create_append"))
    record(lambda connection, cursor: cursor.adbc_ingest("t", rows, mode="replace", db_schema_name="s"))
    record(lambda connection, cursor: connection.adbc_get_objects(depth="catalogs").read_all())
    record(lambda connection, cursor: connection.adbc_get_table_types())
    record(lambda connection, cursor: connection.adbc_get_info())
    record(lambda connection, cursor: connection.adbc_get_table_schema("wells"))
    record(lambda connection, cursor: cursor.execute("SELECT 1"), autocommit=False)
    record(lambda connection, cursor: connection.adbc_connection.set_options(**options))


if __name__ == "__main__":
    write_streams()
    write_commands()
