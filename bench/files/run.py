"""Files of many writers through `pintail load`, compared value by value with what their writers say is in them.

    python bench/files/run.py [--only WRITER] [--keep DIR] [--jobs N]

Needs PINTAIL_BIN; PINTAIL_URI names a server, else one is started over a temporary database. Each family of writers
has its own virtual environment, made once in PINTAIL_FILES_CACHE (default: ~/.cache/pintail-files) from pinned
packages. Exit code 1 when a file differs, is stored twice, or is refused in words that do not say where.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("PINTAIL_FILES_CACHE", Path.home() / ".cache" / "pintail-files"))
# maker in make/ -> environment in requirements/
MAKERS = {
    "pyarrow_": "base", "pandas_": "base", "fastparquet_": "base", "polars_": "base", "duckdb_": "base", "dask_": "base",
    "geopandas_": "base", "awkward_": "base", "small": "base", "lakes": "lake", "engines": "engines", "chdb_": "chdb",
    "modin_": "modin", "vaex_": "vaex", "spark_": "spark", "javascript": "base",
}
LIMIT_S = 120


def environment(name: str) -> Path | None:
    """The interpreter of an environment that has exactly the pinned packages; None when they cannot be installed."""
    wanted = HERE / "requirements" / f"{name}.txt"
    home = CACHE / f"venv-{name}"
    python, stamp = home / "bin" / "python", home / "pinned.txt"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return python
    print(f"making {home}", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    for command in ([sys.executable, "-m", "venv", home], [python, "-m", "pip", "install", "-q", "-r", wanted]):
        made = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if made.returncode:
            print(f"left out: {name}: {made.stderr.strip()[-300:]}", file=sys.stderr)
            return None
    stamp.write_text(wanted.read_text())
    return python


def make(maker: str, folder: Path) -> list:
    """Runs one maker and returns its cases. A maker that breaks half way keeps what it has made, and says so."""
    needs = {"spark_": "java", "javascript": "node"}.get(maker)
    if needs and not shutil.which(needs):
        print(f"left out: {maker}: no {needs} here", file=sys.stderr)
        return []
    python = environment(MAKERS[maker])
    if python is None:
        return []
    place = folder / maker
    place.mkdir(parents=True)
    run = subprocess.run([python, HERE / "make" / f"{maker}.py", place], capture_output=True, text=True, env={**os.environ, "PINTAIL_FILES_CACHE": str(CACHE)}, cwd=place)
    (place / "maker.log").write_text(run.stdout + run.stderr)
    for line in run.stderr.splitlines():
        if line.startswith(("not written:", "left out:")):
            print(line, file=sys.stderr)
    if run.returncode:
        print(f"maker {maker} ended early ({place}/maker.log): {run.stderr.strip()[-500:]}", file=sys.stderr)
    lines = place / "cases.jsonl"
    cases = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return cases + ([dict(broken=maker)] if run.returncode else [])


class Server:
    """The server under test: the one that PINTAIL_URI names, or our own."""

    def __init__(self, folder: Path):
        self.uri, self.process = os.environ.get("PINTAIL_URI"), None
        if self.uri:
            return
        command = [os.environ["PINTAIL_BIN"], "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--database", str(folder / "server.duckdb")]
        log = open(folder / "server.log", "w")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env={**os.environ, "PINTAIL_LOG__LEVEL": "error"})
        self.uri = self.process.stdout.readline().split()[-1]

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)


class Checker:
    def __init__(self, server: Server):
        import pyarrow.flight as flight

        self.flight, self.uri, self.tag = flight, server.uri, uuid.uuid4().hex[:6]
        self.client = flight.connect(server.uri)
        self.options = flight.FlightCallOptions(headers=[(b"pintail-extension-types", b"on")], timeout=LIMIT_S)

    def sql(self, text: str):
        return self.client.do_get(self.flight.Ticket(text.encode()), self.options).read_all()

    def load(self, path: str, table: str):
        command = [os.environ["PINTAIL_BIN"], "load", path, "--table", table, "--server", self.uri]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return 124, f"no end within {LIMIT_S} s"
        return run.returncode, " ".join((run.stderr if run.returncode else run.stdout + run.stderr).split())

    def rows(self, table: str) -> int:
        found = self.sql(f"SELECT count(*) FROM duckdb_tables() WHERE table_name = '{table}'")[0][0].as_py()
        return self.sql(f'SELECT count(*) FROM "{table}"')[0][0].as_py() if found else 0

    def check(self, number: int, case: dict):
        """(verdict, words): equal, refused, expected (a refusal that must be), different, doubled, vague."""
        import compare

        table = f"files_{self.tag}_{number}"
        try:
            code, said = self.load(case["path"], table)
            if code:
                if left := self.rows(table):
                    return "different", f"refused, and {left} rows are stored: {said}"
                return self.refusal(case, said)
            if case["columns"] is None:
                return "different", f"must be refused ({case['refuse']}), said: {said}"
            replaced = ", ".join(f'{sql} AS "{column}"' for column, sql in case["read"].items())
            stored = compare.table(self.sql(f'SELECT *{f" REPLACE ({replaced})" if replaced else ""} FROM "{table}"'))
            if words := compare.difference(case["columns"], stored, case["partitions"]):
                return "different", words
            before = self.rows(table)
            code, said = self.load(case["path"], table)
            if (after := self.rows(table)) != before:
                return "doubled", f"{before} rows, {after} after the second load: {said}"
            return ("different", f"equal, but the second load failed: {said}") if code else ("equal", "")
        except Exception as error:
            return "different", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        finally:
            try:
                self.sql(f'DROP TABLE IF EXISTS "{table}"')
            except Exception as error:
                print(f"{table} stays: {error}", file=sys.stderr)

    @staticmethod
    def refusal(case: dict, said: str):
        name, rest = os.path.basename(case["path"]), said.replace(case["path"], " ")
        if case["refuse"] and name in said and re.search(case["refuse"], rest):
            return ("refused" if case["columns"] else "expected"), said
        # Named as a column, not found by chance in another word.
        named = any(re.search(rf"""[\"'`]{re.escape(c)}[\"'`.\[]|(?i:column)s? {re.escape(c)}(?!\w)""", rest) for c in case["columns"] or {} if c)
        return ("refused" if name in said and named else "vague"), said


def summary(results, seconds):
    table, kinds = defaultdict(lambda: defaultdict(int)), ("equal", "expected", "refused", "different", "doubled", "vague")
    for case, verdict, _ in results:
        table[case["writer"]][verdict] += 1
    print(f"\n{'writer':32}{'files':>7}" + "".join(f"{k:>11}" for k in kinds))
    for writer, counts in sorted(table.items()):
        print(f"{writer:32}{sum(counts.values()):>7}" + "".join(f"{counts[k] or '':>11}" for k in kinds))
    total = {k: sum(c[k] for c in table.values()) for k in kinds}
    print(f"{f'{len(table)} writers':32}{len(results):>7}" + "".join(f"{total[k]:>11}" for k in kinds) + f"   {seconds:.0f} s")
    for kind in kinds[1:]:
        chosen = [(case, words) for case, verdict, words in results if verdict == kind]
        if chosen:
            print(f"\n{kind}:")
        for case, words in chosen:
            print(f"  {case['writer']}  {'/'.join(Path(case['path']).parts[-2:])}: {words[:400]}")
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", metavar="WRITER", help="a writer's name or its beginning; may be given more than once")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave files, expected values and results.jsonl there; files that are there already are used again")
    parser.add_argument("--jobs", type=int, default=2, help="loads at a time (default 2)")
    arguments = parser.parse_args()
    base = environment("base")
    if base is None:
        return 1
    if Path(sys.prefix).resolve() != base.parent.parent.resolve():  # the comparison needs the pinned pyarrow
        os.execv(base, [str(base), str(HERE / "run.py"), *sys.argv[1:]])
    sys.path.insert(0, str(HERE))
    started = time.monotonic()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="pintail-files-"))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    cases, broken = [], []
    for maker in MAKERS:
        if arguments.only and not any(maker.startswith(o.rstrip("_")) for o in arguments.only) and maker not in ("small", "engines", "lakes", "javascript"):
            continue
        old = folder / maker / "cases.jsonl"
        made = [json.loads(line) for line in old.read_text().splitlines()] if old.exists() else make(maker, folder)
        broken += [case["broken"] for case in made if "broken" in case]
        cases += [case for case in made if "broken" not in case and (not arguments.only or any(case["writer"].startswith(o) or maker == o for o in arguments.only))]
    server = Server(folder)
    try:
        checker = Checker(server)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            verdicts = list(pool.map(lambda pair: checker.check(*pair), enumerate(cases)))
    finally:
        server.close()
    results = [(case, *verdict) for case, verdict in zip(cases, verdicts)]
    with open(folder / "results.jsonl", "w", encoding="utf-8") as lines:
        for case, verdict, words in results:
            lines.write(json.dumps(dict(writer=case["writer"], path=case["path"], verdict=verdict, words=words)) + "\n")
    total = summary(results, time.monotonic() - started)
    for maker in broken:
        print(f"maker {maker} did not end well")
    if not arguments.keep:
        shutil.rmtree(folder)
    return int(bool(broken or not results or total["different"] or total["doubled"] or total["vague"]))


if __name__ == "__main__":
    sys.exit(main())
