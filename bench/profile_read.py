"""Where the time of a read goes: one DoGet of a whole table, Pintail beside a pyarrow.flight server around DuckDB.

    make profile-read                        all tables
    make profile-read BENCH="--tables wells,long --rounds 3 --scale 0.2 --base PATH_OF_AN_EARLIER_PINTAIL"

Rounds take turns, every read by a new client process. Per GB of Arrow data: processor seconds of the server (user +
kernel), page faults, context switches, writes to the socket. With `perf` at hand, one more read of each server tells
where its processor was: by the symbol that ran, so that a copy made for DuckDB counts as a copy.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from reads import GB, Read, Server, TABLES, copy, make, read

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


def per_gb(reads: list[Read], value) -> float:
    return statistics.median(value(done) / (done.size / GB) for done in reads)


def shares(server: Server, sql: str, folder: Path) -> dict:
    """Share of the server's processor time by part, in per cent."""
    data = folder / "perf.data"
    record = ["perf", "record", "-q", "-F", "499", "-o", str(data), "-p", str(server.process.pid)]
    recording = subprocess.Popen(record, stderr=subprocess.DEVNULL)
    read(server, sql)
    recording.terminate()
    recording.wait()
    report = ["perf", "report", "-i", str(data), "--stdio", "-F", "overhead,dso,symbol", "-t", "|"]
    lines = subprocess.run(report, capture_output=True, text=True).stdout.splitlines()
    found = dict.fromkeys([name for name, _ in SHARES] + ["rest"], 0.0)
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
    parser.add_argument("--tables", default=",".join(["lineitem", *TABLES]))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--lineitem", type=Path, help="a Parquet file, instead of generating one")
    parser.add_argument("--base", help="an earlier pintail, beside the others")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for the database, used again when it is there")
    arguments = parser.parse_args()
    names = arguments.tables.split(",")
    kinds = {"Pintail": os.environ["PINTAIL_BIN"]}
    kinds |= {"earlier": arguments.base} if arguments.base else {}
    kinds |= {} if arguments.no_peer else {"peer": "peer"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        database = folder / "reads.duckdb"
        if not database.exists():
            make(folder, arguments.scale, names, arguments.lineitem)
        titles = ["table", "server", "of the peer", "GB/s", "first batch, ms", "core-s a GB (user + kernel)",
                  "page faults a GB", "context switches a GB", "writes a GB", "peak MiB"]
        titles += [name for name, _ in SHARES] + ["rest"] if shutil.which("perf") else []
        print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles), flush=True)
        copies = {kind: copy(database, f"{kind}.duckdb") for kind in kinds}
        for name in names:
            sql = f"SELECT * FROM {name}"
            servers = {kind: Server(command, copies[kind]) for kind, command in kinds.items()}
            try:
                for server in servers.values():
                    read(server, sql)
                    server.reset_peak()
                done: dict[str, list[Read]] = {kind: [] for kind in kinds}
                for turn in range(arguments.rounds):
                    order = list(kinds) if turn % 2 == 0 else list(kinds)[::-1]
                    for kind in order:
                        done[kind].append(read(servers[kind], sql))
                for kind, reads in done.items():
                    row = line(name, kind, reads, done.get("peer"), servers[kind])
                    if shutil.which("perf"):
                        row += [f"{share:.0f} %" for share in shares(servers[kind], sql, folder).values()]
                    print("| " + " | ".join(row) + " |", flush=True)
            finally:
                for server in servers.values():
                    server.__exit__()


def line(name: str, kind: str, reads: list[Read], peer: list[Read] | None, server: Server) -> list[str]:
    seconds = statistics.median(done.seconds for done in reads)
    # Read by read, so that what disturbs a round disturbs both.
    ratio = statistics.median(theirs.seconds / mine.seconds for theirs, mine in zip(peer, reads)) if peer else None
    return [
        name, kind, "" if ratio is None else f"{ratio:.2f}",
        f"{reads[0].size / GB / seconds:.2f}",
        f"{statistics.median(done.first for done in reads) * 1e3:.0f}",
        f"{per_gb(reads, lambda done: done.used.user + done.used.kernel):.2f} "
        f"({per_gb(reads, lambda done: done.used.user):.2f} + {per_gb(reads, lambda done: done.used.kernel):.2f})",
        f"{per_gb(reads, lambda done: done.used.faults):,.0f}",
        f"{per_gb(reads, lambda done: done.used.switches):,.0f}",
        f"{per_gb(reads, lambda done: done.used.writes):,.0f}",
        f"{server.memory('VmHWM:') >> 20}",
    ]


if __name__ == "__main__":
    main()
