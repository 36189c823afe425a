"""Every example runs, against a real server, and prints what its first line says."""

import subprocess
import sys
import os
from pathlib import Path

import pytest
from conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def promised(path: Path) -> str:
    """The first line of an example: `... Prints: <text>`."""
    return path.read_text().splitlines()[0].split("Prints: ")[1].strip(' ."')


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_python_example(server, path):
    done = subprocess.run([sys.executable, path, server.uri], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert promised(path) in done.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_a_python_example_without_a_server_fails(path):
    nobody = "grpc://127.0.0.1:1"
    done = subprocess.run([sys.executable, path, nobody], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and promised(path) not in done.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.rs")), ids=lambda path: path.name)
def test_rust_example(server, path):
    program = Path(os.environ["PINTAIL_BIN"]).parent / "examples" / path.stem
    done = subprocess.run([program, server.uri], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert promised(path) in done.stdout
