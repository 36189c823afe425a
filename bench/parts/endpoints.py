"""One result read by one ADBC client over several endpoints at once, against one endpoint."""

from rounds import middle

ENDPOINTS, ASKED = 4, 1.2


def measure(bench) -> None:
    data, report = bench.data, bench.report
    if "lineitem" not in data.tables or not bench.chosen("pintail"):
        return
    report.say(f"## {ENDPOINTS} endpoints of one result, read by one ADBC client")
    report.say()
    # A server that knows nothing of endpoints leaves this part out, in words.
    with bench.present(f"{ENDPOINTS} endpoints"), bench.serving(["pintail"], data) as servers:
        server, _ = servers["pintail"]
        read_over(bench, server, 1)
        read_over(bench, server, ENDPOINTS)
        found = bench.turns(["1", str(ENDPOINTS)], lambda n: read_over(bench, server, int(n)))
        times = [several["rate"] / one["rate"] for one, several in zip(*found.values())]
        rows = [[n, f"{middle(runs, 'rate'):.3g}", f"{middle(runs, 'cpu') / (data.bytes['lineitem'] / 1e9):.2f}"] for n, runs in found.items()]
        report.table(["endpoints", "M rows/s", "server CPU, s/GB"], rows)
        bench.ask(f"{ENDPOINTS} endpoints read by one ADBC client, of one endpoint", sorted(times)[len(times) // 2], ASKED)
        report.figures["endpoints"] = found


def read_over(bench, server, n: int, cores=None) -> dict:
    """All of lineitem over n endpoints."""
    headers = {"pintail-endpoints": str(n)} if n > 1 else {}
    found = bench.side("adbc").run(server, bench.folder, cores, do="read", sql="SELECT * FROM lineitem", headers=headers)
    if found["rows"] != bench.data.rows["lineitem"]:
        raise ValueError(f"{n} endpoints gave {found['rows']:,} rows of {bench.data.rows['lineitem']:,}")
    return {**found, "rate": found["rows"] / 1e6 / found["seconds"]}
