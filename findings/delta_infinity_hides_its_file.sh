#!/usr/bin/env bash
# deltalake 1.6.6: in the dataset for pyarrow, one infinity in a file hides all rows of the file from filters on its column.
#
# Guess before the run: a minimum or maximum that JSON cannot hold is left out of the log, and a bound that is not there skips
# no file; at worst the infinity itself is not found.
# Seen: for [1.0, 2.0, inf] the log says null for the maximum, and to_pyarrow_dataset() makes of it the promise that all values
# are <= NULL. pyarrow concludes that x < 5, x != 1 and even x = 1 are true for no row: nothing of the file is found, and no
# error is raised. With -inf, x > 0.5 is lost alike. deltalake's own SQL and Polars' scan_delta are right; pandas by
# to_pandas(filters=…), Polars with use_pyarrow=True and DuckDB over the dataset lose the rows.
# Consequence: a division by zero in one row of a day takes that day out of filtered reads. Leave such columns out of
# delta.dataSkippingStatsColumns, or read by QueryBuilder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet deltalake==1.6.6 duckdb==2.0.0 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import math

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

print("deltalake", deltalake.__version__, "polars", pl.__version__, "duckdb", duckdb.__version__)


def read(name, values, configuration=None):
    """The ids that each way finds by x < 5."""
    deltalake.write_deltalake(name, pa.table({"id": range(len(values)), "x": values}), configuration=configuration)
    table = deltalake.DeltaTable(name)
    dataset = table.to_pyarrow_dataset()
    ways = {
        "SQL": deltalake.QueryBuilder().register("t", table).execute("SELECT id FROM t WHERE x < 5").read_all()["id"],
        "Polars": pl.scan_delta(name).filter(pl.col("x") < 5).collect()["id"],
        "pyarrow": dataset.to_table(filter=ds.field("x") < 5)["id"],
        "pandas": pa.array(table.to_pandas(filters=[("x", "<", 5.0)])["id"]),
        "Polars, pyarrow": pl.scan_delta(name, use_pyarrow=True).filter(pl.col("x") < 5.0).collect()["id"],
        "DuckDB, pyarrow": duckdb.sql("SELECT id FROM dataset WHERE x < 5").to_arrow_table()["id"],
    }
    seen = {way: sorted(ids.to_list() if isinstance(ids, pl.Series) else ids.to_pylist()) for way, ids in ways.items()}
    print(f"{str(values):22} {seen}")
    print(f"{'':22} promised: {next(dataset.get_fragments()).partition_expression}")
    return seen


finite = read("finite", [1.0, 2.0, 9.0])
infinite = read("infinite", [1.0, 2.0, math.inf])
without = read("without", [1.0, 2.0, math.inf], {"delta.dataSkippingStatsColumns": "id"})
negative = read("negative", [-math.inf, 1.0, 2.0])


def count(name, condition):
    """The number of rows in the dataset for pyarrow, and how many of them satisfy `condition` afterwards."""
    dataset = deltalake.DeltaTable(name).to_pyarrow_dataset()
    seen = dataset.to_table(filter=condition).num_rows, dataset.to_table().filter(condition).num_rows
    print(f"{name}: {condition}: found {seen[0]} of {seen[1]}")
    return seen


x = ds.field("x")

own = {"SQL": [0, 1], "Polars": [0, 1]}
others = ("pyarrow", "pandas", "Polars, pyarrow", "DuckDB, pyarrow")
assert finite == without == own | dict.fromkeys(others, [0, 1])
assert negative == {"SQL": [0, 1, 2], "Polars": [0, 1, 2]} | dict.fromkeys(others, [])
assert count("infinite", x == 1.0) == (0, 1) and count("infinite", x != 1.0) == (0, 2)
assert count("negative", x > 0.5) == (0, 2)
assert infinite == own | dict.fromkeys(others, [])
PY
# Output seen:
# deltalake 1.6.6 polars 2.1.0 duckdb 2.0.0
# [1.0, 2.0, 9.0]        {'SQL': [0, 1], 'Polars': [0, 1], 'pyarrow': [0, 1], 'pandas': [0, 1], 'Polars, pyarrow': [0, 1], 'DuckDB, pyarrow': [0, 1]}
#                        promised: (((((is_valid(id) and is_valid(x)) and (id >= 0)) and (x >= 1)) and (id <= 2)) and (x <= 9))
# [1.0, 2.0, inf]        {'SQL': [0, 1], 'Polars': [0, 1], 'pyarrow': [], 'pandas': [], 'Polars, pyarrow': [], 'DuckDB, pyarrow': []}
#                        promised: (((((is_valid(id) and is_valid(x)) and (id >= 0)) and (x >= 1)) and (id <= 2)) and (x <= null[double]))
# [1.0, 2.0, inf]        {'SQL': [0, 1], 'Polars': [0, 1], 'pyarrow': [0, 1], 'pandas': [0, 1], 'Polars, pyarrow': [0, 1], 'DuckDB, pyarrow': [0, 1]}
#                        promised: ((is_valid(id) and (id >= 0)) and (id <= 2))
# [-inf, 1.0, 2.0]       {'SQL': [0, 1, 2], 'Polars': [0, 1, 2], 'pyarrow': [], 'pandas': [], 'Polars, pyarrow': [], 'DuckDB, pyarrow': []}
#                        promised: (((((is_valid(id) and is_valid(x)) and (id >= 0)) and (x >= null[double])) and (id <= 2)) and (x <= 2))
# infinite: (x == 1): found 0 of 1
# infinite: (x != 1): found 0 of 2
# negative: (x > 0.5): found 0 of 2
