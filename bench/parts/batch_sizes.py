"""One put of batches from 1 row to 100,001 rows."""

import pyarrow as pa

from rounds import middle
from sides import MIB

SIZES = (1, 10, 100, 1_000, 10_000, 100_001)


def measure(bench) -> None:
    report = bench.report
    report.say("## One put, by rows in a batch")
    report.say()
    rows, series = [], {}
    for size in SIZES:
        total = min(size * 20_000, 3_000_000) // (10 if bench.quick else 1)
        ids = pa.array(range(max(total, size)), pa.int64())
        table = pa.table({"id": ids, "well": pa.array([f"well {n % 1000}" for n in range(len(ids))]), "kbd": ids.cast(pa.float64())})
        file = bench.folder / f"batches-{size}.arrow"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=size)

        def one(name: str) -> dict:
            side = bench.side(name)
            return bench.over_new_database(name, lambda server, database: side.run(server, database, do="put", table="bulk", file=str(file)))

        found = bench.turns(bench.chosen("pintail", "base", "peer"), one)
        file.unlink()
        rates = {}
        for name, runs in found.items():
            rates[name] = runs[0]["rows"] / middle(runs, "seconds")
            series.setdefault(bench.side(name).name, []).append(rates[name])
        for name, runs in found.items():
            of_peer = f"{rates[name] / rates['peer']:.2f}" if "peer" in rates else ""
            peak = max(run["server_peak"] for run in runs) // MIB
            rows.append([f"{size:,}", bench.side(name).name, of_peer, f"{rates[name]:,.0f}", f"{peak} MiB"])
        if rates.get("peer", 0) > rates["pintail"]:
            report.lost.append((f"put of {size:,}-row batches", bench.side("peer").name, rates["pintail"] / rates["peer"]))
    report.table(["rows per batch", "server", "of pyarrow.flight", "rows/s", "peak memory"], rows)
    report.lines_plot("batch-sizes", "One put, by batch size", SIZES, series, "rows per batch", "rows/s", log=True)
