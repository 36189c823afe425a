"""Whole tables put as one stream into a new table, until they are acknowledged and durable."""

import statistics

from rounds import middle
from sides import MIB

TABLES = ("lineitem", "wells")
ASKED_OF_PEER = {"lineitem": 1.5, "wells": 1.3}
ASKED_OF_BASELINE, ASKED_OF_QUACK, ASKED_PEAK_MIB = 0.95, 4.0, 400


def measure(bench) -> None:
    data, report = bench.data, bench.report
    report.say("## Loads")
    report.say()
    panels = {}
    for table in [table for table in TABLES if table in data.tables]:
        found = load_table(bench, table)
        panels[table] = {bench.side(name).name: statistics.median(map(rate(data, table), runs)) for name, runs in found.items()}
    report.bars("loads", "Tables put by one client, until acknowledged", panels, "million rows/s")
    core(bench)


def core(bench) -> None:
    """The plot of README.md: lineitem put and read, by the sides that do both."""
    done = [("put, until acknowledged", "load of lineitem"), ("get, whole result", "read of lineitem")]
    found = {panel: bench.report.figures.get(what, {}) for panel, what in done}
    names = [name for name in ("pintail", "baseline", "peer", "quack") if all(found[panel].get(name) for panel, _ in done)]
    if names:
        rows = bench.data.rows["lineitem"] / 1e6
        panels = {panel: {bench.side(name).name: rows / middle(runs[name], "seconds") for name in names} for panel, runs in found.items()}
        bench.report.bars("core", "TPC-H lineitem", panels, "million rows/s")


def rate(data, table: str):
    """Million rows a second."""
    return lambda result: data.rows[table] / 1e6 / result["seconds"]


def load_table(bench, table: str) -> dict:
    data, report = bench.data, bench.report
    size = data.bytes[table] / 1e9

    def one(name: str) -> dict:
        def put(server, database) -> dict:
            side = bench.side(name)
            # The first put of a server's life pays for what is loaded then.
            side.run(server, database, do="small", table="first", rows=1, seconds=0, seed=0)
            done = side.run(server, database, do="put", table="loaded", file=str(data.arrow(table)))
            check = side.run(server, database, do="count", table="loaded")
            if check["count"] != data.rows[table]:
                raise ValueError(f"{name} holds {check['count']:,} rows of {data.rows[table]:,}")
            return done

        return bench.over_new_database(name, put)

    report.say(f"### {table}: {data.rows[table]:,} rows, {size:.2f} GB as Arrow")
    report.say()
    found = bench.turns(bench.chosen("baseline", "pintail", "base", "peer", "quack"), one)
    columns = [
        ("server CPU, s/GB", lambda runs: f"{middle(runs, 'cpu') / size:.2f}" if "cpu" in runs[0] else ""),
        ("peak of the server, MiB", lambda runs: f"{max(r['server_peak'] for r in runs) // MIB}" if "cpu" in runs[0] else ""),
    ]
    what = f"load of {table}"
    bench.compare(what, found, rate(data, table), "M rows/s", columns=columns)
    bench.ratio(what, found, rate(data, table), "baseline", asked=ASKED_OF_BASELINE)
    bench.ratio(what, found, rate(data, table), "peer", asked=ASKED_OF_PEER[table])
    bench.ratio(what, found, rate(data, table), "quack", asked=ASKED_OF_QUACK)
    if table == "lineitem" and found.get("pintail"):
        peak = max(run["server_peak"] for run in found["pintail"]) / MIB
        bench.ask("peak memory of the server in the load of lineitem, MiB", peak, ASKED_PEAK_MIB, most=True, form="{:.0f}")
    return found
