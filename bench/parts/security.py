"""What safety costs: TLS beside plain, and a user who is held to grants and a mask of another table beside an admin.

One connection, whole tables by DoGet and DoPut. Both comparisons take turns, with a client process of its own each time; TLS has a server
of its own over a copy of the same file, the users share one.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rounds import middle
from sides import Server, run_clients

TABLE, MASKED = "lineitem", "wells"
PASSWORD = "correct horse"
# Of what is measured without, at least.
ASKED_OF_PLAIN, ASKED_OF_ADMIN = 0.75, 0.98


def measure(bench) -> None:
    data = bench.data
    if TABLE not in data.tables or MASKED not in data.tables:
        return
    bench.report.say("## What safety costs")
    bench.report.say()
    with contextlib.ExitStack() as stack:
        plain, _ = served(bench, stack)
        secret, database = served(bench, stack, "--tls-self-signed")
        trusted = f"{database}.tls-cert.pem"
        clients = {"plain": (plain, {}), "TLS": (secret, {"ca": trusted})}
        compare(bench, f"over TLS, {TABLE}", clients, "TLS", "plain", ASKED_OF_PLAIN)
    with contextlib.ExitStack() as stack:
        server, _ = served(bench, stack, users=True)
        grant(bench, server)
        clients = {name: (server, {"user": name, "password": PASSWORD}) for name in ("root", "ada")}
        compare(bench, f"with grants, {TABLE}", clients, "ada", "root", ASKED_OF_ADMIN)


def pintail(*arguments, **env) -> None:
    subprocess.run([os.environ["PINTAIL_BIN"], *map(str, arguments)], env={**os.environ, **env}, check=True, capture_output=True)


def served(bench, stack, *flags, users=False):
    """A server over a copy of the tables, with an admin `root` and a writer `ada` where there are to be users."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.folder)))
    database = folder / "bench.duckdb"
    shutil.copyfile(bench.data.database, database)
    if users:
        for name, role in (("root", "admin"), ("ada", "writer")):
            pintail("user", "add", name, "--role", role, "--database", database, PINTAIL_NEW_PASSWORD=PASSWORD)
    command = [os.environ["PINTAIL_BIN"], "serve", "--database", database, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", *flags]
    server = Server(command, env={"PINTAIL_AUTH__ANONYMOUS": "off"} if users else None)
    stack.callback(server.stop)
    return server, database


def grant(bench, server) -> None:
    """Gives `ada` the table that is measured, what is put, and of the other table a part."""
    given = [
        ("read", f"main.{TABLE}"),
        ("read,ingest,define", "main.loaded"),
        ("read", f"main.{MASKED}", "--where", "field_code = 7", "--hide", "well_name"),
    ]
    for rights, on, *more in given:
        pintail("grant", rights, "--on", on, "--to", "ada", *more, "--server", server.at, "--user", "root", PINTAIL_PASSWORD=PASSWORD)


def compare(bench, what: str, clients: dict, who: str, whom: str, asked: float) -> None:
    """DoGet and DoPut of both clients in turns, and the ratio of what is measured."""
    data, report = bench.data, bench.report

    def one(name: str, **work) -> dict:
        server, known = clients[name]
        python = bench.side("pintail").python
        found = run_clients(1, server, lambda _: (python, {"protocol": "flight", "at": server.at, **known, **work}))
        return {**found["results"][0], "cpu": found["cpu"]}

    def get(name: str) -> dict:
        done = one(name, do="read", sql=f"SELECT * FROM {TABLE}", warm=True)
        if done["rows"] != data.rows[TABLE]:
            raise ValueError(f"{name} was given {done['rows']:,} rows of {data.rows[TABLE]:,}")
        return done

    def put(name: str) -> dict:
        return one(name, do="put", table="loaded", file=str(data.arrow(TABLE)), headers={"pintail-mode": "replace"})

    rows = []
    for call, work in (("DoGet", get), ("DoPut", put)):
        found = turns(bench, list(clients), work)
        times = sorted(theirs["seconds"] / ours["seconds"] for ours, theirs in zip(found[who], found[whom]))
        ratio = times[len(times) // 2] if len(times) % 2 else sum(times[len(times) // 2 - 1 : len(times) // 2 + 1]) / 2
        bench.ask(f"{call} {what}, of {whom}", ratio, asked)
        size = data.bytes[TABLE] / 1e9
        for name in clients:
            share = f"{ratio:.3f} ({times[0]:.3f} to {times[-1]:.3f})" if name == who else "1"
            cpu = f"{middle(found[name], 'cpu') / size:.2f}"
            rows.append([f"{call}, {name}", share, f"{size / middle(found[name], 'seconds') * 1e3:,.0f}", cpu])
        report.figures[f"{call} {what}"] = found
    report.say(f"### {TABLE} {what.split(',')[0]}, of {whom}")
    report.say()
    report.table(["", f"of {whom} (least to most)", "MB/s, median", "server CPU, s/GB"], rows)


def turns(bench, names: list, work) -> dict:
    """As Bench.turns, for clients of servers that are Pintail's own: none of them may be missing."""
    found = {name: [] for name in names}
    for number in range(bench.options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            with bench.quiet():
                found[name].append(work(name))
    return found
