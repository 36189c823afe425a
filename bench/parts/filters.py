"""Filters and sorts over the wells, without indexes and with plain CREATE INDEX on the columns that are filtered."""

import statistics
import time

QUERIES = {
    "point, well_code": "SELECT * FROM wells WHERE well_code = 12345",
    "point, well_reference": "SELECT * FROM wells WHERE well_reference = 'REF-012345'",
    "range, production_period": "SELECT * FROM wells WHERE production_period BETWEEN '1975-01-01' AND '1975-01-07'",
    "filter, oil > 9.98": "SELECT * FROM wells WHERE oil_production_kbd > 9.98",
    "sort and LIMIT 1000": "SELECT * FROM wells ORDER BY oil_production_kbd DESC LIMIT 1000",
    "sort of everything": "SELECT well_code, oil_production_kbd FROM wells ORDER BY oil_production_kbd",
    "group by field": "SELECT field_name, sum(oil_production_kbd) FROM wells GROUP BY ALL",
}
INDEXED = ("well_code", "well_reference", "production_period", "oil_production_kbd")


def measure(bench) -> None:
    data, report = bench.data, bench.report
    if "wells" not in data.tables:
        return
    with bench.serving(["pintail"], data) as servers:
        server, database = servers["pintail"]

        def read(sql: str) -> dict:
            return bench.side("pintail").run(server, database, do="read", sql=sql, warm=True)

        plain = times(bench, read)
        started = time.perf_counter()
        for column in INDEXED:
            # A statement that changes something runs once, so it is not warmed.
            bench.side("pintail").run(server, database, do="read", sql=f"CREATE INDEX by_{column} ON wells ({column})")
        building = time.perf_counter() - started
        indexed = times(bench, read)
    report.say(f"## Filters and sorts over {data.rows['wells']:,} rows of wells")
    report.say()
    rows = [[name, f"{plain[name][1]:,}", f"{plain[name][0] / indexed[name][0]:.2f}", f"{plain[name][0]:.1f}", f"{indexed[name][0]:.1f}"] for name in QUERIES]
    report.table(["query", "rows", "faster with indexes", "no index, ms", "indexed, ms"], rows)
    report.say(f"Building the four indexes took {building:.1f} s.")
    report.say()
    report.figures["filters"] = {"plain": plain, "indexed": indexed}


def times(bench, read) -> dict:
    """Query -> milliseconds, median, and its rows."""
    found = {}
    for name, sql in QUERIES.items():
        with bench.quiet():
            runs = [read(sql) for _ in range(bench.options.rounds)]
        found[name] = (statistics.median(run["seconds"] for run in runs) * 1e3, runs[0]["rows"])
    return found
