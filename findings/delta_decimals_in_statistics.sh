#!/usr/bin/env bash
# deltalake 1.6.6: a decimal of 16 digits can get a minimum and maximum in the log that it does not lie between, so a filter on
# its own value finds no row, in delta-rs and in other readers that skip files.
#
# Guess before the run: the statistics in a Delta log are JSON, whose numbers have any number of digits, so those of a decimal
# column are written in full; or the minimum is rounded down and the maximum up.
# Seen: both go over a double. 99999999999999.99 is said to lie between 100000000000000.0 and 100000000000000.0, and d = that
# value, or d <= it, skips the file: in deltalake's own SQL, UPDATE and DELETE, in its dataset for pyarrow, in Polars and in
# DuckDB's extension. A MERGE on the same key finds the row, and with the column left out of the statistics all of them do.
# Consequence: large sums of money and identifiers in decimals are not found, and a DELETE of one says 0 rows without an error.
# Leave such columns out of delta.dataSkippingStatsColumns.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet deltalake==1.6.6 duckdb==1.5.5 duckdb-extension-delta==1.5.5 polars==2.1.0 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import json
import pathlib
from decimal import Decimal

import deltalake
import duckdb
import duckdb_extension_delta
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

print("deltalake", deltalake.__version__, "duckdb", duckdb.__version__, "polars", pl.__version__)
db = duckdb.connect()
extension = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("*.duckdb_extension"))
db.execute(f"LOAD '{extension}'")
KIND = pa.decimal128(18, 2)


def look_up(folder, value, configuration=None):
    """How many of one row each way finds by the row's own value, and the maximum in the log."""
    rows = pa.table({"i": [1], "d": pa.array([Decimal(value)], KIND)})
    deltalake.write_deltalake(folder, rows, configuration=configuration)
    table = deltalake.DeltaTable(folder)
    log = pathlib.Path(folder, "_delta_log", "00000000000000000000.json").read_text().splitlines()
    stats = next(json.loads(line)["add"]["stats"] for line in log if '"add"' in line)
    exact = f"CAST('{value}' AS DECIMAL(18, 2))"
    sql = deltalake.QueryBuilder().register("t", table)
    dataset = table.to_pyarrow_dataset()
    seen = {
        "maximum": json.loads(stats)["maxValues"].get("d"),
        "SQL =": sql.execute(f"SELECT i FROM t WHERE d = {exact}").read_all().num_rows,
        "SQL <=": sql.execute(f"SELECT i FROM t WHERE d <= {exact}").read_all().num_rows,
        "pyarrow": dataset.to_table(filter=ds.field("d") == pa.scalar(Decimal(value), KIND)).num_rows,
        "Polars": pl.scan_delta(folder).filter(pl.col("d") == Decimal(value)).collect().height,
        "DuckDB": len(db.execute(f"SELECT i FROM delta_scan('{folder}') WHERE d = {exact}").fetchall()),
        "UPDATE": table.update(predicate=f"d = {exact}", updates={"i": "2"})["num_updated_rows"],
        "MERGE": table.merge(rows, "t.d = s.d", source_alias="s", target_alias="t")
        .when_matched_update_all()
        .execute()["num_target_rows_updated"],
        "DELETE": table.delete(f"d = {exact}")["num_deleted_rows"],
    }
    print(f"{value:20} {folder:6} {seen}")
    return seen


small = look_up("small", "9999999999999.99")
large = look_up("large", "99999999999999.99")
other = look_up("other", "1234567890123456.78")
without = look_up("none", "99999999999999.99", {"delta.dataSkippingStatsColumns": "i"})
found = dict.fromkeys(small, 1)
lost = dict.fromkeys(small, 0) | {"MERGE": 1}
assert small == found | {"maximum": 9999999999999.99}
assert large == lost | {"maximum": 100000000000000.0}
assert other == lost | {"maximum": 1234567890123456.8}
assert without == found | {"maximum": None}
PY
# Output seen:
# deltalake 1.6.6 duckdb 1.5.5 polars 2.1.0
# 9999999999999.99     small  {'maximum': 9999999999999.99, 'SQL =': 1, 'SQL <=': 1, 'pyarrow': 1, 'Polars': 1, 'DuckDB': 1, 'UPDATE': 1, 'MERGE': 1, 'DELETE': 1}
# 99999999999999.99    large  {'maximum': 100000000000000.0, 'SQL =': 0, 'SQL <=': 0, 'pyarrow': 0, 'Polars': 0, 'DuckDB': 0, 'UPDATE': 0, 'MERGE': 1, 'DELETE': 0}
# 1234567890123456.78  other  {'maximum': 1234567890123456.8, 'SQL =': 0, 'SQL <=': 0, 'pyarrow': 0, 'Polars': 0, 'DuckDB': 0, 'UPDATE': 0, 'MERGE': 1, 'DELETE': 0}
# 99999999999999.99    none   {'maximum': None, 'SQL =': 1, 'SQL <=': 1, 'pyarrow': 1, 'Polars': 1, 'DuckDB': 1, 'UPDATE': 1, 'MERGE': 1, 'DELETE': 1}
