#!/usr/bin/env bash
# pyarrow 26.0.1: Parquet turns empty lists of a fixed size of 0 into lists with one NULL.
#
# Guess before the run: a fixed-size list of size 0 has one valid value, the empty list, and Parquet can say "empty", so
# [[], []] comes back as it was, as with size 2 and with lists of any size.
# Seen: each is written with the levels of one element that is NULL. pyarrow itself cannot read the file ("Expected all lists
# to be of size=0 but index 1 had size=1") as long as the Arrow schema is stored in it; without that, and in DuckDB, the
# lists have one NULL each. A NULL in such a column is right. Polars writes and reads its arrays of size 0 well.
# Consequence: a column of embeddings or shapes with the size 0 gets through as a wrong value for all but pyarrow, which has
# an error. Cast to a list of any size before the file is written.
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
import pyarrow.parquet as pq

print("pyarrow", pa.__version__, "duckdb", duckdb.__version__, "polars", polars.__version__)


def read(file):
    """The lists by pyarrow, or its error, and by DuckDB."""
    try:
        seen = pq.read_table(file)["x"].to_pylist()
    except pa.ArrowInvalid as error:
        seen = str(error)
    return seen, [x for (x,) in duckdb.sql(f"SELECT x FROM '{file}'").fetchall()]


def trip(values, kind, **options):
    pq.write_table(pa.table({"x": pa.array(values, kind)}), "x.parquet", **options)
    seen = read("x.parquet")
    print(f"{str(values):16} {str(kind):40} {str(options or ''):24} {seen}")
    return seen


zero, two, free = pa.list_(pa.int32(), 0), pa.list_(pa.int32(), 2), pa.list_(pa.int32())
stored = trip([[], []], zero)
plain = trip([[], []], zero, store_schema=False)
null = trip([None], zero)
assert trip([[1, 2], None], two) == ([[1, 2], None], [[1, 2], None])
assert trip([[], []], free) == ([[], []], [[], []])
polars.DataFrame({"x": polars.Series([[], []], dtype=polars.Array(polars.Int32, 0))}).write_parquet("p.parquet")
other = read("p.parquet")
print("by Polars", other)

assert "Expected all lists to be of size=0" in stored[0]
assert plain[0] == stored[1] == plain[1] == [[None], [None]]
assert null[0] == [None] and other[0] == [[], []]
PY
# Output seen:
# pyarrow 26.0.1 duckdb 2.0.0 polars 2.1.0
# [[], []]         fixed_size_list<item: int32>[0]                                   ('Expected all lists to be of size=0 but index 1 had size=1', [[None], [None]])
# [[], []]         fixed_size_list<item: int32>[0]          {'store_schema': False}  ([[None], [None]], [[None], [None]])
# [None]           fixed_size_list<item: int32>[0]                                   ([None], [None])
# [[1, 2], None]   fixed_size_list<item: int32>[2]                                   ([[1, 2], None], [[1, 2], None])
# [[], []]         list<item: int32>                                                 ([[], []], [[], []])
# by Polars ([[], []], [[], []])
