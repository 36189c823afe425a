"""A DuckDB 1.5.5 that serves its database over the Quack protocol. Runs in the environment of requirements/quack.txt.

    python quack.py DATABASE [TABLE=FILE.parquet ...]
"""

import importlib
import socket
import sys
import threading
from pathlib import Path


def load_extensions(connection) -> None:
    """From the packages beside this interpreter; nothing is downloaded."""
    for name in ("httpfs", "quack"):
        package = importlib.import_module(f"duckdb_extension_{name}")
        connection.execute(f"LOAD '{next(Path(package.__file__).parent.rglob('*.duckdb_extension'))}'")


def main(database: str, *tables: str) -> None:
    import duckdb

    connection = duckdb.connect(database)
    load_extensions(connection)
    for table in tables:
        name, file = table.split("=", 1)
        connection.execute(f"CREATE TABLE {name} AS FROM read_parquet('{file}')")
    connection.execute("CHECKPOINT")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    connection.execute(f"CALL quack_serve('quack:localhost:{port}', token = 'bench')")
    print(f"listening on quack://localhost:{port}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
