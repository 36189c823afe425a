#!/usr/bin/env bash
# DuckDB 2.0.0, pyarrow 26.0.1, Polars 2.1.0: leading zeros in the values of hive folders. DuckDB keeps them as text, but not
# behind a minus sign; the others never do.
#
# Guess before the run: all three guess an integer for code=01 and code=02, as DuckDB has BIGINT among the types that
# hive_types_autocast tries, and a text column of such codes comes back as numbers everywhere.
# Seen: in DuckDB one leading zero makes the column VARCHAR, for all folders, so codes go round there. pyarrow and Polars read 1
# and 2 from the same folders. For -01 DuckDB too has BIGINT -1.
# Consequence: postal codes and account numbers that DuckDB wrote as partitions, and reads back whole, lose their zeros in
# pyarrow and Polars, and a join on the two finds nothing. A type for the key is given to each reader.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.0 polars==2.1.0 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as ds

print("duckdb", duckdb.__version__, "pyarrow", pa.__version__, "polars", polars.__version__)


def trip(folder, codes):
    """The text `codes` written as partitions by DuckDB, read by each of the three."""
    db = duckdb.connect()
    db.execute("CREATE TABLE t AS SELECT unnest($1::VARCHAR[]) AS code, 1 AS x", [codes])
    db.execute(f"COPY t TO '{folder}' (FORMAT parquet, PARTITION_BY (code))")
    duck = db.execute(f"SELECT code FROM '{folder}/*/*.parquet' ORDER BY code").fetchall()
    seen = (
        [code for (code,) in duck],
        sorted(ds.dataset(folder, partitioning="hive").to_table()["code"].to_pylist()),
        sorted(polars.read_parquet(folder)["code"].to_list()),
    )
    print(f"{str(codes):16} DuckDB {str(seen[0]):16} pyarrow {str(seen[1]):16} Polars {seen[2]}")
    return seen


plain = trip("plain", ["1", "2"])
zeros = trip("zeros", ["01", "02"])
one = trip("one", ["01", "2"])
minus = trip("minus", ["-01", "2"])
assert plain == ([1, 2],) * 3
assert zeros == (["01", "02"], [1, 2], [1, 2])
assert one == (["01", "2"], [1, 2], [1, 2])
assert minus == ([-1, 2],) * 3
PY
# Output seen:
# duckdb 2.0.0 pyarrow 26.0.1 polars 2.1.0
# ['1', '2']       DuckDB [1, 2]           pyarrow [1, 2]           Polars [1, 2]
# ['01', '02']     DuckDB ['01', '02']     pyarrow [1, 2]           Polars [1, 2]
# ['01', '2']      DuckDB ['01', '2']      pyarrow [1, 2]           Polars [1, 2]
# ['-01', '2']     DuckDB [-1, 2]          pyarrow [-1, 2]          Polars [-1, 2]
