"""One client in a process of its own, for one measurement: what an earlier one did to its allocator cannot help it.

    python client.py '{"protocol": "flight", "at": "grpc://...", "do": "read", ...}'

Opens what it needs, prints `ready`, waits for a line on standard input, does its work and prints what it saw as JSON. Runs
in the environment of its side: what an environment lacks is imported by the protocols that need it alone.
"""

import importlib
import json
import random
import statistics
import sys
import time
from pathlib import Path

import pyarrow as pa

from quack import load_extensions

POINT = "SELECT id, name, price, amount FROM points WHERE id = "


class InProcess:
    """DuckDB in this process. A file that others read too is opened to read."""

    needs = ("duckdb",)

    def __init__(self, at: str, read_only=False, **_):
        duckdb = sys.modules["duckdb"]
        self.connection = duckdb.connect(at, read_only=read_only)

    def create(self, table: str, batches) -> None:
        empty = batches[0].slice(0, 0)  # noqa: F841, read by the statement below
        self.connection.execute(f"CREATE TABLE IF NOT EXISTS {table} AS FROM empty")

    def put(self, table: str, batches) -> None:
        rows = pa.Table.from_batches(batches)  # noqa: F841, read by the statement below
        self.connection.execute(f"INSERT INTO {table} FROM rows")

    def put_row(self, table: str, row: tuple) -> None:
        # Faster than one row of Arrow.
        self.connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def read(self, sql: str):
        return self.connection.sql(sql).to_arrow_reader(65_536)

    def text(self, sql: str, key: int) -> pa.Table:
        return self.connection.sql(f"{sql}{key}").to_arrow_table()

    def prepared(self, sql: str, key: int) -> pa.Table:
        return self.connection.sql(f"{sql}?", params=[key]).to_arrow_table()


class Quack(InProcess):
    """DuckDB 1.5.5 with the server's database attached."""

    def __init__(self, at: str, **_):
        super().__init__(":memory:")
        load_extensions(self.connection)
        self.at = at.removeprefix("quack://")
        self.connection.execute("CREATE SECRET (TYPE quack, TOKEN 'bench')")
        self.connection.execute(f"ATTACH 'quack:{self.at}' AS remote")

    def create(self, table: str, batches) -> None:
        super().create(f"remote.{table}", batches)

    def put(self, table: str, batches) -> None:
        super().put(f"remote.{table}", batches)

    def put_row(self, table: str, row: tuple) -> None:
        super().put_row(f"remote.{table}", row)

    def read(self, sql: str):
        # A scan of the attached table, which is how it reads many rows fastest.
        return super().read(sql.replace("FROM ", "FROM remote."))

    def text(self, sql: str, key: int) -> pa.Table:
        # The whole statement at the server, which answers one row sooner than an attached table does.
        return self.connection.sql(f"FROM quack_query('quack:{self.at}', '{sql}{key}')").to_arrow_table()


class Flight:
    """pyarrow.flight, whose transport is C++: DoGet with the statement as its ticket, DoPut to a path."""

    needs = ("pyarrow.flight",)

    def __init__(self, at: str, headers=None, ca=None, user=None, password=None, **_):
        self.flight = flight = sys.modules["pyarrow.flight"]
        self.client = flight.connect(at, **({"tls_root_certs": Path(ca).read_bytes()} if ca else {}))
        encoded = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if user:
            encoded.append(self.client.authenticate_basic_token(user, password))
        self.options = flight.FlightCallOptions(headers=encoded)

    def create(self, table: str, batches) -> None:
        """The put itself does."""

    def put(self, table: str, batches) -> None:
        descriptor = self.flight.FlightDescriptor.for_path(table)
        writer, answers = self.client.do_put(descriptor, batches[0].schema, self.options)
        with writer:
            for batch in batches:
                writer.write_batch(batch)
            writer.done_writing()
            answers.read()

    def read(self, sql: str):
        for chunk in self.client.do_get(self.flight.Ticket(sql.encode()), self.options):
            yield chunk.data

    def text(self, sql: str, key: int) -> pa.Table:
        return self.client.do_get(self.flight.Ticket(f"{sql}{key}".encode())).read_all()


class Adbc:
    """The Flight SQL driver of ADBC, which is Go."""

    needs = ("adbc_driver_flightsql.dbapi",)

    def __init__(self, at: str, headers=None, **_):
        dbapi = sys.modules["adbc_driver_flightsql.dbapi"]
        options = {f"adbc.flight.sql.rpc.call_header.{name}": value for name, value in (headers or {}).items()}
        self.connection = dbapi.connect(at, db_kwargs=options, autocommit=True)
        self.cursor = self.connection.cursor()

    def read(self, sql: str):
        return self.cursor.execute(sql).fetch_record_batch()

    def text(self, sql: str, key: int) -> pa.Table:
        return self.cursor.execute(f"{sql}{key}").fetch_arrow_table()

    def direct(self, sql: str, key: int) -> pa.Table:
        """Text without a prepared statement around it: two calls."""
        self.cursor.adbc_statement.set_sql_query(f"{sql}{key}")
        stream, _ = self.cursor.adbc_statement.execute_query()
        return pa.RecordBatchReader._import_from_c(stream.address).read_all()

    def prepared(self, sql: str, key: int) -> pa.Table:
        row = pa.record_batch([pa.array([key])], names=["1"])
        return self.cursor.execute(f"{sql}?", row).fetch_arrow_table()


PROTOCOLS = {"in process": InProcess, "quack": Quack, "flight": Flight, "adbc": Adbc}


def ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def peak() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def read(side, sql: str, pause=0.0, warm=False, **_) -> dict:
    """Reads a result batch by batch; with `warm` once more before the clock runs."""
    if warm:
        for _ in side.read(sql):
            pass
    ready()
    started = time.perf_counter()
    first, rows, size, batches = None, 0, 0, 0
    for batch in side.read(sql):
        first = first or time.perf_counter() - started
        rows, size, batches = rows + batch.num_rows, size + batch.nbytes, batches + 1
        if pause:
            time.sleep(pause)
    return {"seconds": time.perf_counter() - started, "first": first, "rows": rows, "bytes": size, "batches": batches}


def count(side, table: str, **_) -> dict:
    """Rows of a table."""
    ready()
    (number,) = (batch.column(0)[0].as_py() for batch in side.read(f"SELECT count(*) AS n FROM {table}") if batch.num_rows)
    return {"count": number}


def put(side, table: str, file: str, part=0, parts=1, **_) -> dict:
    """Puts an Arrow file, or a part of its batches, held in memory before the clock runs."""
    with open(file, "rb") as opened:
        reader = pa.ipc.open_file(pa.BufferReader(opened.read()))
    batches = [reader.get_batch(n) for n in range(part, reader.num_record_batches, parts)]
    side.create(table, batches)
    ready()
    started = time.perf_counter()
    side.put(table, batches)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": sum(batch.num_rows for batch in batches)}


def small(side, table: str, rows: int, seconds: float, seed: int, **_) -> dict:
    """Puts of a few rows, one after the other, each acknowledged before the next."""
    ids = pa.array(range(seed * 10**9, seed * 10**9 + rows), pa.int64())
    batch = pa.record_batch({"id": ids, "well": pa.array([f"well {n % 100}" for n in range(rows)]), "kbd": pa.array([0.5] * rows)})
    side.create(table, [batch])
    row = tuple(column[0].as_py() for column in batch.columns)
    put_once = (lambda: side.put_row(table, row)) if rows == 1 and hasattr(side, "put_row") else (lambda: side.put(table, [batch]))
    ready()
    took, started = [], time.perf_counter()
    while not took or time.perf_counter() < started + seconds:
        before = time.perf_counter()
        put_once()
        took.append(time.perf_counter() - before)
    return {"took": took, "rows": rows * len(took), "seconds": time.perf_counter() - started}


def point(side, way: str, rows: int, seconds: float, checked=True, **_) -> dict:
    """Rows looked up by a key, another one each time."""
    look, picks = getattr(side, way), random.Random(7)

    def run_for(seconds: float) -> list:
        took, end = [], time.perf_counter() + seconds
        while (before := time.perf_counter()) < end:
            key = picks.randrange(rows)
            found = look(POINT, key)
            took.append(time.perf_counter() - before)
            if found.num_rows != 1 or checked and found["id"][0].as_py() != key:
                raise ValueError(f"{found.num_rows} rows for the key {key}: {found}")
        return took

    run_for(min(0.5, seconds))
    ready()
    return {"took": run_for(seconds)}


def started(protocol, at: str, times=40, **_) -> dict:
    """From nothing to the first row, one connection after the other: what a short-lived client waits for."""

    def once() -> None:
        side = protocol(at)
        if sum(batch.num_rows for batch in side.read("SELECT 42 AS answer")) != 1:
            raise ValueError("SELECT 42 has not one row")

    ready()
    return {"seconds": middle_of(times, once)}


def ticket(side, times=200, **_) -> dict:
    """GetFlightInfo and DoGet, the least that a client can ask for."""
    descriptor = side.flight.FlightDescriptor.for_command(b"SELECT 42 AS answer")
    ready()
    return {"seconds": middle_of(times, lambda: side.client.do_get(side.client.get_flight_info(descriptor).endpoints[0].ticket).read_all())}


def listed(side, times=3, **_) -> dict:
    """ListFlights, all of them."""
    count = sum(1 for _ in side.client.list_flights())
    ready()
    return {"seconds": middle_of(times, lambda: sum(1 for _ in side.client.list_flights())), "count": count}


def objects(side, times=2, **_) -> dict:
    """GetObjects: catalogs, schemas, tables and columns."""
    ready()
    return {"seconds": middle_of(times, lambda: side.connection.adbc_get_objects().read_all())}


def middle_of(times: int, work) -> float:
    """Median of seconds."""
    took = []
    for _ in range(times):
        before = time.perf_counter()
        work()
        took.append(time.perf_counter() - before)
    return statistics.median(took)


DO = {"listed": listed, "ticket": ticket, "objects": objects, "read": read, "count": count, "put": put, "small": small, "point": point}


def main() -> None:
    work = json.loads(sys.argv[1])
    protocol = PROTOCOLS[work.pop("protocol")]
    for module in protocol.needs:
        importlib.import_module(module)
    found = started(protocol, **work) if work["do"] == "started" else DO[work["do"]](protocol(**work), **work)
    print(json.dumps({**found, "peak": peak()}), flush=True)


if __name__ == "__main__":
    main()
