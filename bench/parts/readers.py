"""Many clients that read at the same time, twelve if not asked otherwise."""

from sides import MIB, run_clients
from rounds import middle

ASKED_OF_PEER = 1.05


def measure(bench) -> None:
    """Each reads a quarter of lineitem. In process is left out: it would be one process and not twelve."""
    data, report = bench.data, bench.report
    if "lineitem" not in data.tables:
        return
    sql = "SELECT * FROM lineitem WHERE l_linenumber = 1"
    readers, names = bench.options.readers, bench.chosen("pintail", "base", "peer", "quack")
    with bench.serving(names, data) as servers:

        def one(name: str) -> dict:
            server, database = servers[name]
            ran = run_clients(readers, server, lambda _: bench.side(name).work(server, database, do="read", sql=sql))
            rows = {result["rows"] for result in ran["results"]}
            if len(rows) != 1:
                raise ValueError(f"{name}: readers of the same rows got {rows}")
            return {**{key: ran[key] for key in ("seconds", "cpu", "server_peak")}, "rows": readers * rows.pop()}

        report.say(f"## {readers} readers together, each a quarter of lineitem")
        report.say()
        found = bench.turns(list(servers), one)
    size = data.bytes["lineitem"] / 1e9
    columns = [
        ("server CPU, s/GB", lambda runs: f"{middle(runs, 'cpu') / (runs[0]['rows'] / data.rows['lineitem'] * size):.2f}"),
        ("peak of the server, MiB", lambda runs: f"{max(run['server_peak'] for run in runs) // MIB}"),
    ]
    what = f"{readers} readers together"

    def rate(result: dict) -> float:
        return result["rows"] / 1e6 / result["seconds"]

    bench.compare(what, found, rate, "M rows/s of all", columns=columns)
    bench.ratio(what, found, rate, "peer", asked=ASKED_OF_PEER)
