"""What all parts of a run share: sides that take turns, round after round, and the ratios between them."""

import contextlib
import fcntl
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data import TABLES, Data
from report import Report
from sides import Missing, Side, environment

# Peers that have packages of their own to install.
INSTALLED = ("quack", "roapi", "sail")
LOCK_PATIENCE_S = 1.0


class Bench:
    """One run: its options, its sides, its tables and what it has found."""

    def __init__(self, options, report: Report, folder: Path, sides: dict):
        self.options, self.report, self.folder = options, report, folder
        self.all, self.missing, self._data = sides, {}, None
        # For each measurement, whether the machine's lock was ours alone.
        self.locked = []
        for name in INSTALLED:
            if name in options.sides:
                with self.present(name):
                    environment(name)

    @property
    def quick(self) -> bool:
        return self.options.quick

    @property
    def seconds(self) -> float:
        """How long things that repeat are measured, each time."""
        return 0.5 if self.quick else self.options.seconds

    @property
    def data(self) -> Data:
        if self._data is None:
            place = self.folder / "data"
            place.mkdir()
            self._data = Data(place, self.options.scale, self.options.table or TABLES)
        return self._data

    def chosen(self, *names: str) -> list:
        """Those of `names` that are to be measured and can be."""
        return [name for name in names if name in self.options.sides and name in self.all and name not in self.missing]

    def side(self, name: str) -> Side:
        return self.all[name]

    @contextlib.contextmanager
    def present(self, name: str):
        """What goes wrong inside makes that side a missing one; the rest of the run goes on. Pintail itself must not be."""
        try:
            yield
        except (Missing, ValueError, subprocess.TimeoutExpired) as reason:
            side = self.all.get(name.split(", ")[0])
            if side and side.kind in ("pintail", "in process"):
                raise
            self.lack(name, str(reason))

    def lack(self, name: str, reason: str) -> None:
        reason = " ".join(reason.split())
        print(f"missing: {name}: {reason}", file=sys.stderr, flush=True)
        self.missing.setdefault(name, reason)

    @contextlib.contextmanager
    def quiet(self):
        """Holds the lock that others on this machine take, where one is named: alone if that can be had soon, else shared."""
        if not self.options.lock:
            yield
            return
        with open(self.options.lock, "a") as lock:
            end = time.monotonic() + LOCK_PATIENCE_S
            alone = taken_alone(lock)
            while not alone and time.monotonic() < end:
                time.sleep(0.05)
                alone = taken_alone(lock)
            if not alone:
                fcntl.flock(lock, fcntl.LOCK_SH)
            self.locked.append(alone)
            yield

    def turns(self, names, measure, rounds=None) -> dict:
        """`measure(name)` of each side in turns; {name: [what it gave in each round]}.

        The side that begins is another one in each round. A side that fails is left out, with its reason, and goes on
        missing in what follows.
        """
        found, left = {name: [] for name in names}, list(names)
        for number in range(rounds or self.options.rounds):
            began = time.perf_counter()
            for name in left[number % max(1, len(left)) :] + left[: number % max(1, len(left))]:
                with self.present(name), self.quiet():
                    found[name].append(measure(name))
            left = [name for name in left if name not in self.missing]
            print(f"  round {number + 1}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        return {name: found[name] for name in left}

    @contextlib.contextmanager
    def serving(self, names, data: Data, **options):
        """Servers over the made tables, {name: (server, its database)}; each has a copy of the one checkpointed file."""
        with contextlib.ExitStack() as stack:
            servers, started = {}, {}
            for name in names:
                side = self.side(name)
                if side.kind == "in process":
                    servers[name] = (None, data.database)
                    continue
                # Two protocols of one server share it.
                if (side.kind, side.binary) not in started:
                    database = stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)) + "/bench.duckdb"
                    if side.kind in ("pintail", "peer", "peer_sql"):
                        shutil.copyfile(data.database, database)
                    with self.present(name):
                        server = side.serve(Path(database), data, **options)
                        stack.callback(server.stop)
                        started[side.kind, side.binary] = (server, Path(database))
                if name not in self.missing:
                    servers[name] = started[side.kind, side.binary]
            yield servers

    def over_new_database(self, name: str, use, **options):
        """`use(server, database)` over an empty database, which is removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            database = Path(folder) / "bench.duckdb"
            server = self.side(name).serve(database, **options)
            try:
                return use(server, database)
            finally:
                if server:
                    server.stop()

    def ask(self, what: str, measured: float, asked: float, most=False, form="{:.2f}") -> None:
        """Holds what was measured against what was asked for: at least that, or at most."""
        reached = measured <= asked if most else measured >= asked
        words = f"{'at most' if most else 'at least'} {form.format(asked)}"
        self.report.asked.append((what, form.format(measured), words, reached))

    def ratio(self, what: str, found: dict, value, whom: str, who="pintail", asked=None, most=False) -> float | None:
        """Median over the rounds of one side's value by another's in the same round; more is better."""
        if not (found.get(who) and found.get(whom)):
            return None
        pairs = [(value(a), value(b)) for a, b in zip(found[who], found[whom])]
        times = statistics.median(a / b for a, b in pairs)
        if asked is not None:
            self.ask(f"{what}, of {self.all[whom].name}", times, asked, most)
        return times

    def compare(self, what: str, found: dict, value, unit: str, who="pintail", columns=(), scale=1.0) -> None:
        """A table of one comparison, ratios first; more is better. Remembers what we lose to another server."""
        rows = []
        against = [name for name in ("baseline", "peer") if found.get(name)]
        for name, results in found.items():
            ratios = [self.ratio(what, found, value, whom, name) for whom in against]
            values = [value(result) * scale for result in results]
            line = [self.all[name].name, *(f"{ratio:.2f}" for ratio in ratios), f"{statistics.median(values):,.4g}"]
            line.append(f"{min(values):,.4g} to {max(values):,.4g}")
            rows.append(line + [words(results) for _, words in columns])
            if name not in (who, "baseline", "adbc") and (times := self.ratio(what, found, value, name, who)) and times < 1:
                self.report.lost.append((what, self.all[name].name, times))
        titles = ["", *(f"of {self.all[name].name}" for name in against), f"{unit}, median", "least to most"]
        self.report.table([*titles, *(title for title, _ in columns)], rows)
        self.report.figures[what] = {name: results for name, results in found.items()}


def middle(results, key: str) -> float:
    return statistics.median(result[key] for result in results)


def spread(results, key: str) -> str:
    values = [result[key] for result in results]
    return f"{min(values):.3g} to {max(values):.3g}"


def taken_alone(lock) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
