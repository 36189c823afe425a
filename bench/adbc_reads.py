"""Large results through ADBC, whose gRPC takes HTTP/2 frames of 16 KiB: against a Flight SQL server in C++ around DuckDB.

    make bench-adbc [BENCH="--rows N --rounds R --base PATH"]

All sides in turns, each with a fresh client process; medians over the rounds, and the server's processor seconds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from point import HERE, Server, pintail

NUMBERS = """
CREATE TABLE numbers AS SELECT range AS id, (range * 7919) % 200000 AS part, (range % 50)::DOUBLE AS quantity,
    (range % 10000000) / 100 AS price, (range % 11)::DECIMAL(15, 2) / 100 AS discount, range % 7 AS line,
    DATE '1992-01-01' + (range % 2500)::INTEGER AS shipped, DATE '1992-02-01' + (range % 2500)::INTEGER AS received,
    ['N', 'R', 'A'][1 + range % 3] AS flag, ['AIR', 'RAIL', 'TRUCK', 'SHIP'][1 + range % 4] AS mode,
    'carefully ' || (range % 997) || ' ironic packages' AS comment
FROM range({rows})
"""


def read(uri: str) -> float:
    import adbc_driver_flightsql.dbapi as dbapi

    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS one").fetch_arrow_table()
        before = time.perf_counter()
        reader = cursor.execute("SELECT * FROM numbers").fetch_record_batch()
        size = sum(batch.nbytes for batch in reader)
        return size / (time.perf_counter() - before) / 1e6


def main(arguments) -> None:
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reads.duckdb"
        with duckdb.connect(str(path)) as con:
            con.execute(NUMBERS.format(rows=arguments.rows))
            size = con.sql("SELECT * FROM numbers").to_arrow_table().nbytes
        commands = {"Pintail": lambda copy: pintail(os.environ["PINTAIL_BIN"], copy)}
        if arguments.base:
            commands["base"] = lambda copy: pintail(arguments.base, copy)
        commands["peer"] = lambda copy: [sys.executable, str(HERE / "peer_sql.py"), copy]
        servers, found, cpu = {}, {}, {}
        try:
            for name, command in commands.items():
                copy = Path(folder) / f"{name}.duckdb"
                copy.write_bytes(path.read_bytes())
                servers[name] = Server(command(str(copy)))
                found[name], cpu[name] = [], []
            for _ in range(arguments.rounds):
                for name, server in servers.items():
                    before = server.cpu()
                    command = [sys.executable, __file__, "--at", server.uri]
                    found[name].append(float(subprocess.check_output(command, text=True)))
                    cpu[name].append((server.cpu() - before) / size * 1e9)
        finally:
            for server in servers.values():
                server.stop()
    print(f"{arguments.rows:,} rows, {size / 1e6:,.0f} MB, {arguments.rounds} rounds\n")
    print("| side | MB/s | from | to | of the peer | server core-s a GB |")
    print("|---|---|---|---|---|---|")
    peer = statistics.median(found["peer"])
    for name, values in found.items():
        median = statistics.median(values)
        row = f"{median:,.0f} | {min(values):,.0f} | {max(values):,.0f} | {median / peer:.2f}"
        print(f"| {name} | {row} | {statistics.median(cpu[name]):.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base", help="an earlier build to compare with")
    parser.add_argument("--at", help=argparse.SUPPRESS)
    given = parser.parse_args()
    print(read(given.at)) if given.at else main(given)
