"""Point SELECTs one after the other: a prepared statement with a new parameter each time against new SQL text each time.

Through ADBC over one kept connection, and in process; one run, one machine.
    make bench-point [BENCH="--rows N --seconds S --index"]
"""

import argparse
import os
import random
import re
import subprocess
import tempfile
import time
from pathlib import Path

import adbc_driver_flightsql.dbapi as dbapi
import duckdb
import pyarrow as pa

QUERY = "SELECT id, name, price, amount FROM wells WHERE id = "


def rate(seconds: float, work) -> tuple[float, float]:
    """Runs a second of warm-up, then `work` for `seconds`: runs per second and the median in ms."""
    picks = random.Random(7)
    end = time.perf_counter() + 1
    while time.perf_counter() < end:
        work(picks.randrange(ROWS))
    took = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = time.perf_counter()
        work(picks.randrange(ROWS))
        took.append(time.perf_counter() - before)
    took.sort()
    return len(took) / (time.perf_counter() - start), took[len(took) // 2] * 1e3


def check(found: pa.Table, wanted: int) -> None:
    assert found.num_rows == 1 and found["id"][0].as_py() == wanted


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "point.duckdb")
        con = duckdb.connect(path)
        con.execute(
            "CREATE TABLE wells AS SELECT range AS id, 'well ' || range AS name, range * 1.5 AS price, "
            f"(range % 1000)::DOUBLE AS amount FROM range({ROWS})"
        )
        if INDEX:
            con.execute("CREATE INDEX by_id ON wells (id)")
        results = {}

        def in_process_text(pick):
            check(con.sql(f"{QUERY}{pick}").to_arrow_table(), pick)

        def in_process_prepared(pick):
            check(con.sql(f"{QUERY}?", params=[pick]).to_arrow_table(), pick)

        results["in process (DuckDB in Python)"] = (
            rate(SECONDS, in_process_text), rate(SECONDS, in_process_prepared)
        )
        con.close()
        server = subprocess.Popen(
            [os.environ["PINTAIL_BIN"], "serve", "--database", path, "--listen", "127.0.0.1:0",
             "--http", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        try:
            uri = re.search(r"grpc://\S+", server.stdout.readline()).group()
            with dbapi.connect(uri, autocommit=True) as connection:
                with connection.cursor() as text, connection.cursor() as prepared:

                    def adbc_text(pick):
                        check(text.execute(f"{QUERY}{pick}").fetch_arrow_table(), pick)

                    def adbc_prepared(pick):
                        row = pa.record_batch([pa.array([pick])], names=["1"])
                        check(prepared.execute(f"{QUERY}?", row).fetch_arrow_table(), pick)

                    results["Pintail through ADBC"] = rate(SECONDS, adbc_text), rate(SECONDS, adbc_prepared)
        finally:
            server.terminate()
            server.wait()
    index = "an index on id" if INDEX else "no index"
    print(f"{ROWS:,} rows, {index}\n")
    print("|  | SQL text, queries/s (median ms) | prepared, queries/s (median ms) | prepared over text |")
    print("|---|---|---|---|")
    for name, ((text, text_ms), (prepared, prepared_ms)) in results.items():
        print(f"| {name} | {text:,.0f} ({text_ms:.2f}) | {prepared:,.0f} ({prepared_ms:.2f}) | {prepared / text:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--index", action="store_true", help="index the column that is looked up")
    arguments = parser.parse_args()
    ROWS, SECONDS, INDEX = arguments.rows, arguments.seconds, arguments.index
    main()
