"""Pintail beside the service that people write over DuckDB themselves (fastapi_service.py), endpoint by endpoint, in turns.

    make bench-fastapi [BENCH="--rows 300000 --rounds 5"]

FastAPI, uvicorn and DuckDB are installed into an environment of their own (requirements/fastapi.txt). Each round gives both
servers a new database with the same rows. A reading ends when the client has a pandas DataFrame, a writing when it has the
answer, and rows are counted afterwards. Prints medians, least and most, the server's processor seconds and its peak memory.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import duckdb
import pandas
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as parquet

from report import table
from sides import HERE, MIB, Missing, Server, Side, environment, free_port

DDL = "CREATE TABLE {} (id BIGINT, well VARCHAR, day TIMESTAMP, oil DOUBLE, water DOUBLE, note VARCHAR)"
ROWS = (
    "SELECT range AS id, 'A-' || range % 500 AS well, TIMESTAMP '2026-01-01' + INTERVAL (range % 100000) SECOND AS day, "
    "(range * 7 % 1000) / 8 AS oil, (range * 13 % 1000) / 4 AS water, 'reading ' || range % 1000 AS note FROM range({})"
)


class FastApi:
    """The service, and what its clients do: JSON and files over HTTP."""

    name = "FastAPI + DuckDB"

    def __init__(self, database: Path):
        port = free_port()
        python, flags = environment("fastapi") / "python", ["--log-level", "error", "--timeout-keep-alive", "600"]
        command = [python, "-m", "uvicorn", "fastapi_service:app", "--port", str(port), *flags]
        path = {"DATABASE": str(database), "PYTHONPATH": str(HERE)}
        self.server = Server(command, f"http://127.0.0.1:{port}", env=path)
        self.port = port
        self.local = threading.local()

    def ask(self, method: str, path: str, body: bytes | None = None, kind="application/json") -> bytes:
        if not hasattr(self.local, "http"):
            self.local.http = http.client.HTTPConnection("127.0.0.1", self.port)
        self.local.http.request(method, path, body, {"Content-Type": kind} if body else {})
        answer = self.local.http.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]}")
        return said

    def tables(self) -> int:
        return len(json.loads(self.ask("GET", "/tables")))

    def query(self, sql: str) -> pandas.DataFrame:
        return pandas.DataFrame(json.loads(self.ask("POST", "/query", json.dumps({"sql": sql}).encode())))

    def insert(self, rows: list) -> None:
        self.ask("POST", "/tables/written/rows", json.dumps(rows).encode())

    def upload(self, file: Path) -> None:
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
        body = head.encode() + file.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        self.ask("POST", "/tables/uploaded/upload", body, f"multipart/form-data; boundary={mark}")

    def export(self, to: Path) -> None:
        to.write_bytes(self.ask("GET", "/tables/measured/export"))


class Pintail:
    """The same over Arrow Flight, and by the program's own command line for files."""

    name = "Pintail"

    def __init__(self, database: Path):
        self.binary = os.environ["PINTAIL_BIN"]
        self.server = Side("pintail", "flight", "pintail", self.binary).serve(database)
        self.client = flight.connect(self.server.at)

    def tables(self) -> int:
        return sum(1 for _ in self.client.list_flights())

    def query(self, sql: str) -> pandas.DataFrame:
        return self.client.do_get(flight.Ticket(sql.encode())).read_all().to_pandas()

    def insert(self, rows: list) -> None:
        batch = pa.RecordBatch.from_pylist(rows)
        writer, answers = self.client.do_put(flight.FlightDescriptor.for_path("written"), batch.schema)
        with writer:
            writer.write_batch(batch)
            writer.done_writing()
            answers.read()

    def upload(self, file: Path) -> None:
        self.run("load", file, "--table", "uploaded", "--mode", "append")

    def export(self, to: Path) -> None:
        self.run("query", "FROM measured", "--format", "csv", "--output", to)

    def run(self, *arguments) -> None:
        command = [self.binary, *map(str, arguments), "--server", self.server.at]
        subprocess.run(command, check=True, capture_output=True)


def eight_at_once(side, sql: str) -> None:
    failed = []

    def read():
        try:
            side.query(sql)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def works(options, folder: Path) -> dict:
    """What is measured: how often in a measurement, and what one of it does."""
    rows = [{"id": n, "well": f"A-{n % 500}", "oil": n / 8, "water": n / 4, "note": f"reading {n}"} for n in range(options.inserted)]
    whole, part = "SELECT * FROM measured", f"SELECT * FROM measured WHERE id < {options.rows // 8}"
    aggregate = "SELECT well, count(*) AS n, avg(oil) AS oil FROM measured GROUP BY well ORDER BY well"
    return {
        "list the tables": (50, lambda side, n: side.tables()),
        "query: one row": (50, lambda side, n: side.query(f"SELECT * FROM measured WHERE id = {n * 97}")),
        "query: 500 groups": (10, lambda side, n: side.query(aggregate)),
        f"query: {options.rows:,} rows": (1, lambda side, n: side.query(whole)),
        f"query: {options.rows // 8:,} rows, 8 clients at once": (1, lambda side, n: eight_at_once(side, part)),
        "insert: one row a request": (50, lambda side, n: side.insert(rows[n : n + 1])),
        f"insert: {options.inserted:,} rows in a request": (1, lambda side, n: side.insert(rows)),
        f"upload: Parquet of {options.rows:,} rows": (1, lambda side, n: side.upload(folder / "rows.parquet")),
        f"export: CSV of {options.rows:,} rows": (1, lambda side, n: side.export(folder / "out.csv")),
    }


def measure(kind, database: Path, options, folder: Path) -> dict:
    """One side, everything once; what was written is counted."""
    side, found = kind(database), {}
    try:
        for name, (times, work) in works(options, folder).items():
            # The first of each kind finds caches cold and modules not loaded; writing has no such second time.
            if name.startswith(("list", "query")):
                work(side, 0)
            side.server.reset_peak()
            cpu, began = side.server.cpu(), time.perf_counter()
            for n in range(times):
                work(side, n)
            seconds = time.perf_counter() - began
            found[name] = (seconds / times, (side.server.cpu() - cpu) / times, side.server.peak() / MIB)
        for what, wanted in (("written", 50 + options.inserted), ("uploaded", options.rows)):
            stored = int(side.query(f"SELECT count(*) AS n FROM {what}")["n"][0])
            if stored != wanted:
                raise RuntimeError(f"{side.name}: {stored} rows in {what}, expected {wanted}")
        with (folder / "out.csv").open() as file:
            lines = sum(1 for _ in file)
        if lines != options.rows + 1:
            raise RuntimeError(f"{side.name}: {lines} lines were exported, expected {options.rows + 1}")
    finally:
        side.server.stop()
    return found


def told(values: list) -> str:
    def one(seconds):
        return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"

    return f"{one(statistics.median(values))} ({one(min(values))} to {one(max(values))})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000, help="rows of the table that is read, uploaded and exported")
    parser.add_argument("--inserted", type=int, default=500, help="rows of a request that inserts many")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    kinds, found = [FastApi, Pintail], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with duckdb.connect(str(folder / "start.duckdb")) as con:
            for made in ("measured", "written", "uploaded"):
                con.execute(DDL.format(made))
            con.execute(f"INSERT INTO measured {ROWS.format(options.rows)}")
            parquet.write_table(con.sql("FROM measured").to_arrow_table(), folder / "rows.parquet")
        for turn in range(options.rounds):
            # Another one begins each round.
            for kind in kinds if turn % 2 == 0 else reversed(kinds):
                database = folder / f"{kind.__name__}-{turn}.duckdb"
                shutil.copy(folder / "start.duckdb", database)
                try:
                    measured = measure(kind, database, options, folder)
                except Missing as missing:
                    sys.exit(f"{kind.name}: {missing}")
                for what, figures in measured.items():
                    found.setdefault(what, {}).setdefault(kind, []).append(figures)
                for file in folder.glob(f"{database.name}*"):
                    file.unlink()
    lines = []
    for what, sides in found.items():
        theirs, ours = sides[FastApi], sides[Pintail]
        ratio = statistics.median(a[0] / b[0] for a, b in zip(theirs, ours, strict=True))
        peaks = [f"{statistics.median(one[2] for one in side):,.0f} MiB" for side in (theirs, ours)]
        cpu = [f"{statistics.median(one[1] for one in side) * 1e3:,.1f} ms" for side in (theirs, ours)]
        lines.append([what, f"{ratio:.2f}", *(told([one[0] for one in side]) for side in (theirs, ours)), *cpu, *peaks])
    titles = ["", "FastAPI's time / Pintail's", "FastAPI + DuckDB", "Pintail", "CPU of its server", "of Pintail's", "peak of its server", "of Pintail's"]
    print(f"{options.rounds} rounds, {os.cpu_count()} cores, load average {os.getloadavg()[1]:.1f}\n")
    print("\n".join(table(titles, lines)))


if __name__ == "__main__":
    main()
