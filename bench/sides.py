"""The sides: how each is installed, its server started, and a client of it run in a process of its own."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("PINTAIL_BENCH_CACHE", Path.home() / ".cache" / "pintail-bench"))
MIB = 1 << 20
PATIENCE_S = 600


class Missing(Exception):
    """A side that cannot be measured here, and why."""


def environment(name: str) -> Path:
    """The folder of programs of a virtual environment that has exactly the packages of requirements/NAME.txt."""
    wanted = HERE / "requirements" / f"{name}.txt"
    home = CACHE / name
    stamp = home / "pinned.txt"
    if not (stamp.exists() and stamp.read_text() == wanted.read_text()):
        print(f"installing {', '.join(wanted.read_text().split())} into {home}", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        for command in ([sys.executable, "-m", "venv", home], [home / "bin" / "python", "-m", "pip", "install", "-q", "-r", wanted]):
            made = subprocess.run([str(part) for part in command], capture_output=True, text=True)
            if made.returncode:
                shutil.rmtree(home, ignore_errors=True)
                raise Missing(f"its packages cannot be installed: {made.stderr.strip()[-300:]}")
        stamp.write_text(wanted.read_text())
    return home / "bin"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass
class Used:
    """What a process has used: processor seconds, page faults, context switches, writes."""

    user: float
    kernel: float
    faults: int
    switches: int
    writes: int

    def __sub__(self, other):
        return Used(*(mine - theirs for mine, theirs in zip(vars(self).values(), vars(other).values())))

    @property
    def cpu(self) -> float:
        return self.user + self.kernel


class Server:
    """A server process. It says where it listens in the last word of its first line, or is told a port and waited for."""

    def __init__(self, command, at=None, env=None, cores=None):
        pinned = ["taskset", "-c", cores] if cores else []
        environment = {**os.environ, "PINTAIL_LOG__LEVEL": "error", "RUST_LOG": "error", **(env or {})}
        quiet = {"stdout": subprocess.PIPE if at is None else subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*pinned, *map(str, command)], text=True, env=environment, **quiet)
        self.at = at or (self.process.stdout.readline().split() or [None])[-1]
        if at:
            self._wait(int(at.rsplit(":", 1)[1]))
        if self.at is None:
            raise Missing(f"its server ended with {self.process.wait()}: {' '.join(map(str, command))}")

    def _wait(self, port: int) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise Missing(f"its server does not listen; it ended with {self.process.wait()}")

    def reset_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most memory it had resident, in bytes."""
        return int(Path(f"/proc/{self.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

    def used(self) -> Used:
        """What it has used so far."""
        of = Path(f"/proc/{self.process.pid}")
        fields = (of / "stat").read_text().rsplit(")", 1)[1].split()
        ticks = os.sysconf("SC_CLK_TCK")
        told = [line for task in (of / "task").iterdir() for line in (task / "status").read_text().splitlines()]
        switches = sum(int(line.split()[1]) for line in told if "ctxt_switches" in line)
        writes = int((of / "io").read_text().split("syscw: ")[1].split()[0])
        return Used(int(fields[11]) / ticks, int(fields[12]) / ticks, int(fields[7]), switches, writes)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Client:
    """client.py under way; what it needs is open once this returns."""

    def __init__(self, python, cores=None, **work):
        pinned = ["taskset", "-c", cores] if cores else []
        command = [*pinned, str(python), str(HERE / "client.py"), json.dumps(work)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, **pipes)

    def wait_ready(self) -> None:
        if self.process.stdout.readline().strip() != "ready":
            self._failed()

    def go(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self) -> dict:
        said, self.errors = self.process.communicate(timeout=PATIENCE_S)
        if self.process.returncode:
            self._failed()
        return json.loads(said.splitlines()[-1])

    def _failed(self):
        errors = getattr(self, "errors", None) or self.process.communicate()[1]
        raise Missing((errors.strip().splitlines() or ["it ended without a word"])[-1][:300])


def run_clients(count: int, server: Server | None, works, cores=None) -> dict:
    """Clients that start together; `works` gives the interpreter and the work of each.

    What they saw, what the server used meanwhile, its peak memory, and the seconds from their start to the last end.
    """
    clients = [Client(python, cores, **work) for python, work in (works(n) for n in range(count))]
    try:
        for client in clients:
            client.wait_ready()
        if server:
            server.reset_peak()
        before, started = server.used() if server else None, time.perf_counter()
        for client in clients:
            client.go()
        results = [client.result() for client in clients]
        seconds = time.perf_counter() - started
    finally:
        for client in clients:
            if client.process.poll() is None:
                client.process.kill()
                client.process.wait()
    found = {"results": results, "seconds": seconds}
    if server:
        used = server.used() - before
        found |= {"cpu": used.cpu, "used": vars(used), "server_peak": server.peak()}
    return found


@dataclass
class Side:
    """One side of a comparison: its clients' protocol, and how its server is started over a database or the made tables."""

    name: str
    protocol: str
    kind: str
    binary: str | None = None
    python: Path = Path(sys.executable)
    env: dict = field(default_factory=dict)

    def serve(self, database: Path, data=None, cores=None, env=None) -> Server | None:
        """A server over `database`, or, where the side cannot read that file, over the tables of `data`."""
        tables = [f"{name}={data.parquet(name)}" for name in data.tables] if data else []
        match self.kind:
            case "in process":
                return None
            case "pintail":
                command = [self.binary, "serve", "--database", database, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
                return Server(command, env={**self.env, **(env or {})}, cores=cores)
            case "peer" | "peer_sql":
                return Server([sys.executable, HERE / f"{self.kind}.py", database], cores=cores)
            case "constant":
                return Server([sys.executable, HERE / "constant.py"], cores=cores)
            case "quack":
                own = database.with_name(f"{database.stem}-quack.duckdb")
                return Server([self.python, HERE / "quack.py", own, *tables], cores=cores)
            case "roapi":
                at = f"grpc://127.0.0.1:{free_port()}"
                others = ["-a", f"127.0.0.1:{free_port()}", "-p", f"127.0.0.1:{free_port()}"]
                named = [part for table in tables for part in ("-t", table)]
                command = [environment("roapi") / "roapi", *others, "--addr-flight-sql", at.removeprefix("grpc://"), *named]
                return Server(command, at, cores=cores)
            case "sail":
                at = f"grpc://127.0.0.1:{free_port()}"
                server = Server([environment("sail") / "sail", "flight", "server", "--port", at.rsplit(":", 1)[1]], at, cores=cores)
                for name in data.tables if data else []:
                    self._view(at, name, data.parquet(name))
                return server
        raise ValueError(self.kind)

    def _view(self, at: str, name: str, file: Path) -> None:
        import adbc_driver_flightsql.dbapi as dbapi

        with dbapi.connect(at, autocommit=True) as connection, connection.cursor() as cursor:
            # A view over parquet.`FILE` is made but cannot be read (findings/sail_views_lose_quotes.sh).
            cursor.execute(f"CREATE TEMPORARY VIEW {name} USING parquet OPTIONS (path '{file}')").fetchall()

    def work(self, server: Server | None, database: Path, **work):
        """What one client does: its interpreter and its work."""
        at = server.at if server else str(database)
        return self.python, {"protocol": self.protocol, "at": at, **work}

    def run(self, server: Server | None, database: Path, cores=None, **work) -> dict:
        """One client alone: what it saw, with what the server used and its peak memory beside it."""
        found = run_clients(1, server, lambda _: self.work(server, database, **work), cores)
        return {**found["results"][0], **{key: found[key] for key in ("cpu", "used", "server_peak") if key in found}}


def version(binary: str) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    return re.sub(r"^pintail ", "", said.strip())


def sides(base: str | None) -> dict:
    """All sides that a part may choose from, by a short name."""
    binary = os.environ["PINTAIL_BIN"]
    made = {
        "baseline": Side("in-process DuckDB", "in process", "in process"),
        "pintail": Side("Pintail", "flight", "pintail", binary),
        "peer": Side("pyarrow.flight", "flight", "peer"),
        "adbc": Side("Pintail by ADBC", "adbc", "pintail", binary),
        "adbc peer": Side("C++ Flight SQL by ADBC", "adbc", "peer_sql"),
        "quack": Side("Quack", "quack", "quack", python=CACHE / "quack" / "bin" / "python"),
        "roapi": Side("roapi by ADBC", "adbc", "roapi"),
        "sail": Side("Sail by ADBC", "adbc", "sail"),
        "constant": Side("constant answers", "adbc", "constant"),
    }
    if base:
        made["base"] = Side("earlier build", "flight", "pintail", base)
        made["adbc base"] = Side("earlier build by ADBC", "adbc", "pintail", base)
    return made
