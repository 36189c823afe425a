"""kill -9 while Python loads, the server started again, the same script run again: every row is there once."""

import signal
import subprocess
import sys

from conftest import REPOSITORY, Server, query

SCRIPT = REPOSITORY / "examples" / "producer.py"
# Some seconds of work for the script, and a commit every half second.
BATCHES = 8_000


def start(uri: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, SCRIPT, uri, str(BATCHES)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_same_script_again_finishes_a_load(tmp_path):
    server = Server(tmp_path)
    durable = set()
    for acknowledgements in [1, 2, 1]:
        script = start(server.uri)
        seen = 0
        for line in script.stdout:
            if line.startswith("durable up to batch"):
                durable.add(int(line.split()[-1]))
                seen += 1
                if seen == acknowledgements:
                    break
        # In the middle of the load, with batches under way: first the server, then the script, which waits for it.
        server.stop(signal.SIGKILL)
        script.kill()
        out, err = script.communicate(timeout=60)
        assert script.returncode != 0, out
        server = Server(tmp_path)
        counts = query(server.client(), "SELECT count(*) AS n, count(DISTINCT id) AS d FROM example_once")
        stored = counts["n"][0].as_py()
        assert stored == counts["d"][0].as_py() and stored % 1000 == 0
        assert (max(durable) + 1) * 1000 <= stored < BATCHES * 1000, "killed too late, or rows were lost"
    script = start(server.uri)
    out, err = script.communicate(timeout=60)
    assert script.returncode == 0, err
    assert f"every row is there once: {BATCHES * 1000:,} rows" in out
    # And once more changes nothing.
    script = start(server.uri)
    out, err = script.communicate(timeout=60)
    assert script.returncode == 0 and "every row is there once" in out, err
    counts = query(server.client(), "SELECT count(*) AS n, count(DISTINCT id) AS d FROM example_once")
    assert (counts["n"][0].as_py(), counts["d"][0].as_py()) == (BATCHES * 1000, BATCHES * 1000)
    server.stop(signal.SIGKILL)
