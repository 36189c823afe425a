"""Small puts, each durable before the next one of its client: single rows and 10,000 rows, one client and several."""

import statistics

from rounds import middle
from sides import run_clients

ASKED_OF_COMMITS = 6.0


def measure(bench) -> None:
    report = bench.report
    report.say("## Small puts into one table")
    report.say()
    panels = {}
    commits = None
    for rows in (1, 10_000):
        for clients in bench.options.clients:
            found = put(bench, rows, clients)
            label = f"{rows:,} row{'s' * (rows > 1)}, {clients} client{'s' * (clients > 1)}"
            panels[label] = {bench.side(name).name: statistics.median(map(rate, runs)) for name, runs in found.items()}
            if rows == 1 and clients == 1:
                commits = found.get("baseline")
            if rows == 1 and clients == 8 and commits and found.get("pintail"):
                times = middle(found["pintail"], "rate") / middle(commits, "rate")
                bench.ask("single-row puts of 8 clients, of in-process commits of one", times, ASKED_OF_COMMITS)
    report.bars("small-puts", "Small durable puts", panels, "puts/s")


def rate(result: dict) -> float:
    return result["rate"]


def put(bench, rows: int, clients: int) -> dict:
    """Rates of all sides; in process there is one client, since a file has one process that writes."""

    def one(name: str) -> dict:
        def use(server, database) -> dict:
            side = bench.side(name)
            side.run(server, database, do="small", table="shared", rows=1, seconds=0, seed=99)
            work = {"do": "small", "table": "shared", "rows": rows, "seconds": bench.seconds}
            ran = run_clients(clients, server, lambda n: side.work(server, database, **work, seed=n))
            check = side.run(server, database, do="count", table="shared")
            sent = 1 + sum(result["rows"] for result in ran["results"])
            if check["count"] != sent:
                raise ValueError(f"{name} holds {check['count']:,} rows of {sent:,} that it acknowledged")
            took = sorted(seconds for result in ran["results"] for seconds in result["took"])
            longest = max(result["seconds"] for result in ran["results"])
            return {"rate": len(took) / longest, "median": statistics.median(took), "p99": took[int(len(took) * 0.99)]}

        return bench.over_new_database(name, use)

    report = bench.report
    report.say(f"### {rows:,} row{'s' * (rows > 1)} in each, {clients} client{'s' * (clients > 1)}")
    report.say()
    found = bench.turns(bench.chosen(*["baseline"] * (clients == 1), "pintail", "base", "peer", "quack"), one)
    columns = [
        ("median ms", lambda runs: f"{middle(runs, 'median') * 1e3:.2f}"),
        ("p99 ms", lambda runs: f"{middle(runs, 'p99') * 1e3:.1f}"),
    ]
    bench.compare(f"{rows:,}-row puts of {clients}", found, rate, "puts/s", columns=columns)
    return found
