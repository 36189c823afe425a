"""Where the time of a read goes: one DoGet of a whole table, Pintail beside a pyarrow.flight server around DuckDB.

    make profile-read                        all tables
    make profile-read BENCH="--table wells --table strings --rounds 3 --scale 0.2 --base PATH_OF_AN_EARLIER_PINTAIL"

Rounds take turns, every read by a new client process. Per GB of Arrow data: processor seconds of the server (user +
kernel), page faults, context switches, writes to the socket. With `perf` at hand, one more read of each server tells
where its processor was: by the symbol that ran, so that a copy made for DuckDB counts as a copy.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from data import TABLES, Data
from sides import MIB, Server, Side, sides

GB = 1e9

# The first that matches a line of perf, "object symbol", is its share.
SHARES = [
    ("kernel", r"^\[k"),
    ("Arrow build", r"Append|Arrow|ReserveAll|CopyStrings|libarrow\.so"),
    ("DuckDB", r"duckdb|_Z.*6duckdb|fsst|libduckdb|_duckdb"),
    ("encode", r"arrow_ipc|arrow_array|arrow_data|arrow_buffer|flatbuffers|pintail"),
    ("transport", r"h2::|hyper|tonic|tokio|prost|bytes::|libarrow_flight|grpc|libarrow_python_flight"),
    ("copies", r"mem(move|cpy|set)"),
    ("allocator", r"malloc|free|calloc|realloc|mi_|je_|rallocx|brk|_int_"),
]
HEAD = ["table", "server", "of the peer", "GB/s", "first batch, ms", "core-s a GB (user + kernel)", "page faults a GB"]
HEAD += ["context switches a GB", "writes a GB", "peak MiB"]


def read(side: Side, server: Server, data: Data, table: str) -> dict:
    """One read of all rows by a new client process."""
    found = side.run(server, data.database, do="read", sql=f"SELECT * FROM {table}")
    if found["rows"] != data.rows[table]:
        raise ValueError(f"{side.name} read {found['rows']:,} rows of {table}, which has {data.rows[table]:,}")
    return found


def shares(side: Side, server: Server, data: Data, table: str) -> dict:
    """Share of the server's processor time by part, in per cent."""
    found = dict.fromkeys([name for name, _ in SHARES] + ["rest"], 0.0)
    with tempfile.TemporaryDirectory() as folder:
        recorded = f"{folder}/perf.data"
        record = ["perf", "record", "-q", "-F", "499", "-o", recorded, "-p", str(server.process.pid)]
        recording = subprocess.Popen(record, stderr=subprocess.DEVNULL)
        read(side, server, data, table)
        recording.terminate()
        recording.wait()
        report = ["perf", "report", "-i", recorded, "--stdio", "-F", "overhead,dso,symbol", "-t", "|"]
        lines = subprocess.run(report, capture_output=True, text=True).stdout.splitlines()
    for line in lines:
        if line.startswith("#") or line.count("|") < 2:
            continue
        share, shared, symbol = (part.strip() for part in line.split("|", 2))
        kernel = "[k]" if symbol.startswith("[k]") else ""
        # The object of Pintail holds all of it, so that its name says nothing.
        shared = "" if shared.startswith("pintail") else shared
        text = f"{kernel}{shared} {symbol}"
        name = next((name for name, pattern in SHARES if re.search(pattern, text)), "rest")
        found[name] += float(share.rstrip("%"))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="append", choices=TABLES, help="a table alone; may be given again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--base", help="an earlier pintail, beside the others")
    arguments = parser.parse_args()
    known = sides(arguments.base)
    chosen = {name: known[name] for name in ("pintail", "base", "peer") if name in known}
    has_perf = bool(shutil.which("perf"))
    titles = HEAD + ([name for name, _ in SHARES] + ["rest"] if has_perf else [])
    with tempfile.TemporaryDirectory() as temporary:
        data = Data(Path(temporary), arguments.scale, arguments.table or TABLES)
        print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles), flush=True)
        copies = {name: Path(shutil.copy(data.database, f"{temporary}/{name}.duckdb")) for name in chosen}
        for table in data.tables:
            servers = {name: side.serve(copies[name]) for name, side in chosen.items()}
            try:
                for row in profiled(chosen, servers, data, table, arguments.rounds, has_perf):
                    print("| " + " | ".join(row) + " |", flush=True)
            finally:
                for server in servers.values():
                    server.stop()


def profiled(chosen: dict, servers: dict, data: Data, table: str, rounds: int, has_perf: bool):
    for name, side in chosen.items():
        read(side, servers[name], data, table)
    done: dict[str, list] = {name: [] for name in chosen}
    for turn in range(rounds):
        for name in list(chosen) if turn % 2 == 0 else list(chosen)[::-1]:
            done[name].append(read(chosen[name], servers[name], data, table))
    for name, side in chosen.items():
        row = line(table, side.name, done[name], done["peer"], data.bytes[table] / GB)
        told = shares(side, servers[name], data, table) if has_perf else {}
        yield row + [f"{share:.0f} %" for share in told.values()]


def line(table: str, name: str, runs: list, peer: list, size: float) -> list[str]:
    def middle(of) -> float:
        return statistics.median(of(run) for run in runs)

    # Read by read, so that what disturbs a round disturbs both.
    ratio = statistics.median(theirs["seconds"] / mine["seconds"] for theirs, mine in zip(peer, runs))
    user, kernel = (middle(lambda run: run["used"][part]) / size for part in ("user", "kernel"))
    return [
        table, name, f"{ratio:.2f}", f"{size / middle(lambda run: run['seconds']):.2f}",
        f"{middle(lambda run: run['first']) * 1e3:.0f}", f"{user + kernel:.2f} ({user:.2f} + {kernel:.2f})",
        *(f"{middle(lambda run: run['used'][part]) / size:,.0f}" for part in ("faults", "switches", "writes")),
        f"{max(run['server_peak'] for run in runs) // MIB}",
    ]


if __name__ == "__main__":
    main()
