"""How speed grows with cores: put, get, endpoints of one result, small puts, with n cores for the server and n for its clients.

Cores are given out by `taskset`. Where the machine has 2n of them, server and clients have n each; where it has only n, both
share them; more than it has is left out, in words.
"""

import os
import statistics

from sides import run_clients

from .endpoints import read_over


def pins(n: int, there: int) -> tuple[str, str]:
    """Cores of the server and of its clients."""
    clients = f"{n}-{2 * n - 1}" if there >= 2 * n else f"0-{n - 1}"
    return f"0-{n - 1}", clients


def measure(bench) -> None:
    report, data, there = bench.report, bench.data, os.cpu_count() or 1
    if "lineitem" not in data.tables:
        return
    levels = [n for n in bench.options.threads if n <= there]
    report.say(f"## Cores: {', '.join(map(str, levels)) or 'none'} for the server and as many for its clients")
    report.say()
    if left := [n for n in bench.options.threads if n > there]:
        report.say(f"Not run: {', '.join(map(str, left))}. This machine has {there} cores.")
        report.say()
    if shared := [n for n in levels if 2 * n > there]:
        report.say(f"Server and clients share the same cores at {', '.join(map(str, shared))}.")
        report.say()
    works = {"put": puts, "get": gets, "endpoints": endpoints, "small puts": small_puts}
    names = bench.chosen("pintail", "base", "peer")
    curves = {what: {} for what in works}
    for what, work in works.items():
        rows = []
        for name in names if what != "endpoints" else [name for name in names if name != "peer"]:
            found = {n: [] for n in levels}
            # A server that knows nothing of endpoints is left out of that curve alone.
            with bench.present(f"{what} of {bench.side(name).name}"):
                for _ in range(bench.options.rounds):
                    for n in levels:
                        with bench.quiet():
                            found[n].append(work(bench, name, n, *pins(n, there)))
            if not all(found.values()):
                continue
            medians = [statistics.median(found[n]) for n in levels]
            curves[what][bench.side(name).name] = medians
            rows.append([bench.side(name).name, *(f"{value / medians[0]:.2f}" for value in medians), *(f"{value:,.4g}" for value in medians)])
        unit = "puts/s" if what == "small puts" else "M rows/s"
        if levels and rows:
            titles = ["", *(f"{n}, of {levels[0]}" for n in levels), *(f"{n}, {unit}" for n in levels)]
            report.say(f"### {what}")
            report.say()
            report.table(titles, rows)
            plot = what.replace(" ", "-")
            report.lines_plot(f"cores-{plot}", f"{what}, by cores", levels, curves[what], "cores of the server, and of its clients", unit)
    report.figures["cores"] = {"levels": levels, "curves": curves}


def threads(n: int) -> dict:
    return {"PINTAIL_DATABASE__THREADS": str(n)}


def puts(bench, name: str, n: int, server_cores: str, client_cores: str) -> float:
    """n streams into one table, each with its part of lineitem."""
    data, side = bench.data, bench.side(name)
    work = {"do": "put", "table": "loaded", "file": str(data.arrow("lineitem")), "parts": n}

    def use(server, database) -> float:
        ran = run_clients(n, server, lambda part: side.work(server, database, **work, part=part), client_cores)
        return data.rows["lineitem"] / 1e6 / ran["seconds"]

    return bench.over_new_database(name, use, cores=server_cores, env=threads(n))


def over_data(bench, name: str, use, cores: str, n: int) -> float:
    with bench.serving([name], bench.data, cores=cores, env=threads(n)) as servers:
        server, database = servers[name]
        bench.side(name).run(server, database, do="read", sql="SELECT * FROM lineitem")
        return use(server, database)


def gets(bench, name: str, n: int, server_cores: str, client_cores: str) -> float:
    """n clients, each reading the whole of lineitem."""
    side, sql = bench.side(name), "SELECT * FROM lineitem"

    def use(server, database) -> float:
        ran = run_clients(n, server, lambda _: side.work(server, database, do="read", sql=sql), client_cores)
        return n * bench.data.rows["lineitem"] / 1e6 / ran["seconds"]

    return over_data(bench, name, use, server_cores, n)


def endpoints(bench, name: str, n: int, server_cores: str, client_cores: str) -> float:
    """One ADBC client that reads one result over n endpoints at once."""
    return over_data(bench, name, lambda server, _: read_over(bench, server, n, client_cores)["rate"], server_cores, n)


def small_puts(bench, name: str, n: int, server_cores: str, client_cores: str) -> float:
    """Eight clients for each core, single rows."""
    side = bench.side(name)

    def use(server, database) -> float:
        work = {"do": "small", "table": "shared", "rows": 1}
        side.run(server, database, **work, seconds=0, seed=99)
        ran = run_clients(8 * n, server, lambda k: side.work(server, database, **work, seconds=bench.seconds, seed=k), client_cores)
        return sum(result["rows"] / result["seconds"] for result in ran["results"])

    return bench.over_new_database(name, use, cores=server_cores, env=threads(n))
