"""Whole tables read by one client, from the first byte to the last: lineitem, wells, wide, nested, strings."""

import statistics

from rounds import middle
from sides import MIB

# Of the pyarrow.flight server; of in-process streaming; of Quack.
ASKED_OF_PEER = {"lineitem": 1.3, "wells": 1.4, "wide": 1.1, "nested": 1.1}
ASKED_OF_BASELINE, ASKED_OF_QUACK = 0.45, 6.0


def measure(bench) -> None:
    report, data = bench.report, bench.data
    names = bench.chosen("baseline", "pintail", "base", "peer", "adbc", "adbc peer", "quack", "roapi", "sail")
    report.say("## Reads")
    report.say()
    panels = {}
    with bench.serving(names, data) as servers:
        for table in data.tables:
            found = read_table(bench, servers, table)
            panels[table] = {bench.side(name).name: statistics.median(map(rate(data, table), runs)) for name, runs in found.items()}
    report.bars("reads", "Tables read by one client", panels, "GB of Arrow a second")


def rate(data, table: str):
    """GB of Arrow a second."""
    return lambda result: data.bytes[table] / 1e9 / result["seconds"]


def read_table(bench, servers: dict, table: str) -> dict:
    data, report = bench.data, bench.report
    size = data.bytes[table] / 1e9
    sql = f"SELECT * FROM {table}"

    def one(name: str) -> dict:
        server, database = servers[name]
        baseline = name == "baseline"
        found = bench.side(name).run(server, database, do="read", sql=sql, warm=baseline, read_only=baseline)
        if found["rows"] != data.rows[table]:
            raise ValueError(f"{name} read {found['rows']:,} rows of {table}, which has {data.rows[table]:,}")
        return found

    report.say(f"### {table}: {data.rows[table]:,} rows, {size:.2f} GB as Arrow")
    report.say()
    names = bench.chosen(*servers)
    bench.turns(names, one, rounds=1)  # what a server reads for the first time comes from its file
    found = bench.turns(bench.chosen(*names), one)
    columns = [
        ("first batch, ms", lambda runs: f"{middle(runs, 'first') * 1e3:.1f}"),
        ("server CPU, s/GB", lambda runs: f"{middle(runs, 'cpu') / size:.2f}" if "cpu" in runs[0] else ""),
        ("peak of the server, MiB", lambda runs: f"{max(r['server_peak'] for r in runs) // MIB}" if "cpu" in runs[0] else ""),
        ("of the client, MiB", lambda runs: f"{max(r['peak'] for r in runs) // MIB}"),
    ]
    what = f"read of {table}"
    bench.compare(what, found, rate(data, table), "GB/s", columns=columns)
    bench.ratio(what, found, rate(data, table), "peer", asked=ASKED_OF_PEER.get(table))
    bench.ratio(what, found, rate(data, table), "baseline", asked=ASKED_OF_BASELINE)
    bench.ratio(what, found, rate(data, table), "quack", asked=ASKED_OF_QUACK)
    bench.ratio(f"{what}, both by ADBC", found, rate(data, table), "adbc peer", who="adbc", asked=1.0)
    if found.get("pintail") and found.get("peer"):
        ours, theirs = (middle(found[name], "cpu") / size for name in ("pintail", "peer"))
        bench.ask(f"server CPU of the {what}, s/GB; the peer's is the bound", ours, theirs, most=True)
    return found
