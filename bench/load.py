"""`pintail load` against COPY … FROM of in-process DuckDB, and against an earlier build, in turns.

    make bench-load [BENCH="--scale 1 --rounds 5 --small 3000 --base PATH_OF_AN_EARLIER_PINTAIL"]

One Parquet file of TPC-H lineitem into a new table of a new database, the whole command timed, and a folder of files of
one row each. A server runs beside `pintail load`, on the same cores. Prints the ratios and the peak memory of the client.
"""

import argparse
import contextlib
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from sides import Side

COPY = """
import sys, time, duckdb
database, file = sys.argv[1:]
con = duckdb.connect(database)
con.execute(f"CREATE TABLE t AS FROM read_parquet('{file}') LIMIT 0")
began = time.perf_counter()
con.execute(f"COPY t FROM '{file}' (FORMAT parquet)")
print(time.perf_counter() - began)
"""


@contextlib.contextmanager
def served(binary: str, folder: Path):
    """A server over a new database."""
    server = Side("pintail load", "flight", "pintail", binary).serve(folder / "served.duckdb")
    try:
        yield server
    finally:
        server.stop()


def copied(file: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", COPY, str(Path(folder) / "copied.duckdb"), str(file)],
            capture_output=True, text=True, check=True,
        )
        return float(done.stdout.split()[-1])


def loaded(binary: str, source: Path, rows: int, flags=()) -> tuple[float, float]:
    """Seconds of the whole command, and the peak memory of the client in MiB."""
    with tempfile.TemporaryDirectory() as folder, served(binary, Path(folder)) as server:
        began = time.perf_counter()
        process = subprocess.Popen(
            [binary, "load", str(source), "--table", "t", "--server", server.at, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        # What `wait` says of a child's memory begins with this process, so the kernel is asked while it runs.
        peak = 0
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found.group(1)) if found else 0)
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        assert process.returncode == 0, process.stderr.read()
        said = process.stdout.read()
        assert f"loaded {rows:,} rows" in said, said
        return seconds, peak / 1024


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--scale", type=float, default=1)
    flags.add_argument("--rounds", type=int, default=5)
    flags.add_argument("--small", type=int, default=3000)
    flags.add_argument("--base", help="another pintail to compare with")
    flags = flags.parse_args()
    sides = {"pintail load": os.environ["PINTAIL_BIN"], **({"earlier build": flags.base} if flags.base else {})}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        tool = Path(sys.executable).parent / "tpchgen-cli"
        subprocess.run(
            [tool, "parquet", "-s", str(flags.scale), "--tables=lineitem", f"--output-dir={folder}"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        file = next(folder.rglob("lineitem*.parquet"))
        about = parquet.ParquetFile(file).metadata
        took = {name: [] for name in ["COPY FROM", *sides]}
        peaks = {name: 0.0 for name in sides}
        for _ in range(flags.rounds):
            took["COPY FROM"].append(copied(file))
            for name, binary in sides.items():
                seconds, peak = loaded(binary, file, about.num_rows)
                took[name].append(seconds)
                peaks[name] = max(peaks[name], peak)
        limit = statistics.median(took["COPY FROM"])
        print(
            f"lineitem, scale {flags.scale:g}: {about.num_rows:,} rows, {file.stat().st_size / 1e6:.0f} MB, "
            f"{about.num_row_groups} row groups, {flags.rounds} rounds\n"
        )
        print("| | median s | best s | rows/s | of COPY FROM | peak MiB |\n|---|---|---|---|---|---|")
        for name, seconds in took.items():
            median = statistics.median(seconds)
            peak = f"{peaks[name]:.0f}" if name in peaks else ""
            print(f"| {name} | {median:.2f} | {min(seconds):.2f} | {about.num_rows / median:,.0f} | {limit / median:.2f} | {peak} |")
        small = folder / "small"
        small.mkdir()
        for number in range(flags.small):
            parquet.write_table(pa.table({"i": [number]}), small / f"{number:05}.parquet")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        print(f"\n{flags.small:,} files of one row\n\n| | best s | peak MiB |\n|---|---|---|")
        for name, binary in sides.items():
            runs = [loaded(binary, small, flags.small) for _ in range(max(1, flags.rounds // 2))]
            print(f"| {name} | {min(seconds for seconds, _ in runs):.2f} | {max(peak for _, peak in runs):.0f} |")
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    main()
