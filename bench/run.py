"""End-to-end benchmark with real clients. Writes results.md and SVG plots.

    make bench                       everything, about fifteen minutes on two cores
    make bench BENCH="--quick"       a tenth of the data
    make bench BENCH="--only core"   one part: core, memory, a, b, c, d, e

Every figure is a ratio's part: Pintail, in-process DuckDB (the baseline) and a pyarrow.flight server around
DuckDB (the peer) are measured in turns within one run. Nothing is downloaded; data is generated.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plot
import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as parquet

HERE = Path(__file__).resolve().parent
BATCH_ROWS = 65_536
MIB = 1 << 20
# One colour for each side, readable on light and dark pages.
COLOURS = {"Pintail": "#2f81f7", "baseline": "#8b949e", "peer": "#d29922"}


class Server:
    """A server process over a fresh or given database file."""

    def __init__(self, kind: str, folder: Path, database="bench.duckdb", env=None):
        self.kind, self.database = kind, folder / database
        if kind == "pintail":
            listen = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--database", str(self.database)]
            command = [os.environ["PINTAIL_BIN"], *listen]
        else:
            command = [sys.executable, str(HERE / "peer.py"), str(self.database)]
        environment = {**os.environ, "PINTAIL_LOG__LEVEL": "error", **(env or {})}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.uri = self.process.stdout.readline().split()[-1]

    def client(self) -> flight.FlightClient:
        return flight.connect(self.uri)

    def status(self, key: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split(key)[1].split()[0]) * 1024

    def reset_peak(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        return self.status("VmHWM:")

    def resident(self) -> int:
        return self.status("VmRSS:")

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def put(client, name: str, schema, batches, mode=None) -> float:
    """Puts batches as one stream; seconds until the acknowledgement."""
    headers = [(b"pintail-mode", mode.encode())] if mode else []
    started = time.perf_counter()
    options = flight.FlightCallOptions(headers=headers)
    writer, answers = client.do_put(flight.FlightDescriptor.for_path(name), schema, options)
    with writer:
        for batch in batches:
            writer.write_batch(batch)
        writer.done_writing()
        answers.read()
    return time.perf_counter() - started


def get(client, sql: str, pause=0.0) -> tuple[float, float, int, int]:
    """Reads a result batch by batch: seconds, seconds to the first batch, rows, bytes."""
    started = time.perf_counter()
    first, rows, size = None, 0, 0
    for chunk in client.do_get(flight.Ticket(sql.encode())):
        if first is None:
            first = time.perf_counter() - started
        rows += chunk.data.num_rows
        size += chunk.data.nbytes
        if pause:
            time.sleep(pause)
    return time.perf_counter() - started, first or 0.0, rows, size


def millions(rows: float) -> str:
    return f"{rows / 1e6:.2f} M"


class Report:
    def __init__(self, out: Path):
        self.out, self.lines, self.figures = out, [], {}
        out.mkdir(parents=True, exist_ok=True)

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def table(self, titles, rows):
        self.say("| " + " | ".join(titles) + " |")
        self.say("|" + "---|" * len(titles))
        for row in rows:
            self.say("| " + " | ".join(map(str, row)) + " |")
        self.say()

    def plot(self, name, title, x, series, x_label, y_label, log=False):
        """Lines, one for each series, as NAME.svg and NAME-dark.svg."""

        def draw(figure):
            axes = figure.subplots()
            for label, values in series.items():
                axes.plot([str(value) for value in x], values, marker="o", label=label)
            axes.set(title=title, xlabel=x_label, ylabel=y_label, yscale="log" if log else "linear")
            axes.grid(alpha=0.3)
            axes.legend()

        self.draw(name, (6, 3.5), draw)

    def bars(self, name, title, panels, x_label):
        """Panels of bars beside each other, {panel: {label: value}}, as NAME.svg and NAME-dark.svg."""

        def draw(figure):
            figure.suptitle(title, fontsize=10)
            for axes, (panel, values) in zip(figure.subplots(1, len(panels)), panels.items()):
                labels = list(values)[::-1]
                drawn = axes.barh(labels, [values[label] for label in labels], color=[COLOURS[label] for label in labels])
                axes.bar_label(drawn, fmt="%.2f", padding=3)
                axes.set(title=panel, xlabel=x_label)
                axes.margins(x=0.18)
                axes.spines[["top", "right"]].set_visible(False)

        self.draw(name, (8, 2.3), draw)

    def draw(self, name, size, draw):
        """Draws once for light pages and once for dark ones; the background is the page's own."""
        for suffix, ink in [("", "#1f2328"), ("-dark", "#e6edf3")]:
            style = {key: ink for key in ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"]}
            with plot.rc_context({**style, "svg.fonttype": "none", "svg.hashsalt": name, "legend.framealpha": 0}):
                figure = plot.figure(figsize=size)
                draw(figure)
                for axes in figure.axes:
                    axes.set_facecolor("none")
                figure.tight_layout()
                figure.savefig(self.out / f"{name}{suffix}.svg", transparent=True, metadata={"Date": None})
                plot.close(figure)

    def write(self):
        (self.out / "results.md").write_text("\n".join(self.lines) + "\n")
        (self.out / "results.json").write_text(json.dumps(self.figures, indent=1) + "\n")


def lineitem(folder: Path, scale: float) -> Path:
    """TPC-H lineitem as an Arrow file of 65,536-row batches."""
    target = folder / "lineitem.arrow"
    tool = Path(sys.executable).parent / "tpchgen-cli"
    subprocess.run(
        [tool, "parquet", "-s", str(scale), "--tables=lineitem", f"--output-dir={folder}"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    file = parquet.ParquetFile(next(folder.rglob("lineitem*.parquet")))
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    fields = [pa.field(f.name, plain.get(f.type, f.type), True) for f in file.schema_arrow]
    schema = pa.schema(fields)
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        rest = None
        for batch in file.iter_batches(BATCH_ROWS):
            rows = pa.Table.from_batches([batch]).cast(schema)
            rest = rows if rest is None else pa.concat_tables([rest, rows])
            while rest.num_rows >= BATCH_ROWS:
                writer.write_table(rest.slice(0, BATCH_ROWS).combine_chunks())
                rest = rest.slice(BATCH_ROWS)
        writer.write_table(rest.combine_chunks())
    return target


def read_batches(path: Path):
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def core(report: Report, folder: Path, scale: float, rounds: int):
    """DoPut and DoGet of lineitem against the baseline and the peer, in turns."""
    arrow_file = lineitem(folder, scale)
    table = read_batches(arrow_file)
    # Copied into memory once, so that no side reads the file while the clock runs.
    batches = [pa.RecordBatch.from_arrays([pa.concat_arrays([c]) for c in b.columns], schema=b.schema) for b in table.to_batches()]
    rows, size = table.num_rows, sum(batch.nbytes for batch in batches)
    report.say(f"## Core: TPC-H lineitem, scale {scale:g}, {rows:,} rows, {size / 1e9:.2f} GB as Arrow, 65,536-row batches")
    report.say()
    loads = {"baseline": [], "pintail": [], "peer": []}
    reads = {"baseline": [], "pintail": [], "peer": []}
    first = {"pintail": [], "peer": []}
    cpu = {"pintail put": [], "peer put": [], "pintail get": [], "peer get": []}
    sizes, peaks = {}, {}
    sql = "SELECT * FROM lineitem"
    for number in range(rounds):
        baseline_file = folder / f"baseline-{number}.duckdb"
        done = run_json("load", baseline_file, arrow_file)
        loads["baseline"].append(done["seconds"])
        sizes["baseline"] = done["file_bytes"]
        reads["baseline"] += run_json("read", baseline_file, sql, "2")["seconds"]
        baseline_file.unlink()
        for kind in ["pintail", "peer"]:
            server = Server(kind, folder, f"{kind}-{number}.duckdb")
            client = server.client()
            before = server.cpu()
            loads[kind].append(put(client, "lineitem", batches[0].schema, batches))
            cpu[f"{kind} put"].append((server.cpu() - before) / (size / 1e9))
            peaks[f"{kind} put"] = server.peak()
            get(client, sql)
            server.reset_peak()
            for _ in range(2):
                before = server.cpu()
                seconds, to_first, found, _ = get(client, sql)
                assert found == rows
                reads[kind].append(seconds)
                first[kind].append(to_first)
                cpu[f"{kind} get"].append((server.cpu() - before) / (size / 1e9))
            peaks[f"{kind} get"] = server.peak()
            if kind == "pintail":
                list(client.do_action(flight.Action("pintail.checkpoint", b"")))
                sizes["pintail"] = server.database.stat().st_size
            server.stop()
            server.database.unlink(missing_ok=True)
    load = {kind: rows / statistics.median(seconds) for kind, seconds in loads.items()}
    read = {kind: rows / statistics.median(seconds) for kind, seconds in reads.items()}
    names = {"baseline": "in-process DuckDB (the baseline)", "pintail": "Pintail", "peer": "pyarrow.flight server (the peer)"}
    report.table(
        ["", "DoPut until acknowledged, rows/s", "of the baseline", "DoGet, rows/s", "of the baseline", "first batch, ms",
         "server CPU s/GB put / get", "peak memory put / get"],
        [
            [
                names[kind],
                millions(load[kind]),
                f"{load[kind] / load['baseline']:.2f}",
                millions(read[kind]),
                f"{read[kind] / read['baseline']:.2f}",
                "" if kind == "baseline" else f"{statistics.median(first[kind]) * 1e3:.1f}",
                "" if kind == "baseline" else " / ".join(f"{statistics.median(cpu[f'{kind} {w}']):.2f}" for w in ["put", "get"]),
                "" if kind == "baseline" else " / ".join(f"{peaks[f'{kind} {w}'] // MIB} MiB" for w in ["put", "get"]),
            ]
            for kind in ["baseline", "pintail", "peer"]
        ],
    )
    checks = [
        ["DoPut of the baseline", f"{load['pintail'] / load['baseline']:.2f}", "at least 0.70"],
        ["DoPut of the peer", f"{load['pintail'] / load['peer']:.2f}", "above 1"],
        ["DoGet of the baseline", f"{read['pintail'] / read['baseline']:.2f}", "at least 0.25"],
        ["DoGet of the peer", f"{read['pintail'] / read['peer']:.2f}", "at least 0.85"],
        ["first batch", f"{statistics.median(first['pintail']) * 1e3:.1f} ms", "below 50 ms"],
        ["file size of the baseline's", f"{sizes['pintail'] / sizes['baseline']:.3f}", "0.95 to 1.05"],
    ]
    report.table(["ratio in this run", "measured", "asked for"], checks)
    titles = {"baseline": "baseline", "pintail": "Pintail", "peer": "peer"}
    panels = {
        panel: {titles[kind]: rates[kind] / 1e6 for kind in ["pintail", "baseline", "peer"]}
        for panel, rates in [("put, until acknowledged", load), ("get, whole result", read)]
    }
    report.bars("core", f"{rows:,} rows of TPC-H lineitem", panels, "million rows/s")
    report.figures["core"] = {"load": load, "read": read, "first": first, "sizes": sizes, "cpu": cpu}


def run_json(*arguments) -> dict:
    done = subprocess.run([sys.executable, HERE / "inprocess.py", *map(str, arguments)], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def memory(report: Report, folder: Path, quick: bool):
    """Peak resident memory of the server: slow readers, and a long put."""
    report.say("## Memory")
    report.say()
    few, many = (60_000, 6_000_000) if quick else (600_000, 60_000_000)
    server = Server("pintail", folder, "memory.duckdb")
    client = server.client()
    peaks = {}
    for rows in [few, many]:
        server.reset_peak()
        sql = f"SELECT range AS n, 'row number ' || range AS s FROM range({rows})"
        seconds, _, found, size = get(client, sql, pause=0.005)
        assert found == rows
        peaks[rows] = (server.peak(), seconds, size)
    server.stop()
    rows_out = [[f"{rows:,}", f"{size / 1e6:.0f} MB", f"{seconds:.1f} s", f"{peak / MIB:.0f} MiB"] for rows, (peak, seconds, size) in peaks.items()]
    report.table(["rows read, 5 ms pause per batch", "result", "time", "peak memory"], rows_out)
    growth = (peaks[many][0] - peaks[few][0]) / MIB
    limits = {"PINTAIL_DATABASE__MEMORY_LIMIT": "1 GiB", "PINTAIL_INGEST__MEMORY_LIMIT": "512 MiB"}
    server = Server("pintail", folder, "memory-put.duckdb", env=limits)
    total = 1_200_000 if quick else 12_000_000
    source = read_batches(folder / "lineitem.arrow") if (folder / "lineitem.arrow").exists() else read_batches(lineitem(folder, 0.1))
    batches = source.to_batches(max_chunksize=BATCH_ROWS)

    def repeat():
        sent = 0
        while sent < total:
            for batch in batches:
                batch = batch.slice(0, min(batch.num_rows, total - sent))
                sent += batch.num_rows
                if batch.num_rows:
                    yield batch

    seconds = put(server.client(), "long", source.schema, repeat())
    peak = server.peak() / MIB
    server.stop()
    report.table(
        ["check", "measured", "asked for"],
        [
            [f"reading {many:,} rows over {few:,} rows", f"{growth:+.0f} MiB", "at most +64 MiB"],
            [f"DoPut of {total:,} rows ({total / seconds / 1e6:.2f} M rows/s)", f"{peak:.0f} MiB", "at most 1024 + 512 + 128 MiB"],
        ],
    )
    report.figures["memory"] = {"growth_mib": growth, "put_peak_mib": peak}


WRITER = """
import json, sys, time
import pyarrow as pa, pyarrow.flight as flight
uri, rows, seconds, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
schema = pa.schema([("id", pa.int64()), ("well", pa.string()), ("kbd", pa.float64())])
ids = pa.array(range(seed * 10**9, seed * 10**9 + rows), pa.int64())
batch = pa.record_batch([ids, pa.array([f"well {n % 100}" for n in range(rows)]), pa.array([0.5] * rows)], schema=schema)
client = flight.connect(uri)
latencies, errors, sent = [], 0, 0
sys.stdin.readline()
end = time.perf_counter() + seconds
while time.perf_counter() < end:
    started = time.perf_counter()
    try:
        writer, answers = client.do_put(flight.FlightDescriptor.for_path("shared"), schema)
        writer.write_batch(batch); writer.done_writing(); answers.read(); writer.close()
        sent += rows
    except Exception as error:
        errors += 1
    latencies.append(time.perf_counter() - started)
print(json.dumps({"latencies": latencies, "errors": errors, "rows": sent}))
"""


def concurrent_writers(report: Report, folder: Path, quick: bool):
    """(a) 1 to 32 clients, single rows and bulk."""
    report.say("## (a) Concurrent writers into one table")
    report.say()
    seconds = 1.0 if quick else 2.0
    rows_out, series = [], {}
    levels = [1, 4, 16, 32] if not quick else [1, 8]
    for label, rows in [("single rows", 1), ("10,000-row puts", 10_000)]:
        for kind in ["pintail", "peer"]:
            rates = []
            for clients in levels:
                server = Server(kind, folder, f"writers-{kind}-{rows}-{clients}.duckdb")
                one = pa.table({"id": pa.array([0], pa.int64()), "well": ["w"], "kbd": [0.5]})
                put(server.client(), "shared", one.schema, one.to_batches())
                writers = [
                    subprocess.Popen(
                        [sys.executable, "-c", WRITER, server.uri, str(rows), str(seconds), str(n + 1)],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                    )
                    for n in range(clients)
                ]
                time.sleep(0.4 + 0.15 * clients)
                for writer in writers:
                    writer.stdin.write("go\n")
                    writer.stdin.flush()
                results = [json.loads(writer.communicate()[0]) for writer in writers]
                latencies = sorted(l for result in results for l in result["latencies"])
                errors = sum(result["errors"] for result in results)
                stored = sum(result["rows"] for result in results)
                _, _, found, _ = get(server.client(), "SELECT id FROM shared")
                assert found == stored + 1 or errors, f"{found} rows found, {stored + 1} acknowledged"
                server.stop()
                server.database.unlink(missing_ok=True)
                rates.append(stored / seconds)
                rows_out.append(
                    [label, kind, clients, f"{stored / seconds:,.0f}", f"{errors / max(1, len(latencies)):.1%}"]
                    + [f"{value * 1e3:.1f}" for value in (statistics.mean(latencies), at(latencies, 0.95), at(latencies, 0.99))]
                )
            series[f"{kind}, {label}"] = rates
    report.table(["puts", "server", "clients", "rows/s", "errors", "mean ms", "p95 ms", "p99 ms"], rows_out)
    report.plot("a-concurrent-writers", "Concurrent writers", levels, series, "clients", "rows/s", log=True)
    report.figures["a"] = rows_out


def at(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def batch_sizes(report: Report, folder: Path, quick: bool):
    """(b) One stream of batches from 1 row to 100,001 rows."""
    report.say("## (b) One bulk put, by rows per batch")
    report.say()
    sizes = [1, 10, 100, 1_000, 10_000, 100_001]
    rows_out, series = [], {"pintail": [], "peer": []}
    for rows in sizes:
        total = min(rows * 20_000, 3_000_000) // (10 if quick else 1)
        ids = pa.array(range(max(total, rows)), pa.int64())
        table = pa.table({"id": ids, "well": pa.array([f"well {n % 1000}" for n in range(len(ids))]), "kbd": ids.cast(pa.float64())})
        batches = table.to_batches(max_chunksize=rows)
        count = sum(batch.num_rows for batch in batches)
        for kind in ["pintail", "peer"]:
            server = Server(kind, folder, f"sizes-{kind}-{rows}.duckdb")
            seconds = put(server.client(), "bulk", table.schema, batches)
            series[kind].append(count / seconds)
            rows_out.append([f"{rows:,}", kind, f"{count:,}", f"{count / seconds:,.0f}", f"{server.peak() // MIB} MiB"])
            server.stop()
            server.database.unlink(missing_ok=True)
    report.table(["rows per batch", "server", "rows", "rows/s", "peak memory"], rows_out)
    report.plot("b-batch-sizes", "One put, by batch size", sizes, series, "rows per batch", "rows/s", log=True)
    report.figures["b"] = rows_out


def streaming_reads(report: Report, folder: Path, quick: bool):
    """(c) Reads of millions of rows, with and without LIMIT."""
    report.say("## (c) Streaming reads")
    report.say()
    rows = 600_000 if quick else 5_000_000
    rows_out = []
    for kind in ["pintail", "peer"]:
        server = Server(kind, folder, f"reads-{kind}.duckdb")
        client = server.client()
        put(client, "wells", WELL_SCHEMA, well_batches(rows))
        for sql in ["FROM wells", f"FROM wells LIMIT {rows // 2}", "FROM wells LIMIT 1000", "FROM wells LIMIT 1"]:
            get(client, sql)
            server.reset_peak()
            seconds, first, found, size = min(get(client, sql) for _ in range(3))
            rows_out.append([sql, kind, f"{found:,}", f"{found / seconds:,.0f}", f"{first * 1e3:.1f}", f"{size / seconds / 1e6:,.0f}", f"{server.peak() // MIB} MiB"])
        server.stop()
        server.database.unlink(missing_ok=True)
    report.table(["statement", "server", "rows", "rows/s", "first batch, ms", "MB/s", "peak memory"], rows_out)
    report.figures["c"] = rows_out


WELL_SCHEMA = pa.schema(
    [
        ("field_code", pa.int64()), ("field_name", pa.string()), ("well_code", pa.int64()), ("well_reference", pa.string()),
        ("well_name", pa.string()), ("production_period", pa.timestamp("us")), ("days_on_production", pa.int64()),
        ("oil_production_kbd", pa.float64()), ("gas_production_mmcfd", pa.float64()), ("liquids_production_kbd", pa.float64()),
        ("water_production_kbd", pa.float64()), ("data_source", pa.string()), ("source_data", pa.string()), ("partition_0", pa.string()),
    ]
)


def well_batches(rows: int):
    """Daily production of 20,000 wells in 200 fields, shuffled by well so that no column is sorted."""
    import numpy

    random = numpy.random.default_rng(7)
    for start in range(0, rows, BATCH_ROWS):
        count = min(BATCH_ROWS, rows - start)
        wells = random.integers(0, 20_000, count)
        fields = wells % 200
        days = random.integers(0, 3_650, count).astype("datetime64[D]").astype("datetime64[us]")
        yield pa.record_batch(
            [
                pa.array(fields), pa.array([f"Field {n}" for n in fields]), pa.array(wells), pa.array([f"REF-{n:06}" for n in wells]),
                pa.array([f"Well {n}" for n in wells]), pa.array(days), pa.array(random.integers(1, 32, count)),
                pa.array(random.random(count) * 10), pa.array(random.random(count) * 50), pa.array(random.random(count)),
                pa.array(random.random(count) * 3), pa.array(["SCADA"] * count), pa.array(["daily"] * count), pa.array(["p0"] * count),
            ],
            schema=WELL_SCHEMA,
        )


QUERIES = {
    "point, well_code": "FROM wells WHERE well_code = 12345",
    "point, well_reference": "FROM wells WHERE well_reference = 'REF-012345'",
    "range, production_period": "FROM wells WHERE production_period BETWEEN '1975-01-01' AND '1975-01-07'",
    "filter, oil > 9.99": "FROM wells WHERE oil_production_kbd > 9.99",
    "sort and LIMIT 1000": "FROM wells ORDER BY oil_production_kbd DESC LIMIT 1000",
    "sort of everything": "SELECT well_code, oil_production_kbd FROM wells ORDER BY oil_production_kbd",
    "group by field": "SELECT field_name, sum(oil_production_kbd) FROM wells GROUP BY ALL",
}


def filters(report: Report, folder: Path, quick: bool, parts):
    """(d) Filters and sorts without an index, and (e) with plain CREATE INDEX on the columns filtered."""
    rows = 500_000 if quick else 5_000_000
    server = Server("pintail", folder, "filters.duckdb")
    client = server.client()
    put(client, "wells", WELL_SCHEMA, well_batches(rows))

    def measure():
        times = {}
        for name, sql in QUERIES.items():
            get(client, sql)
            results = [get(client, sql) for _ in range(5)]
            times[name] = (statistics.median(result[0] for result in results) * 1e3, results[0][2])
        return times

    plain = measure()
    indexed, building = None, 0.0
    if "e" in parts:
        started = time.perf_counter()
        for column in ["well_code", "well_reference", "production_period", "oil_production_kbd"]:
            client.do_get(flight.Ticket(f"CREATE INDEX by_{column} ON wells ({column})".encode())).read_all()
        building = time.perf_counter() - started
        indexed = measure()
    server.stop()
    report.say(f"## (d) Filters and sorts over {rows:,} rows of well production, (e) the same with indexes")
    report.say()
    report.table(
        ["query", "rows", "(d) no index, ms", "(e) indexed, ms"],
        [[name, f"{count:,}", f"{ms:.1f}", f"{indexed[name][0]:.1f}" if indexed else "-"] for name, (ms, count) in plain.items()],
    )
    if indexed:
        report.say(f"Building the four indexes took {building:.1f} s.")
        report.say()
        names = list(plain)
        report.plot("de-filters", "Filters and sorts", range(1, len(names) + 1), {"no index": [plain[n][0] for n in names], "indexed": [indexed[n][0] for n in names]}, "query (order of the table)", "ms", log=True)
    report.figures["de"] = {"plain": plain, "indexed": indexed}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("bench-out"))
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--scale", type=float, default=None, help="TPC-H scale factor, default 1")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", action="append", choices=["core", "memory", "a", "b", "c", "d", "e"])
    options = arguments.parse_args()
    parts = options.only or ["core", "memory", "a", "b", "c", "d", "e"]
    report = Report(options.out)
    folder = Path(tempfile.mkdtemp(prefix="pintail-bench-"))
    try:
        cpu = next((l.split(":")[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if l.startswith("model name")), "?")
        import duckdb

        version = subprocess.run([os.environ["PINTAIL_BIN"], "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
        report.say(f"{version}, DuckDB {duckdb.__version__}, pyarrow {pa.__version__}, Python {platform.python_version()}; {os.cpu_count()} cores, {cpu}; {time.strftime('%Y-%m-%d')}")
        report.say(f"Command: `make bench BENCH=\"{' '.join(sys.argv[3:])}\"`" if len(sys.argv) > 3 else "Command: `make bench`")
        report.say()
        if "core" in parts:
            core(report, folder, options.scale or (0.1 if options.quick else 1), options.rounds)
        if "memory" in parts:
            memory(report, folder, options.quick)
        if "a" in parts:
            concurrent_writers(report, folder, options.quick)
        if "b" in parts:
            batch_sizes(report, folder, options.quick)
        if "c" in parts:
            streaming_reads(report, folder, options.quick)
        if "d" in parts or "e" in parts:
            filters(report, folder, options.quick, parts)
    finally:
        report.write()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"written to {options.out}/results.md")


if __name__ == "__main__":
    main()
