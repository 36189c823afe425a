"""Flight alone: servers with nothing behind them send lineitem from memory and forget what they are put."""

import os
import sys
from pathlib import Path

from rounds import middle
from sides import HERE, Missing, Server, Side, run_clients

ASKED_GET, ASKED_PUT = 0.30, 0.50


def program() -> Path:
    """benches/transport.rs, which `cargo bench --no-run` leaves beside the server."""
    folder = Path(os.environ["PINTAIL_BIN"]).parent / "deps"
    made = [file for file in folder.glob("transport-*") if file.suffix == "" and os.access(file, os.X_OK)]
    if not made:
        raise Missing("`cargo bench --no-run --bench transport` has not been run")
    return max(made, key=lambda file: file.stat().st_mtime)


def measure(bench) -> None:
    data, report = bench.data, bench.report
    if "lineitem" not in data.tables:
        return
    file, size = data.arrow("lineitem"), data.bytes["lineitem"] / 1e9
    commands = {
        "pyarrow.flight (C++)": lambda: [sys.executable, HERE / "null.py", file],
        "arrow-flight and tonic": lambda: [program(), "stock", file],
        "Pintail": lambda: [program(), "ours", file],
    }
    report.say("## Transport alone: lineitem from memory, and forgotten")
    report.say()
    client = Side("", "flight", "")
    servers = {}
    try:
        for name, command in commands.items():
            with bench.present(name):
                servers[name] = Server(command())

        def one(label: str) -> dict:
            name, do = label.rsplit(", ", 1)
            work = {"do": "read", "sql": "lineitem"} if do == "get" else {"do": "put", "table": "forgotten", "file": str(file)}
            return run_transport(client, servers[name], work)

        found = bench.turns([f"{name}, {do}" for name in servers for do in ("get", "put")], one)
    finally:
        for server in servers.values():
            server.stop()
    rows = []
    for label, runs in found.items():
        name, do = label.rsplit(", ", 1)
        theirs = found.get(f"pyarrow.flight (C++), {do}")
        of_cpp = f"{middle(theirs, 'seconds') / middle(runs, 'seconds'):.2f}" if theirs else ""
        cpu = middle(runs, "cpu") / size
        rows.append([do, name, of_cpp, f"{cpu:.2f}", f"{size / middle(runs, 'seconds'):.2f}"])
        if name == "Pintail":
            what, asked = ("DoGet from memory", ASKED_GET) if do == "get" else ("DoPut into nothing, checked", ASKED_PUT)
            bench.ask(f"{what}, server CPU, s/GB", cpu, asked, most=True)
            if theirs and (times := middle(theirs, "seconds") / middle(runs, "seconds")) < 1:
                report.lost.append((what, "pyarrow.flight (C++)", times))
    report.table(["", "server", "of pyarrow.flight's speed", "server CPU, s/GB", "GB/s"], rows)
    report.figures["transport"] = found


def run_transport(client, server, work: dict) -> dict:
    found = run_clients(1, server, lambda _: client.work(server, Path(), **work))
    return {"seconds": found["results"][0]["seconds"], "cpu": found["cpu"]}
