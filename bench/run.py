"""End-to-end benchmark with real clients: one machine, one run, all sides in turns. Writes results.md, results.json and SVG.

    make bench                               Pintail, in-process DuckDB and the pyarrow.flight server
    make bench-peers                         and Quack, roapi and Sail, each installed into an environment of its own
    make bench-peers BENCH="--quick"         a tenth of the data, three rounds
    make bench BENCH="--only reads --only loads --table lineitem"
    make bench-peers BENCH="--threads 1,2,4,8,16"
    make bench BENCH="--base PATH"           an earlier build as one more side

Each measurement has a client process of its own, and a put a database of its own. A ratio is the median of the ratios within
one round. What cannot be installed or does not work is said to be missing, with its reason. BENCHMARKS.md says what the rows mean.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import adbc_driver_flightsql
import duckdb
import pyarrow as pa

from data import TABLES
from parts import PARTS
from report import Report
from rounds import INSTALLED, Bench
from sides import HERE, sides, version

OURS = ("baseline", "pintail", "adbc", "base", "adbc base", "peer", "adbc peer", "constant")
USUAL = [part for part in PARTS if part != "cores"]


def numbers(text: str) -> list:
    return [int(number) for number in text.split(",")]


def options():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("bench-out"))
    flags.add_argument("--only", action="append", choices=list(PARTS), help="a part alone; may be given again")
    flags.add_argument("--table", action="append", choices=TABLES, help="a table alone; may be given again")
    flags.add_argument("--sides", type=lambda text: text.split(","), help=f"of {', '.join((*OURS, *INSTALLED))}")
    flags.add_argument("--peers", action="store_true", help="also install and measure Quack, roapi and Sail")
    flags.add_argument("--quick", action="store_true", help="a tenth of the data, three rounds")
    flags.add_argument("--scale", type=float, help="of the tables; 1 is TPC-H scale 1 and 5 million wells (1; 0.1 with --quick)")
    flags.add_argument("--rounds", type=int, help="of every comparison (5; 3 with --quick)")
    flags.add_argument("--seconds", type=float, default=2.0, help="of each measurement of things that repeat")
    flags.add_argument("--clients", type=numbers, default=[1, 8], help="of small puts, such as 1,4,16,32")
    flags.add_argument("--readers", type=int, default=12, help="that read together")
    flags.add_argument("--rows", type=int, default=100_000, help="of the table of point queries")
    flags.add_argument("--index", action="store_true", help="index the key of point queries")
    flags.add_argument("--threads", type=numbers, help="measure by cores instead, such as 1,2,4,8,16")
    flags.add_argument("--base", help="an earlier build of pintail")
    flags.add_argument("--lock", type=Path, help="a file that is locked while something is measured, where others work too")
    found = flags.parse_args()
    found.scale = found.scale or (0.1 if found.quick else 1)
    found.rounds = found.rounds or (3 if found.quick else 5)
    found.sides = found.sides or [*OURS, *(INSTALLED if found.peers else ())]
    found.only = found.only or (["cores"] if found.threads else USUAL)
    found.threads = found.threads or [1, 2, 4, 8, 16]
    return found


def machine() -> str:
    told = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in told if line.startswith("model name")), "unknown processor")
    memory = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) / 2**20
    return f"{os.cpu_count()} cores, {name}, {memory:.0f} GiB of memory, {platform.system()} {platform.release()}"


def head(bench) -> list:
    """What is compared, with what, where and when, and how to do it again."""
    chosen = bench.options
    pinned = [line for name in INSTALLED if name in chosen.sides for line in (HERE / "requirements" / f"{name}.txt").read_text().split()]
    given = " ".join(part for part in sys.argv[1:] if part != "--peers")
    lines = [
        f"# {'Peers' if chosen.peers else 'Benchmark'}, {time.strftime('%Y-%m-%d %H:%M %Z')}",
        "",
        f"- Pintail {version(os.environ['PINTAIL_BIN'])}, DuckDB {duckdb.__version__}, pyarrow {pa.__version__}, "
        f"ADBC {adbc_driver_flightsql.__version__}, Python {platform.python_version()}",
        *([f"- Peers: {', '.join(pinned)}"] if pinned else []),
        f"- Machine: {machine()}",
        f"- Command: `python bench/run.py {'--peers ' if chosen.peers else ''}{given}`",
        f"- {chosen.rounds} rounds; the load average was {os.getloadavg()[0]:.1f} when this was written",
        *([f"- The machine's lock was ours alone in {sum(bench.locked)} of {len(bench.locked)} measurements"] if bench.locked else []),
        *(f"- Missing: {name}: {reason}" for name, reason in bench.missing.items()),
        "",
    ]
    return lines


def main() -> None:
    # So that a run that is told to end takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options()
    report = Report(chosen.out)
    folder = Path(tempfile.mkdtemp(prefix="pintail-bench-"))
    try:
        bench = Bench(chosen, report, folder, sides(chosen.base))
        for part in chosen.only:
            PARTS[part](bench)
            # After each part, so that a run cut short keeps what it has.
            report.head = head(bench)
            report.write()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"written to {chosen.out}/results.md")


if __name__ == "__main__":
    main()
