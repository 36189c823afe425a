"""The sweep that the defaults come from: one setting at a time, over a read and a load, beside the defaults.

    make bench-tune                          about twenty minutes on two cores
    make bench-tune BENCH="--scale 0.2 --rounds 3 --only buffer_bytes,batch_bytes"

A load is one DoPut of the table, into a new table. Rounds take turns between all values of a setting, every read and load
by a new client process over a database of its own. Ratios are speeds, of the default's in the same round; `malloc` is
glibc's, set by its environment variables. Row-group units are no setting: DuckDB's row group is 122,880 rows, and
anything else leaves fragments.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from data import TABLES, Data
from sides import MIB, Side, sides

# Setting: the values beside the default, as environment variables of the server.
SWEEP = {
    "threads": {f"{n}": {"PINTAIL_DATABASE__THREADS": f"{n}"} for n in [1, 2, 4]},
    "memory_limit": {size: {"PINTAIL_DATABASE__MEMORY_LIMIT": size} for size in ["512 MiB", "1 GiB", "4 GiB"]},
    "batch_bytes": {
        size: {"PINTAIL_QUERY__BATCH_BYTES": size} for size in ["512 KiB", "896 KiB", "1344 KiB", "2688 KiB", "3584 KiB"]
    },
    "buffer_bytes": {size: {"PINTAIL_QUERY__BUFFER_BYTES": size} for size in ["4 MiB", "16 MiB", "32 MiB"]},
    "stream_memory_limit": {
        size: {"PINTAIL_INGEST__STREAM_MEMORY_LIMIT": size} for size in ["32 MiB", "64 MiB", "128 MiB"]
    },
    "engine_arrays": {"true": {"PINTAIL_QUERY__ENGINE_ARRAYS": "true"}},
    "malloc": {
        "arenas 2": {"MALLOC_ARENA_MAX": "2"},
        "mmap above 32 MiB": {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "268435456"},
    },
}
HEAD = ["setting", "value", "table", "read", "CPU s a GB", "page faults a GB", "first batch, ms", "peak MiB", "load", "peak MiB of the load"]


def measured(side: Side, env: dict, data: Data, table: str, folder: Path) -> dict:
    """One read and one load by a server of its own: both, and the server's peak memory in each."""
    database = Path(shutil.copy(data.database, folder / "tune.duckdb"))
    server = side.serve(database, env=env)
    try:
        work = {"do": "read", "sql": f"SELECT * FROM {table}"}
        side.run(server, database, **work)
        read = side.run(server, database, **work)
        put = side.run(server, database, do="put", table="loaded", file=str(data.arrow(table)))
    finally:
        server.stop()
        for left in folder.glob("tune.duckdb*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return {"read": read, "put": put}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="append", choices=TABLES, help="lineitem and wells, unless others are named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=0.3)
    parser.add_argument("--only", default=",".join(SWEEP), help="settings, with commas between")
    arguments = parser.parse_args()
    side = sides(None)["pintail"]
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = Data(folder, arguments.scale, arguments.table or ["lineitem", "wells"])
        for setting in arguments.only.split(","):
            for table in data.tables:
                sweep(side, setting, data, table, arguments.rounds, folder)


def sweep(side: Side, setting: str, data: Data, table: str, rounds: int, folder: Path) -> None:
    values = {"default": {}, **SWEEP[setting]}
    done: dict[str, list] = {value: [] for value in values}
    for turn in range(rounds):
        for value in list(values) if turn % 2 == 0 else list(values)[::-1]:
            done[value].append(measured(side, values[value], data, table, folder))
    size = data.bytes[table] / 1e9
    for value, found in done.items():
        def speed(of: str) -> float:
            return statistics.median(theirs[of]["seconds"] / mine[of]["seconds"] for theirs, mine in zip(done["default"], found))

        def middle(of) -> float:
            return statistics.median(of(one["read"]) for one in found)

        row = [
            setting, value, table, f"{speed('read'):.2f}", f"{middle(lambda read: read['cpu']) / size:.2f}",
            f"{middle(lambda read: read['used']['faults']) / size:,.0f}", f"{middle(lambda read: read['first']) * 1e3:.0f}",
            f"{max(one['read']['server_peak'] for one in found) // MIB}", f"{speed('put'):.2f}",
            f"{max(one['put']['server_peak'] for one in found) // MIB}",
        ]
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
