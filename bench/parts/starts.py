"""Connecting and the first query, a ticket's two calls, and lists of 10,000 tables; with --base beside an earlier build."""

from rounds import middle

TABLES, TABLES_QUICK, ASKED_OF_BASE = 10_000, 1_000, 2.0


def measure(bench) -> None:
    report = bench.report
    report.say("## Starts")
    report.say()
    count = TABLES_QUICK if bench.quick else TABLES
    sides = bench.chosen("pintail", "base", "peer", "adbc", "adbc base", "quack")
    with bench.serving(sides, Empty(bench.folder / "starts.duckdb", count)) as servers:
        for what, do, names in (
            ("connect and first query", "started", ("pintail", "base", "peer", "adbc", "adbc base", "quack")),
            ("GetFlightInfo and DoGet", "ticket", ("pintail", "base")),
            (f"ListFlights over {count:,} tables", "listed", ("pintail", "base")),
            (f"GetObjects by ADBC over {count:,} tables", "objects", ("adbc", "adbc base")),
        ):
            found = bench.turns([name for name in bench.chosen(*names) if name in servers], lambda name: one(bench, servers, name, do))
            show(bench, what, found)
            if do == "listed" and any(run["count"] < count for runs in found.values() for run in runs):
                raise ValueError(f"not all of {count:,} tables were listed: {found}")


def one(bench, servers, name: str, do: str) -> dict:
    server, database = servers[name]
    few = {"times": 3} if bench.quick else {}
    return bench.side(name).run(server, database, do=do, **few)


class Empty:
    """What `Bench.serving` needs of tables: many without rows, and none to give to others."""

    tables = []

    def __init__(self, database, count: int):
        import duckdb

        self.database = database
        with duckdb.connect(str(database)) as connection:
            connection.execute("BEGIN")
            for number in range(count):
                connection.execute(f"CREATE TABLE table_{number} (id BIGINT, name VARCHAR, seen TIMESTAMP)")
            connection.execute("COMMIT")


def show(bench, what: str, found: dict) -> None:
    def rate(result: dict) -> float:
        return 1 / result["seconds"]

    bench.report.say(f"### {what}")
    bench.report.say()
    who = next((name for name in ("pintail", "adbc") if name in found), None)
    columns = [("median ms", lambda runs: f"{middle(runs, 'seconds') * 1e3:.1f}")]
    bench.compare(what, found, rate, "a second", who, columns)
    bench.ratio(what, found, rate, "base", asked=ASKED_OF_BASE)
    bench.ratio(f"{what}, by ADBC", found, rate, "adbc base", who="adbc", asked=ASKED_OF_BASE)
