"""A declared index: what a point lookup gains by it, and what an ingest pays for it.

Two tables declared alike, one with `is_indexed = true` on the column that is looked up; one run, one machine.
    make bench-index [BENCH="--rows N --lookups N --rounds N --key string"]
"""

import argparse
import os
import random
import re
import statistics
import tempfile
import time
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.flight as flight

from sides import Server

BATCH_ROWS = 65_536
DECLARATION = """
[[field]]
name = "code"
type = "int64"
{code}

[[field]]
name = "reference"
type = "string"
{reference}

[[field]]
name = "at"
type = "timestamp[us, tz=UTC]"

[[field]]
name = "oil_kbd"
type = "double"
"""
SCHEMA = pa.schema(
    [("code", pa.int64()), ("reference", pa.string()), ("at", pa.timestamp("us", "UTC")), ("oil_kbd", pa.float64())]
)


def batches(rows: int):
    """Every code once, shuffled, so that no row group can be left out by its least and greatest value."""
    rng = numpy.random.default_rng(7)
    codes = rng.permutation(rows)
    made = []
    for start in range(0, rows, BATCH_ROWS):
        part = codes[start : start + BATCH_ROWS]
        columns = [
            pa.array(part),
            pa.array([f"REF-{n:09}" for n in part]),
            pa.array(part * 1_000_000, pa.timestamp("us", "UTC")),
            pa.array(rng.random(len(part))),
        ]
        made.append(pa.record_batch(columns, schema=SCHEMA))
    return made


def serve(folder: Path, name: str) -> tuple[Server, flight.FlightClient]:
    binary, database = os.environ["PINTAIL_BIN"], folder / f"{name}.duckdb"
    ports = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    server = Server([binary, "serve", "--database", database, "--schemas", folder / "schemas", *ports])
    return server, flight.connect(server.at)


def put(client, table: str, made) -> float:
    """Seconds until the rows are acknowledged."""
    start = time.perf_counter()
    writer, answers = client.do_put(flight.FlightDescriptor.for_path(table), SCHEMA)
    with writer:
        for batch in made:
            writer.write_batch(batch)
        writer.done_writing()
        answers.read()
    return time.perf_counter() - start


def get(client, sql: str) -> pa.Table:
    return client.do_get(flight.Ticket(sql.encode())).read_all()


def engine_ms(client, sql: str) -> float:
    """What the engine itself says a statement took."""
    plan = "\n".join(get(client, f"EXPLAIN ANALYZE {sql}").column(1).to_pylist())
    return float(re.search(r"Total Time: ([\d.]+)s", plan).group(1)) * 1e3


def lookups(client, table: str, key: str, rows: int, count: int) -> tuple[float, float]:
    """Medians in ms: at the client, and in the engine."""
    picks = random.Random(7)
    seen, engine = [], []
    for n in range(count + 20):
        pick = picks.randrange(rows)
        value = pick if key == "int64" else f"'REF-{pick:09}'"
        sql = f"SELECT code, oil_kbd FROM {table} WHERE {COLUMN[key]} = {value}"
        start = time.perf_counter()
        found = get(client, sql)
        took = time.perf_counter() - start
        assert found["code"].to_pylist() == [pick]
        # The first ones warm up.
        if n >= 20:
            seen.append(took * 1e3)
            if n % 5 == 0:
                engine.append(engine_ms(client, sql))
    return statistics.median(seen), statistics.median(engine)


COLUMN = {"int64": "code", "string": "reference"}


def main(options) -> None:
    keys = list(COLUMN) if options.key == "both" else [options.key]
    made = batches(options.rows)
    with tempfile.TemporaryDirectory(prefix="pintail-index-") as folder:
        folder = Path(folder)
        (folder / "schemas").mkdir()
        (folder / "schemas" / "plain.toml").write_text(DECLARATION.format(code="", reference=""))
        for key in keys:
            marks = {COLUMN[one]: "is_indexed = true" if one == key else "" for one in COLUMN}
            (folder / "schemas" / f"by_{key}.toml").write_text(DECLARATION.format(**marks))
        tables = ["plain"] + [f"by_{key}" for key in keys]
        # In turns, so that what else the machine does falls on all of them alike.
        seconds = {table: [] for table in tables}
        for round_ in range(options.rounds):
            for table in tables:
                server, client = serve(folder, f"{table}-{round_}")
                seconds[table].append(put(client, table, made))
                server.stop()
        print(f"{options.rows:,} rows of {len(SCHEMA)} columns, {options.lookups} lookups, {options.rounds} rounds of ingest\n")
        print("| key | lookup without index, ms | with index, ms | faster | in the engine, ms without / with | faster |")
        print("|---|---|---|---|---|---|")
        times = {}
        floor = None
        for table in tables:
            server, client = serve(folder, f"{table}-{options.rounds - 1}")
            for key in keys if table == "plain" else [table.removeprefix("by_")]:
                times[table, key] = lookups(client, table, key, options.rows, options.lookups)
            if floor is None:
                took = []
                for _ in range(options.lookups):
                    start = time.perf_counter()
                    get(client, "SELECT 1")
                    took.append((time.perf_counter() - start) * 1e3)
                floor = statistics.median(took)
            server.stop()
        for key in keys:
            (without, engine_without), (with_index, engine_with) = times["plain", key], times[f"by_{key}", key]
            print(
                f"| {key} | {without:.2f} | {with_index:.2f} | {without / with_index:.1f} | "
                f"{engine_without:.2f} / {engine_with:.2f} | {engine_without / max(engine_with, 1e-9):.0f} |"
            )
        print(f"\nA round trip that looks nothing up (SELECT 1) takes {floor:.2f} ms.\n")
        print("| table | ingest, rows/s | of the table without an index |")
        print("|---|---|---|")
        plain = statistics.median(seconds["plain"])
        for table in tables:
            took = statistics.median(seconds[table])
            print(f"| {table} | {options.rows / took:,.0f} | {plain / took:.0%} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--lookups", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1, help="of ingest, each into a database of its own")
    parser.add_argument("--key", choices=[*COLUMN, "both"], default="both", help="type of the indexed column")
    main(parser.parse_args())
