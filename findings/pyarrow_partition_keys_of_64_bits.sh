#!/usr/bin/env bash
# pyarrow 26.0.1: an integer partition key is read as 32 bits, and as text as soon as one value of it needs more.
#
# Guess before the run: an int64 column that write_to_dataset made the key of hive partitions comes back as integers: as int64,
# or as int32 where all values fit in 32 bits.
# Seen: the guess knows int32 and text only. A single folder id=2147483648 turns the whole column into text, and a filter that
# worked, id = 1, ends with "Function 'equal' has no kernel matching input types". A folder name of digits is text in the
# column, not a large integer. DuckDB 2.0.0 and Polars 2.1.0 read 64-bit integers from the same folders.
# Consequence: a reader that has worked for long breaks with the first large id, or, where ids are grouped or joined, has
# them in the order of text. A partitioning with a schema, here int64, is good for all.
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
import pyarrow.parquet as pq

print("pyarrow", pa.__version__, "duckdb", duckdb.__version__, "polars", polars.__version__)


def trip(folder, ids):
    """(type of the key, rows of the first id or the error), after writing `ids` as int64."""
    table = pa.table({"id": pa.array(ids, pa.int64()), "x": ids})
    pq.write_to_dataset(table, folder, partition_cols=["id"])
    kind = ds.dataset(folder, partitioning="hive").schema.field("id").type
    try:
        rows = pq.read_table(folder, filters=[("id", "=", ids[0])]).num_rows
    except pa.ArrowNotImplementedError as error:
        rows = str(error)
    print(f"{ids}: {kind}, id = {ids[0]}: {rows}")
    return kind, rows


small = trip("small", [1, 2**31 - 1])
large = trip("large", [1, 2**31])
part = ds.partitioning(pa.schema([("id", pa.int64())]), flavor="hive")
typed = ds.dataset("large", partitioning=part).to_table(filter=ds.field("id") == 1).num_rows
duck = duckdb.sql("SELECT typeof(id), count(*) FROM 'large/*/*.parquet' GROUP BY 1").fetchall()
bear = polars.read_parquet("large").schema["id"]
print("with int64 named:", typed, "DuckDB:", duck, "Polars:", bear)
assert small == (pa.int32(), 1)
assert large[0] == pa.string() and "no kernel matching input types" in str(large[1])
assert typed == 1 and duck == [("BIGINT", 2)] and bear == polars.Int64
PY
# Output seen:
# pyarrow 26.0.1 duckdb 2.0.0 polars 2.1.0
# [1, 2147483647]: int32, id = 1: 1
# [1, 2147483648]: string, id = 1: Function 'equal' has no kernel matching input types (string, int8)
# with int64 named: 1 DuckDB: [('BIGINT', 2)] Polars: Int64
