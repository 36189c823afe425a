"""Rows looked up by a key, one after the other, each time another key: in process, by DoGet, and through ADBC.

ADBC sends a statement as text (prepare, describe, fetch, close: four calls), directly (two), or prepared once (bind, describe,
fetch). `constant answers` is a C++ server whose answers are ready: below that is the client's own time.
"""

import statistics
from pathlib import Path

import duckdb

from rounds import middle

ASKED_DO_GET, ASKED_ABOVE_CONSTANT = 1.6, 1.2
WAYS = {
    "baseline": ("text", "prepared"), "pintail": ("text",), "base": ("text",), "peer": ("text",), "quack": ("text",),
    "adbc": ("text", "direct", "prepared"), "adbc base": ("text", "direct", "prepared"), "constant": ("text", "direct", "prepared"),
    "roapi": ("text",), "sail": ("text",),
}


class Points:
    """What `Bench.serving` needs of tables: a single small one."""

    tables = ["points"]

    def __init__(self, folder: Path, rows: int, index: bool):
        self.folder, self.database, self.rows = folder, folder / "points.duckdb", rows
        connection = duckdb.connect(str(self.database))
        connection.execute(
            "CREATE TABLE points AS SELECT range AS id, 'well ' || range AS name, range * 1.5 AS price, "
            f"(range % 1000)::DOUBLE AS amount FROM range({rows})"
        )
        connection.execute(f"COPY points TO '{self.parquet('points')}'")
        if index:
            connection.execute("CREATE INDEX by_id ON points (id)")
        connection.close()

    def parquet(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"


def measure(bench) -> None:
    report, options = bench.report, bench.options
    folder = bench.folder / "points"
    folder.mkdir()
    points = Points(folder, options.rows, options.index)
    report.say(f"## Point queries: {points.rows:,} rows, {'an index' if options.index else 'no index'} on the key")
    report.say()
    with bench.serving(bench.chosen(*WAYS), points) as servers:
        plan = {f"{name}, {way}": (name, way) for name in servers for way in WAYS[name]}

        def one(label: str) -> dict:
            name, way = plan[label]
            server, database = servers[name]
            work = {"do": "point", "way": way, "rows": points.rows, "seconds": bench.seconds, "checked": name != "constant"}
            return {"ms": middle_of(bench.side(name).run(server, database, **work, read_only=True)["took"])}

        found = bench.turns([label for label in plan if plan[label][0] not in bench.missing], one)
    medians = {label: middle(runs, "ms") for label, runs in found.items()}
    rows = []
    for label, runs in found.items():
        name, way = plan[label]
        base = medians.get(f"baseline, {'prepared' if way == 'prepared' else 'text'}")
        constant = medians.get(f"constant, {way}") if name in ("adbc", "adbc base") else None
        times = f"{medians[label] / base:.2f}" if base else ""
        above = f"{(medians[label] - constant) / base:.2f}" if base and constant else ""
        values = [run["ms"] for run in runs]
        rows.append([bench.side(name).name, way, times, above, f"{medians[label]:.3f}", f"{min(values):.3f} to {max(values):.3f}"])
        if name == "pintail" and base:
            bench.ask("point query by DoGet, of in process (time)", medians[label] / base, ASKED_DO_GET, most=True)
        if name == "adbc" and base and constant and way != "direct":
            what = f"point query by ADBC as {way}, above constant answers, of in process (time)"
            bench.ask(what, (medians[label] - constant) / base, ASKED_ABOVE_CONSTANT, most=True)
        if name not in ("pintail", "baseline", "adbc", "adbc base", "constant") and "pintail, text" in medians:
            if (ours := medians[label] / medians["pintail, text"]) < 1:
                report.lost.append(("point query by DoGet", bench.side(name).name, ours))
    titles = ["", "way", "of in process (time)", "above constant answers, of in process", "ms, median", "least to most"]
    report.table(titles, rows)
    report.figures["points"] = {label: [run["ms"] for run in runs] for label, runs in found.items()}
    shown = {f"{bench.side(plan[label][0]).name}, {plan[label][1]}": value for label, value in medians.items()}
    report.bars("points", "Point queries, one after the other", {"less is better": shown}, "ms")


def middle_of(seconds: list) -> float:
    return statistics.median(seconds) * 1e3
