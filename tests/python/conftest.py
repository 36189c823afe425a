"""A real `pintail serve` process per test, on free ports, over a database in a temporary folder."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow.flight as flight
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# The module `pintail` as it stands in the checkout, here and in programs that tests start.
sys.path.insert(0, str(REPOSITORY / "python"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY / "python"), os.environ.get("PYTHONPATH")]))


def binary() -> str:
    path = os.environ.get("PINTAIL_BIN")
    if not path or not Path(path).exists():
        pytest.exit("PINTAIL_BIN names no program; run the tests with: make test", returncode=2)
    return path


class Server:
    """A server process; `uri` once it listens."""

    def __init__(self, folder: Path, *flags: str, env=None, listen="127.0.0.1:0"):
        self.folder = folder
        self.log = []
        self.process = subprocess.Popen(
            [binary(), "serve", "--listen", listen, "--http", "127.0.0.1:0", *flags],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        # The log is read all the time: a full pipe would stop the server.
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        line = self.process.stdout.readline()
        found = re.match(r"listening on (grpc(?:\+tls)?://\S+)", line)
        if not found:
            self.process.wait(30)
            self.reader.join()
            raise RuntimeError("".join(self.log))
        self.uri = found.group(1)

    def read(self):
        for line in self.process.stderr:
            self.log.append(line)
            if '"ready"' in line:
                self.ready.set()
        self.ready.set()

    @property
    def http(self) -> str:
        """Address of the HTTP port."""
        assert self.ready.wait(60)
        found = [re.search(r'"http":"(https?://[^"]+)"', line) for line in self.log]
        return next(match.group(1) for match in found if match)

    @property
    def pid(self) -> int:
        return self.process.pid

    def client(self) -> flight.FlightClient:
        return flight.connect(self.uri)

    def connect(self, **arguments) -> dbapi.Connection:
        """An ADBC connection: one TCP connection, one session. Commits every statement by itself."""
        return dbapi.connect(self.uri, **{"autocommit": True, **arguments})

    def stop(self, how=signal.SIGTERM, timeout=60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout)
        self.reader.join(10)
        return code


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def connection(server):
    with server.connect() as connection:
        yield connection


def run(*arguments: str, cwd=None, check=True, env=None) -> subprocess.CompletedProcess:
    """Runs the program to its end."""
    done = subprocess.run(
        [binary(), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(env or {})},
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def put(client: flight.FlightClient, name: str, table, mode=None, rows=65_536) -> dict:
    """Puts a table as one stream and gives the server's answer."""
    import json

    headers = [(b"pintail-mode", mode.encode())] if mode else []
    options = flight.FlightCallOptions(headers=headers)
    writer, reader = client.do_put(flight.FlightDescriptor.for_path(name), table.schema, options)
    with writer:
        writer.write_table(table, max_chunksize=rows)
        writer.done_writing()
        return json.loads(reader.read().to_pybytes())


def query(client: flight.FlightClient, sql: str):
    """All rows of a statement, through GetFlightInfo and a ticket."""
    info = client.get_flight_info(flight.FlightDescriptor.for_command(sql))
    return client.do_get(info.endpoints[0].ticket).read_all()


def rows(connection: dbapi.Connection, sql: str, parameters=None) -> list[tuple]:
    """All rows of a statement, through ADBC."""
    with connection.cursor() as cursor:
        return cursor.execute(sql, parameters).fetchall()


def arrow(connection: dbapi.Connection, sql: str, parameters=None):
    """The result of a statement as an Arrow table, through ADBC."""
    with connection.cursor() as cursor:
        return cursor.execute(sql, parameters).fetch_arrow_table()


def wait_for(server: Server, part: bytes) -> None:
    """Waits until the status has `part` in it, such as `"running":1`."""
    client = server.client()
    deadline = time.monotonic() + 30
    while part not in next(client.do_action(flight.Action("pintail.status", b""))).body.to_pybytes():
        assert time.monotonic() < deadline, f"the status never said {part}"
