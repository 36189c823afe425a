"""The sweep that the defaults come from: one setting at a time, over a read and a load, beside the defaults.

    make bench-tune                          about twenty minutes on two cores
    make bench-tune BENCH="--scale 0.2 --rounds 3 --only read_ahead,batch_bytes"

A load is one DoPut of the table that was read, into a new table. Rounds take turns between all values of a setting, every
read by a new client process. Ratios are speeds, of the default's in the same round; `malloc` is glibc's, set by its
environment variables. Row-group units are no setting: DuckDB's row group is 122,880 rows, and anything else leaves fragments.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import reads
from reads import GB, Server

# Setting: the values beside the default, as environment variables of the server.
SWEEP = {
    "threads": {f"{n}": {"PINTAIL_DATABASE__THREADS": f"{n}"} for n in [1, 2, 4]},
    "batch_bytes": {
        size: {"PINTAIL_QUERY__BATCH_BYTES": size} for size in ["512 KiB", "896 KiB", "1344 KiB", "2688 KiB", "3584 KiB"]
    },
    "buffer_bytes": {size: {"PINTAIL_QUERY__BUFFER_BYTES": size} for size in ["4 MiB", "16 MiB", "32 MiB"]},
    "read_ahead": {size: {"PINTAIL_QUERY__READ_AHEAD": size} for size in ["16 MiB", "32 MiB", "64 MiB"]},
    "engine_arrays": {"true": {"PINTAIL_QUERY__ENGINE_ARRAYS": "true"}},
    "malloc": {
        "arenas 2": {"MALLOC_ARENA_MAX": "2"},
        "mmap above 32 MiB": {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "268435456"},
    },
}

LOADER = """
import sys, time, pyarrow.flight as flight
uri, table, target = sys.argv[1:]
client = flight.connect(uri)
rows = client.do_get(flight.Ticket(f"SELECT * FROM {table}".encode())).read_all()
batches = rows.to_batches(max_chunksize=65536)
began = time.perf_counter()
writer, answers = client.do_put(flight.FlightDescriptor.for_path(target), rows.schema)
with writer:
    for batch in batches:
        writer.write_batch(batch)
    writer.done_writing()
    answers.read()
print(time.perf_counter() - began)
client.do_get(flight.Ticket(f"DROP TABLE {target}".encode())).read_all()
"""


def loaded(server: Server, table: str) -> float:
    done = reads.subprocess.run(
        [sys.executable, "-c", LOADER, server.uri, table, "loaded"], check=True, stdout=reads.subprocess.PIPE, text=True
    )
    return float(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default="lineitem,wells")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--readers", type=int, default=1, help="reads at the same time")
    parser.add_argument("--only", default=",".join(SWEEP), help="settings, with commas between")
    parser.add_argument("--no-load", action="store_true")
    parser.add_argument("--lineitem", type=Path, help="a Parquet file, instead of generating one")
    arguments = parser.parse_args()
    tables = arguments.tables.split(",")
    binary = os.environ["PINTAIL_BIN"]
    print("| setting | value | table | read | CPU s a GB | page faults a GB | first batch, ms | peak MiB | load |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        database = reads.make(Path(temporary), arguments.scale, tables, arguments.lineitem)
        for setting in arguments.only.split(","):
            values = {"default": {}, **SWEEP[setting]}
            for table in tables:
                sweep(setting, values, table, binary, database, arguments)


def sweep(setting: str, values: dict, table: str, binary: str, database: Path, arguments):
    sql = f"SELECT * FROM {table}"
    done, loads, peaks = {value: [] for value in values}, {value: [] for value in values}, {}
    for turn in range(arguments.rounds):
        for value in list(values) if turn % 2 == 0 else list(values)[::-1]:
            # The file is one server's at a time, so that a sweep needs no copies of it.
            with Server(binary, database, values[value]) as server:
                reads.read(server, sql)
                server.reset_peak()
                done[value].append(reads.read(server, sql, arguments.readers))
                peaks[value] = max(peaks.get(value, 0), server.memory("VmHWM:"))
                if not arguments.no_load:
                    loads[value].append(loaded(server, table))
    for value, found in done.items():
        def median(of):
            return statistics.median(of(one) for one in found)

        speed = statistics.median(theirs.seconds / one.seconds for theirs, one in zip(done["default"], found))
        load = [theirs / one for theirs, one in zip(loads["default"], loads[value])]
        print(
            f"| {setting} | {value} | {table} | {speed:.2f} | {median(lambda one: (one.used.user + one.used.kernel) / (one.size / GB)):.2f} "
            f"| {median(lambda one: one.used.faults / (one.size / GB)):,.0f} | {median(lambda one: one.first / arguments.readers) * 1e3:.0f} "
            f"| {peaks[value] >> 20} | {f'{statistics.median(load):.2f}' if load else ''} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
