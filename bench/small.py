"""What small calls take: connecting and a first query, a session's own, single-row puts of one client, a catalog of many
tables.

    make bench-small [BENCH="--tables N --rounds R --base PATH"]

All sides in turns, each with a fresh client process; medians over the rounds. `--base` adds an earlier build.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as flight

from point import Server, pintail

CONNECTS = 40
PUTS = 300
SESSIONS = 200


def median_ms(times: int, work) -> float:
    took = []
    for turn in range(times):
        before = time.perf_counter()
        work(turn)
        took.append(time.perf_counter() - before)
    return statistics.median(took) * 1e3


def connect(uri: str) -> float:
    """A new connection and its first query, one after the other."""

    def once(_):
        with flight.connect(uri) as client:
            assert client.do_get(flight.Ticket(b"SELECT 42 AS answer")).read_all().num_rows == 1

    return median_ms(CONNECTS, once)


def connect_adbc(uri: str) -> float:
    import adbc_driver_flightsql.dbapi as dbapi

    def once(_):
        with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            assert cursor.execute("SELECT 42 AS answer").fetchone() == (42,)

    once(0)
    return median_ms(CONNECTS, once)


def list_flights(uri: str) -> float:
    client = flight.connect(uri)

    def once(_):
        assert sum(1 for _ in client.list_flights()) > 1

    return median_ms(3, once)


def adbc_objects(uri: str) -> float:
    import adbc_driver_flightsql.dbapi as dbapi

    with dbapi.connect(uri, autocommit=True) as connection:
        return median_ms(2, lambda _: connection.adbc_get_objects().read_all())


def session(uri: str) -> float:
    """A ticket, and what it gives; the least that a client can ask for."""
    client = flight.connect(uri)
    descriptor = flight.FlightDescriptor.for_command(b"SELECT 42 AS answer")

    def once(_):
        ticket = client.get_flight_info(descriptor).endpoints[0].ticket
        assert client.do_get(ticket).read_all().num_rows == 1

    return median_ms(SESSIONS, once)


def put_one(uri: str) -> float:
    client = flight.connect(uri)
    row = pa.record_batch({"id": [1], "name": ["one"]})
    descriptor = flight.FlightDescriptor.for_path(f"puts_{os.getpid()}")

    def once(_):
        writer, answers = client.do_put(descriptor, row.schema)
        writer.write_batch(row)
        writer.done_writing()
        answers.read()
        writer.close()

    once(0)
    return median_ms(PUTS, once)


CASES = {
    "connect and first query": connect,
    "connect and first query, ADBC": connect_adbc,
    "GetFlightInfo and DoGet": session,
    "single-row put": put_one,
    "ListFlights": list_flights,
    "GetObjects, ADBC": adbc_objects,
}


def main(arguments) -> None:
    import duckdb

    binaries = {"Pintail": os.environ["PINTAIL_BIN"]}
    if arguments.base:
        binaries["base"] = arguments.base
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.duckdb"
        with duckdb.connect(str(path)) as con:
            con.execute("BEGIN")
            for table in range(arguments.tables):
                con.execute(
                    f"CREATE TABLE table_{table:05} (id BIGINT, name VARCHAR, price DECIMAL(9, 2), seen TIMESTAMP)"
                )
            con.execute("COMMIT")
        servers = {}
        for name, binary in binaries.items():
            copy = Path(folder) / f"{name}.duckdb"
            copy.write_bytes(path.read_bytes())
            servers[name] = Server(pintail(binary, str(copy)))
        cases = [case for case in CASES if arguments.only in (None, case)]
        found = {(case, name): [] for case in cases for name in servers}
        try:
            for _ in range(arguments.rounds):
                for case in cases:
                    for name, server in servers.items():
                        command = [sys.executable, __file__, "--case", case, "--at", server.uri]
                        found[case, name].append(float(subprocess.check_output(command, text=True)))
        finally:
            for server in servers.values():
                server.stop()
    print(f"{arguments.tables:,} tables, {arguments.rounds} rounds; milliseconds\n")
    print("| case | " + " | ".join(servers) + " | of base |")
    print("|---|" + "---|" * (len(servers) + 1))
    for case in cases:
        medians = {name: statistics.median(found[case, name]) for name in servers}
        shown = [f"{medians[n]:.2f} ({min(found[case, n]):.2f} to {max(found[case, n]):.2f})" for n in servers]
        ratio = f"{medians['Pintail'] / medians['base']:.2f}" if "base" in medians else ""
        print(f"| {case} | " + " | ".join(shown) + f" | {ratio} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base", help="an earlier build to compare with")
    parser.add_argument("--only", help="one case alone")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--at", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(CASES[given.case](given.at))
    else:
        main(given)
