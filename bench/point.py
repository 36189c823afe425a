"""Point SELECTs one after the other, each with another key: what one takes in process, and what it takes over the wire.

    make bench-point [BENCH="--rows N --seconds S --rounds R --index --base PATH"]

In process is DuckDB in Python. DoGet sends the SQL text as the ticket; ADBC sends it as text (prepare, describe, fetch and
close: four calls) or prepared once (bind, describe, fetch). `constant` is a C++ server whose answers are ready
(constant.py): below that is the client's own time. `peer` is a pyarrow.flight server around DuckDB (peer.py). All sides in
turns, each with a fresh client process; medians over the rounds of the medians of each. `--base` adds an earlier build.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

HERE = Path(__file__).resolve().parent
QUERY = "SELECT id, name, price, amount FROM wells WHERE id = "


def check(found: pa.Table, wanted: int | None) -> None:
    assert found.num_rows == 1 and (wanted is None or found["id"][0].as_py() == wanted)


def in_process(path: str, way: str):
    import duckdb

    con = duckdb.connect(path, read_only=True)
    if way == "prepared":
        return lambda pick: con.sql(f"{QUERY}?", params=[pick]).to_arrow_table()
    return lambda pick: con.sql(f"{QUERY}{pick}").to_arrow_table()


def over_the_wire(uri: str, way: str):
    if way == "do_get":
        import pyarrow.flight as flight

        client = flight.connect(uri)
        return lambda pick: client.do_get(flight.Ticket(f"{QUERY}{pick}".encode())).read_all()
    import adbc_driver_flightsql.dbapi as dbapi

    cursor = dbapi.connect(uri, autocommit=True).cursor()
    if way == "text":
        return lambda pick: cursor.execute(f"{QUERY}{pick}").fetch_arrow_table()
    if way == "direct":
        # Text without a prepared statement around it: two calls.
        def direct(pick):
            cursor.adbc_statement.set_sql_query(f"{QUERY}{pick}")
            stream, _ = cursor.adbc_statement.execute_query()
            return pa.RecordBatchReader._import_from_c(stream.address).read_all()

        return direct

    def prepared(pick):
        row = pa.record_batch([pa.array([pick])], names=["1"])
        return cursor.execute(f"{QUERY}?", row).fetch_arrow_table()

    return prepared


def measure(arguments) -> None:
    """One side in a process of its own: prints the median in milliseconds."""
    make = in_process if arguments.side == "in process" else over_the_wire
    run = make(arguments.at, arguments.way)
    picks = random.Random(7)
    wanted = (lambda pick: None) if arguments.side == "constant" else (lambda pick: pick)
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        pick = picks.randrange(arguments.rows)
        check(run(pick), wanted(pick))
    took = []
    end = time.perf_counter() + arguments.seconds
    while time.perf_counter() < end:
        pick = picks.randrange(arguments.rows)
        before = time.perf_counter()
        found = run(pick)
        took.append(time.perf_counter() - before)
        check(found, wanted(pick))
    print(statistics.median(took) * 1e3)


class Server:
    def __init__(self, command: list[str]):
        environment = {**os.environ, "PINTAIL_LOG__LEVEL": "error"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.uri = self.process.stdout.readline().split()[-1]

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def pintail(binary: str, path: str) -> list[str]:
    return [binary, "serve", "--database", path, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]


def main(arguments) -> None:
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "point.duckdb")
        with duckdb.connect(path) as con:
            con.execute(
                "CREATE TABLE wells AS SELECT range AS id, 'well ' || range AS name, range * 1.5 AS price, "
                f"(range % 1000)::DOUBLE AS amount FROM range({arguments.rows})"
            )
            if arguments.index:
                con.execute("CREATE INDEX by_id ON wells (id)")
        # A file has one process that may write, so each server gets a copy.
        copies = iter(range(100))

        def copy() -> str:
            target = str(Path(folder) / f"copy{next(copies)}.duckdb")
            Path(target).write_bytes(Path(path).read_bytes())
            return target

        servers = {"Pintail": Server(pintail(os.environ["PINTAIL_BIN"], copy()))}
        if arguments.base:
            servers["base"] = Server(pintail(arguments.base, copy()))
        servers["peer"] = Server([sys.executable, str(HERE / "peer.py"), copy()])
        servers["constant"] = Server([sys.executable, str(HERE / "constant.py")])
        wire = ["do_get", "text", "direct", "prepared"]
        plan = [("in process", path, way) for way in ("text", "prepared")]
        for side, server in servers.items():
            plan += [(side, server.uri, way) for way in wire if side != "peer" or way == "do_get"]
        plan = [one for one in plan if arguments.only in (None, one[2]) or one[0] == "in process"]
        found = {(side, way): [] for side, _, way in plan}
        try:
            for _ in range(arguments.rounds):
                for side, at, way in plan:
                    command = [sys.executable, __file__, "--side", side, "--at", at, "--way", way]
                    command += ["--rows", str(arguments.rows), "--seconds", str(arguments.seconds)]
                    found[side, way].append(float(subprocess.check_output(command, text=True)))
        finally:
            for server in servers.values():
                server.stop()
    median = {key: statistics.median(values) for key, values in found.items()}
    index = "an index on id" if arguments.index else "no index"
    print(f"{arguments.rows:,} rows, {index}, {arguments.rounds} rounds of {arguments.seconds} s; milliseconds\n")
    print("| side | way | median | from | to | above constant, of in process |")
    print("|---|---|---|---|---|---|")
    for (side, way), values in found.items():
        base = median["in process", "prepared" if way == "prepared" else "text"]
        ratio = median[side, way] / base
        if side not in ("in process", "constant", "peer") and way != "do_get":
            ratio = (median[side, way] - median["constant", way]) / base
        print(f"| {side} | {way} | {median[side, way]:.3f} | {min(values):.3f} | {max(values):.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--index", action="store_true", help="index the column that is looked up")
    parser.add_argument("--base", help="an earlier build to compare with")
    parser.add_argument("--only", help="one way alone: do_get, text, direct or prepared")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--at", help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    given = parser.parse_args()
    measure(given) if given.side else main(given)
