"""Tables to read, servers to read them from, and one read by a client process of its own; for profile_read.py and tune.py.

A client process that has read once reads faster the next time: its allocator has learnt how large messages are. So every
read that counts is made by a new process.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

HERE = Path(__file__).resolve().parent
GB = 1e9

# Rows at scale 1, and the statement that makes them. {n} is the number of rows.
TABLES = {
    # Six short strings, two numbers.
    "wells": (
        4_000_000,
        "SELECT range AS id, 'plate ' || (range // 384) AS plate, chr((65 + range % 16)::INT) || (range % 24) AS well, "
        "'sample ' || (range * 7919 % 100003) AS sample, 'run-' || (range % 977) AS run, "
        "['blank', 'standard', 'unknown', 'control'][1 + range % 4] AS kind, 'operator ' || (range % 13) AS operator, "
        "(range % 1000) / 7 AS signal FROM range({n})",
    ),
    "doubles": (300_000, "SELECT " + ", ".join(f"random() AS c{n}" for n in range(200)) + " FROM range({n})"),
    "nested": (
        1_000_000,
        "SELECT range AS id, {{'a': range, 'b': 'text ' || range % 1000, 'c': range / 3}} AS s, "
        "[range, range + 1, range * 2] AS l, ['a' || range % 50, 'bcd'] AS t, "
        "MAP {{'x': range, 'y': range % 7}} AS m, CASE WHEN range % 3 > 0 THEN [range / 2] END AS maybe FROM range({n})",
    ),
    "long": (60_000, "SELECT range AS id, repeat(md5(range::VARCHAR), 250) AS s FROM range({n})"),
}


def make(folder: Path, scale: float, names, lineitem: Path | None = None) -> Path:
    """A checkpointed database with the tables `names`."""
    path = folder / "reads.duckdb"
    with duckdb.connect(str(path)) as connection:
        for name in names:
            if name == "lineitem":
                connection.execute(f"CREATE TABLE lineitem AS FROM read_parquet('{lineitem or generated(folder, scale)}')")
            else:
                rows, sql = TABLES[name]
                connection.execute(f"CREATE TABLE {name} AS " + sql.format(n=int(rows * scale)))
        connection.execute("CHECKPOINT")
    return path


def generated(folder: Path, scale: float) -> Path:
    tool = Path(sys.executable).parent / "tpchgen-cli"
    command = [tool, "parquet", "-s", str(scale), "--tables=lineitem", f"--output-dir={folder}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return next(folder.rglob("lineitem*.parquet"))


@dataclass
class Counts:
    """What a process has used so far."""

    user: float
    kernel: float
    faults: int
    switches: int
    writes: int

    def __sub__(self, other):
        return Counts(*(mine - theirs for mine, theirs in zip(vars(self).values(), vars(other).values())))


class Server:
    """`kind`: the path of a pintail, or "peer"."""

    def __init__(self, kind: str, database: Path, env=None):
        if kind == "peer":
            command = [sys.executable, str(HERE / "peer.py"), str(database)]
        else:
            command = [kind, "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--database", str(database)]
        environment = {**os.environ, "PINTAIL_LOG__LEVEL": "error", **(env or {})}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.uri = self.process.stdout.readline().split()[-1]

    @property
    def proc(self) -> Path:
        return Path(f"/proc/{self.process.pid}")

    def counts(self) -> Counts:
        fields = (self.proc / "stat").read_text().rsplit(")", 1)[1].split()
        ticks = os.sysconf("SC_CLK_TCK")
        switches = 0
        for task in (self.proc / "task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if "ctxt_switches" in line:
                    switches += int(line.split()[1])
        writes = int((self.proc / "io").read_text().split("syscw: ")[1].split()[0])
        return Counts(int(fields[11]) / ticks, int(fields[12]) / ticks, int(fields[7]), switches, writes)

    def memory(self, key: str) -> int:
        return int((self.proc / "status").read_text().split(key)[1].split()[0]) * 1024

    def reset_peak(self):
        (self.proc / "clear_refs").write_text("5")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


CLIENT = """
import sys, time, pyarrow.flight as flight
uri, sql, readers = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = flight.connect(uri)
def read():
    began, first, rows, size = time.perf_counter(), 0, 0, 0
    for chunk in client.do_get(flight.Ticket(sql.encode())):
        first = first or time.perf_counter() - began
        rows += chunk.data.num_rows
        size += chunk.data.nbytes
    return time.perf_counter() - began, first, rows, size
if readers == 1:
    print(*read())
else:
    from concurrent.futures import ThreadPoolExecutor
    began = time.perf_counter()
    with ThreadPoolExecutor(readers) as pool:
        done = list(pool.map(lambda _: read(), range(readers)))
    print(time.perf_counter() - began, *(sum(column) for column in list(zip(*done))[1:]))
"""


@dataclass
class Read:
    seconds: float
    first: float
    rows: int
    size: int
    used: Counts


def read(server: Server, sql: str, readers: int = 1) -> Read:
    """One read of all rows, or several at the same time, by a new client process."""
    before = server.counts()
    done = subprocess.run([sys.executable, "-c", CLIENT, server.uri, sql, str(readers)], check=True, stdout=subprocess.PIPE, text=True)
    used = server.counts() - before
    seconds, first, rows, size = done.stdout.split()
    return Read(float(seconds), float(first), int(rows), int(size), used)


def copy(database: Path, name: str) -> Path:
    """One file is opened by one process."""
    return Path(shutil.copy(database, database.with_name(name)))
