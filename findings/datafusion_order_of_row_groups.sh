#!/usr/bin/env bash
# datafusion 55.0.0: ORDER BY over a Parquet file with sorting columns gives its rows unsorted, as each row group alone is in order.
#
# Guess before the run: sorting_columns says in which order the rows of one row group are, as the format has it, so a file of
# several row groups is in order only if their ranges do not overlap. A reader that leaves a sort out looks at the statistics
# first, or has a sort over the row groups all the same.
# Seen: the sorting columns of the row groups are taken for the order of the file, with no look at minimum and maximum, and the
# sort is left out. ORDER BY gives 1, 5, 9, 1, 5, 9, ORDER BY … LIMIT 2 the wrong two rows, rank() numbers equal values apart,
# and sum() OVER (PARTITION BY …) makes two partitions of one value. With one target partition GROUP BY too has groups twice.
# The same rows from a file without sorting columns are right, and so is DuckDB 2.0.0 with the same file.
# Consequence: pyarrow's ParquetWriter, given batches that are each sorted, makes such files without a complaint. Whoever appends
# sorted batches leaves sorting_columns out, or keeps to one row group.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet datafusion==55.0.0 duckdb==2.0.0 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import datafusion
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

print("datafusion", datafusion.__version__, "duckdb", duckdb.__version__, "pyarrow", pa.__version__)
batches = [pa.table({"a": [1, 5, 9], "v": [1, 1, 1]}), pa.table({"a": [1, 5, 9], "v": [10, 10, 10]})]
for name, order in {"sorted": [pq.SortingColumn(0)], "plain": None}.items():
    with pq.ParquetWriter(f"{name}.parquet", batches[0].schema, sorting_columns=order) as writer:
        for batch in batches:
            writer.write_table(batch)

one = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(1))
more = datafusion.SessionContext()
db = duckdb.connect()
for name in ("sorted", "plain"):
    for context in (one, more):
        context.register_parquet(name, f"{name}.parquet")
    db.execute(f"CREATE VIEW {name} AS FROM '{name}.parquet'")


def ask(query, context=more):
    """The answers of DataFusion for both files, and of DuckDB for the sorted one."""
    seen = []
    for name in ("sorted", "plain"):
        table = context.sql(query.format(name)).to_arrow_table()
        seen.append(list(zip(*table.to_pydict().values())))
    seen.append(db.execute(query.format("sorted")).fetchall())
    print(query)
    for who, rows in zip(("DataFusion, sorting columns", "DataFusion, plain", "DuckDB, sorting columns"), seen):
        print(f"    {who:28} {rows}")
    return seen


order = ask("SELECT a FROM {} ORDER BY a")
limit = ask("SELECT a FROM {} ORDER BY a LIMIT 2")
rank = ask("SELECT a, rank() OVER (ORDER BY a) FROM {}")
total = ask("SELECT a, sum(v) OVER (PARTITION BY a) FROM {}")
group = ask("SELECT a, sum(v) FROM {} GROUP BY a", one)

assert order[0] == [(1,), (5,), (9,), (1,), (5,), (9,)] and order[1] == order[2] == sorted(order[0])
assert limit[0] == [(1,), (5,)] and limit[1] == limit[2] == [(1,), (1,)]
assert rank[0] == [(1, 1), (5, 2), (9, 3), (1, 4), (5, 5), (9, 6)]
assert sorted(rank[1]) == sorted(rank[2]) == [(1, 1), (1, 1), (5, 3), (5, 3), (9, 5), (9, 5)]
assert total[0] == [(1, 1), (5, 1), (9, 1), (1, 10), (5, 10), (9, 10)]
assert sorted(total[1]) == sorted(total[2]) == [(1, 11), (1, 11), (5, 11), (5, 11), (9, 11), (9, 11)]
assert group[0] == [(1, 1), (5, 1), (9, 11), (1, 10), (5, 10)]
assert sorted(group[1]) == sorted(group[2]) == [(1, 11), (5, 11), (9, 11)]
PY
# Output seen:
# datafusion 55.0.0 duckdb 2.0.0 pyarrow 26.0.1
# SELECT a FROM {} ORDER BY a
#     DataFusion, sorting columns  [(1,), (5,), (9,), (1,), (5,), (9,)]
#     DataFusion, plain            [(1,), (1,), (5,), (5,), (9,), (9,)]
#     DuckDB, sorting columns      [(1,), (1,), (5,), (5,), (9,), (9,)]
# SELECT a FROM {} ORDER BY a LIMIT 2
#     DataFusion, sorting columns  [(1,), (5,)]
#     DataFusion, plain            [(1,), (1,)]
#     DuckDB, sorting columns      [(1,), (1,)]
# SELECT a, rank() OVER (ORDER BY a) FROM {}
#     DataFusion, sorting columns  [(1, 1), (5, 2), (9, 3), (1, 4), (5, 5), (9, 6)]
#     DataFusion, plain            [(1, 1), (1, 1), (5, 3), (5, 3), (9, 5), (9, 5)]
#     DuckDB, sorting columns      [(1, 1), (1, 1), (5, 3), (5, 3), (9, 5), (9, 5)]
# SELECT a, sum(v) OVER (PARTITION BY a) FROM {}
#     DataFusion, sorting columns  [(1, 1), (5, 1), (9, 1), (1, 10), (5, 10), (9, 10)]
#     DataFusion, plain            [(1, 11), (1, 11), (5, 11), (5, 11), (9, 11), (9, 11)]
#     DuckDB, sorting columns      [(1, 11), (5, 11), (9, 11), (1, 11), (5, 11), (9, 11)]
# SELECT a, sum(v) FROM {} GROUP BY a
#     DataFusion, sorting columns  [(1, 1), (5, 1), (9, 11), (1, 10), (5, 10)]
#     DataFusion, plain            [(1, 11), (5, 11), (9, 11)]
#     DuckDB, sorting columns      [(1, 11), (5, 11), (9, 11)]
