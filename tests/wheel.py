"""A wheel on every Python at hand: from an empty virtual environment to the first row read, and how fast things start.

    make wheel && make wheel-check

Installs the wheel with pip and what it depends on, starts `pintail.Server()`, stores rows, reads them, and runs a producer.
Prints seconds and sizes; fails when a step does, or is slower than its bound. Packages come from the index that pip knows.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

FIRST_ROW_S, VERSION_MS = 30, 20
VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
FIRST_ROW = """
import pintail
with pintail.Server() as server:
    pintail.load({"n": [1, 2, 3]}, "numbers", uri=server.uri)
    with server.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT sum(n)::INTEGER FROM numbers").fetchone() == (6,)
"""
PRODUCER = """
import pintail, pyarrow
with pintail.Server() as server:
    with pintail.Producer(server.uri, "readings", producer="p") as producer:
        for n in range(producer.next_seq, 10):
            producer.send({"n": [n]})
            if n == 5:
                server.kill()
                server.start()
    with server.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT count(*), count(DISTINCT n) FROM readings").fetchone() == (10, 10)
print(pyarrow.__version__)
"""


def pythons() -> dict:
    """Interpreters by version: those on PATH, and those of pyenv."""
    found = {}
    for version in VERSIONS:
        own = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        if path := (str(own[-1]) if own else shutil.which(f"python{version}")):
            found[version] = path
    return found


def clean() -> dict:
    """An environment in which nothing of this checkout is found."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PINTAIL_", "PYTHONPATH"))}


def run(*command, **more) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=clean(), timeout=600, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:200]}\n{done.stdout}{done.stderr}")
    return done.stdout


def milliseconds(*command) -> float:
    """The best of many: what else the machine does only adds."""
    times = []
    for _ in range(31):
        began = time.perf_counter()
        run(*command)
        times.append((time.perf_counter() - began) * 1e3)
    return min(times)


def installed(wheel: Path, python: str, home: Path) -> tuple[float, Path]:
    """Seconds from an empty virtual environment to the first row."""
    run(python, "-m", "venv", home)
    mine = home / "bin" / "python"
    began = time.perf_counter()
    run(mine, "-m", "pip", "install", "--disable-pip-version-check", "-q", wheel)
    run(mine, "-c", FIRST_ROW, cwd=home)
    return time.perf_counter() - began, mine


def main() -> None:
    (wheel,) = [Path(name).resolve() for name in sys.argv[1:]] or [None]
    with zipfile.ZipFile(wheel) as content:
        program = next(one for one in content.infolist() if re.search(r"\.data/scripts/pintail$", one.filename))
        assert any(one.filename == "pintail/py.typed" for one in content.infolist())
        assert not any("__pycache__" in one.filename for one in content.infolist())
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, the program in it {program.file_size / 1e6:.1f} MB")
    missing = [version for version in VERSIONS if version not in pythons()]
    slow = []
    for number, (version, python) in enumerate(pythons().items()):
        with tempfile.TemporaryDirectory() as folder:
            seconds, mine = installed(wheel, python, Path(folder) / "venv")
            told = f"Python {version}: {seconds:.1f} s from an empty environment to the first row, pyarrow {run(mine, '-c', PRODUCER, cwd=folder).strip()}"
            if seconds > FIRST_ROW_S:
                slow.append(told)
            print(told)
            if number == 0:
                bare = milliseconds(mine, "-c", "pass")
                own = milliseconds(mine.parent / "pintail", "--version")
                mine_too = milliseconds(mine, "-c", "import pintail") - bare
                print(f"pintail --version: {own:.1f} ms; import pintail: {mine_too:.1f} ms above Python's own {bare:.1f}")
                if own > VERSION_MS:
                    slow.append(f"pintail --version took {own:.1f} ms")
                assert run(mine, "-m", "pintail", "--version") == run(mine.parent / "pintail", "--version")
    if missing:
        print(f"not on this machine: Python {', '.join(missing)}")
    if slow:
        sys.exit("too slow: " + "; ".join(slow))


if __name__ == "__main__":
    main()
