"""The most memory that a server has resident: long values, a slow reader of very many rows."""

from sides import MIB

STRING_BYTES = 8192
ASKED_STRINGS_MIB, ASKED_GROWTH_MIB = 200, 32


def measure(bench) -> None:
    report = bench.report
    report.say("## Memory of the server")
    report.say()
    few, many = (600_000, 60_000_000) if bench.quick else (600_000, 1_000_000_000)
    strings = int((0.1e9 if bench.quick else 1e9) / STRING_BYTES)
    texts = f"SELECT range AS n, repeat(chr(97 + (range % 26)::INTEGER), {STRING_BYTES}) AS s FROM range({strings})"
    work = {
        f"{strings:,} strings of 8 KB": (texts, strings, 0.0),
        f"{few:,} rows, 1 ms pause a batch": (f"SELECT range AS n FROM range({few})", few, 0.001),
        f"{many:,} rows, 1 ms pause a batch": (f"SELECT range AS n FROM range({many})", many, 0.001),
    }
    rows = []
    for name in bench.chosen("pintail", "base", "peer"):
        peaks = {}
        for label, (sql, count, pause) in work.items():

            def use(server, database) -> dict:
                side = bench.side(name)
                side.run(server, database, do="read", sql="SELECT 1 AS n")
                return side.run(server, database, do="read", sql=sql, pause=pause)

            with bench.quiet():
                found = bench.over_new_database(name, use)
            if found["rows"] != count:
                raise ValueError(f"{name} read {found['rows']:,} of {count:,} rows")
            peaks[label] = found["server_peak"] / MIB
            measured = [f"{peaks[label]:.0f} MiB", f"{found['bytes'] / 1e9:.2f} GB", f"{found['seconds']:.1f} s"]
            rows.append([label, bench.side(name).name, *measured])
        bench.report.figures.setdefault("memory", {})[name] = peaks
        if name == "pintail":
            wide, short, long = peaks.values()
            bench.ask(f"peak memory reading {strings:,} strings of 8 KB, MiB", wide, ASKED_STRINGS_MIB, most=True, form="{:.0f}")
            what = f"peak memory of {many:,} rows read slowly, above that of {few:,}, MiB"
            bench.ask(what, long - short, ASKED_GROWTH_MIB, most=True, form="{:.0f}")
    report.table(["read", "server", "peak memory", "result", "time"], rows)
