"""The benchmark's runner over a little data: its parts work, a side that is not there is named, and the figures hold together."""

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY, binary

BENCH = REPOSITORY / "bench"
SMALL = ["--scale", "0.001", "--rounds", "2", "--seconds", "0.05", "--rows", "1000", "--clients", "1,2", "--readers", "2"]


def bench(folder, *flags, env=None, check=True):
    """Runs bench/run.py; what it has written, and its figures."""
    command = [sys.executable, BENCH / "run.py", "--out", folder, *SMALL, *flags]
    environment = {**os.environ, "PINTAIL_BIN": binary(), "PINTAIL_BENCH_CACHE": str(folder / "cache"), **(env or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    if not check:
        return done
    assert done.returncode == 0, done.stderr
    return (folder / "results.md").read_text(), json.loads((folder / "results.json").read_text())


def test_reads_and_loads_of_all_sides_that_need_nothing_installed(tmp_path):
    only = ["--only", "reads", "--only", "loads", "--table", "lineitem", "--table", "nested"]
    text, figures = bench(tmp_path, *only, "--sides", "baseline,pintail,peer,adbc,adbc peer")
    reads = figures["read of lineitem"]
    assert set(reads) == {"baseline", "pintail", "peer", "adbc", "adbc peer"}
    # The runner compares rows with the table's; here all sides have to agree on the bytes as well.
    (rows,) = {run["rows"] for runs in reads.values() for run in runs}
    assert rows == 6005 and all(len(runs) == 2 for runs in reads.values())
    assert {run["rows"] for run in figures["load of lineitem"]["pintail"]} == {rows}
    assert {run["rows"] for runs in figures["read of nested"].values() for run in runs} == {4000}
    # Ratios first: the first cells behind a side are those against the baseline and the peer.
    line = next(line for line in text.split("### lineitem")[1].splitlines() if line.startswith("| Pintail |"))
    pairs = zip(reads["pintail"], reads["peer"])
    shares = sorted(theirs["seconds"] / ours["seconds"] for ours, theirs in pairs)
    assert line.split(" | ")[2] == f"{sum(shares) / 2:.2f}"
    for words in ("## Asked for", "read of lineitem, of pyarrow.flight", "DuckDB 2.", "Machine:", "Command: `python bench/run.py"):
        assert words in text
    assert all((tmp_path / f"{plot}{suffix}.svg").exists() for plot in ("reads", "loads") for suffix in ("", "-dark"))


def test_points_small_puts_readers_and_starts(tmp_path):
    only = [flag for part in ("points", "small", "readers", "starts") for flag in ("--only", part)]
    text, figures = bench(tmp_path, *only, "--quick", "--rounds", "1", "--table", "lineitem", "--sides", "baseline,pintail,peer,adbc,constant")
    assert set(figures["points"]) >= {"baseline, prepared", "pintail, text", "adbc, direct", "constant, prepared", "peer, text"}
    assert all(value > 0 for runs in figures["points"].values() for value in runs)
    assert set(figures["1-row puts of 1"]) == {"baseline", "pintail", "peer"}
    assert set(figures["1-row puts of 2"]) == {"pintail", "peer"}, "a file has one process that writes"
    assert figures["2 readers together"]["pintail"][0]["rows"] % 2 == 0
    assert all(run["count"] >= 1000 for run in figures["ListFlights over 1,000 tables"]["pintail"])
    assert "point query by ADBC as prepared, above constant answers" in text


def test_a_side_that_cannot_be_installed_is_missing_and_the_rest_goes_on(tmp_path):
    only = ["--only", "reads", "--table", "nested", "--sides", "pintail,sail"]
    text, figures = bench(tmp_path, *only, env={"PIP_NO_INDEX": "1"})
    assert "Missing: sail: its packages cannot be installed" in text and "pysail" in text
    assert set(figures["read of nested"]) == {"pintail"}


def test_pintail_itself_is_never_missing(tmp_path):
    done = bench(tmp_path, "--only", "reads", "--table", "nested", "--sides", "pintail,peer", env={"PINTAIL_BIN": "/bin/false"}, check=False)
    assert done.returncode != 0 and "its server ended with 1" in done.stderr


def test_cores_are_given_out_and_what_is_not_there_is_said(tmp_path):
    text, figures = bench(tmp_path, "--threads", "1,1000", "--rounds", "1", "--table", "lineitem", "--sides", "pintail")
    assert "Not run: 1000." in text
    assert figures["cores"]["levels"] == [1] and len(figures["cores"]["curves"]["put"]["Pintail"]) == 1


@pytest.mark.parametrize(
    ("n", "there", "pins"), [(1, 1, ("0-0", "0-0")), (1, 2, ("0-0", "1-1")), (2, 2, ("0-1", "0-1")), (8, 16, ("0-7", "8-15")), (8, 12, ("0-7", "0-7"))]
)
def test_pins(monkeypatch, n, there, pins):
    monkeypatch.syspath_prepend(str(BENCH))
    from parts import cores

    assert cores.pins(n, there) == pins


def test_what_safety_costs_is_measured_between_clients_of_ones_own(tmp_path):
    text, figures = bench(tmp_path, "--only", "security", "--table", "lineitem", "--table", "wells")
    for what, sides in (("over TLS, lineitem", {"plain", "TLS"}), ("with grants, lineitem", {"root", "ada"})):
        for call in ("DoGet", "DoPut"):
            found = figures[f"{call} {what}"]
            assert set(found) == sides and all(len(runs) == 2 for runs in found.values())
            assert {run["rows"] for runs in found.values() for run in runs} == {6005}
            assert f"{call} {what}, of " in text
