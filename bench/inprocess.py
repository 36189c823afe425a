"""The limit: DuckDB in this process, no network. `load` or `read` over a file database; prints seconds as JSON."""

import json
import os
import sys
import time

import duckdb
import pyarrow as pa


def load(database: str, arrow_file: str) -> dict:
    """INSERT ... SELECT of the Arrow data, held in memory, into a table of a new file."""
    with open(arrow_file, "rb") as file:
        rows = pa.ipc.open_file(pa.BufferReader(file.read())).read_all()
    connection = duckdb.connect(database)
    connection.execute("CREATE TABLE lineitem AS FROM rows LIMIT 0")
    started = time.perf_counter()
    connection.execute("INSERT INTO lineitem SELECT * FROM rows")
    seconds = time.perf_counter() - started
    connection.execute("CHECKPOINT")
    return {"seconds": seconds, "rows": rows.num_rows, "file_bytes": os.path.getsize(database)}


def read(database: str, sql: str, rounds: int) -> dict:
    connection = duckdb.connect(database)
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        rows = sum(batch.num_rows for batch in connection.sql(sql).to_arrow_reader(65_536))
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1:], "rows": rows}


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "load":
        print(json.dumps(load(*arguments)))
    else:
        print(json.dumps(read(arguments[0], arguments[1], int(arguments[2]))))
