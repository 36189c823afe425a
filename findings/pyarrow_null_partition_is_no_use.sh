#!/usr/bin/env bash
# pyarrow 26.0.1: a table read from hive partitions of which one is NULL can be read but not used: to_pandas, take,
# combine_chunks and sort_by raise "Cannot yet unify dictionaries with nulls".
#
# Guess before the run: pyarrow writes the rows of a NULL key to the folder __HIVE_DEFAULT_PARTITION__ itself, and reads that
# name as NULL, so what it writes goes round: the key is a dictionary column with a NULL in it.
# Seen: it reads, and the values are right when they are listed. But the key is in a chunk for each file, the dictionary of
# each chunk has a NULL as one of its values, and all that has to make one dictionary of two with a NULL raises, also where
# the key is not what is asked about: sorting by another column. A key that is cast to plain text first is good for all of
# it, and so is a partitioning with a schema. Without a NULL nothing raises.
# Consequence: pandas cannot read back what its own to_parquet(partition_cols=…) wrote, as it calls to_pandas. Who reads
# partitions by pyarrow names the type of the key or casts the column.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

print("pyarrow", pa.__version__)


def outcomes(table):
    """What comes of some common calls: 'works' or the error."""
    out = {}
    for what, call in (
        ("to_pylist", lambda: table["k"].to_pylist()),
        ("combine_chunks", lambda: table.combine_chunks()),
        ("take", lambda: table.take([0, 1])),
        ("sort_by x", lambda: table.sort_by("x")),
        ("unify_dictionaries", lambda: table.unify_dictionaries()),
    ):
        try:
            call()
            out[what] = "works"
        except pa.ArrowException as error:
            out[what] = str(error)
    return out


def show(what, seen):
    print(what)
    for call, outcome in seen.items():
        print(f"  {call:20} {outcome}")
    return seen


for folder, keys in (("plain", ["a", "c", "b"]), ("nulls", ["a", None, "b"])):
    pq.write_to_dataset(pa.table({"k": keys, "x": [1, 2, 3]}), folder, partition_cols=["k"])

without = show("no NULL", outcomes(pq.read_table("plain")))
table = pq.read_table("nulls")
print("rows:", sorted(zip(table["x"].to_pylist(), table["k"].to_pylist())))
read = show("a NULL", outcomes(table))
at = table.column_names.index("k")
cast = show("a NULL, cast to text", outcomes(table.set_column(at, "k", pc.cast(table["k"], pa.string()))))
part = ds.partitioning(pa.schema([("k", pa.string())]), flavor="hive")
typed = show("a NULL, type named", outcomes(ds.dataset("nulls", partitioning=part).to_table()))

fine = dict.fromkeys(read, "works")
assert without == cast == typed == fine
assert sorted(zip(table["x"].to_pylist(), table["k"].to_pylist())) == [(1, "a"), (2, None), (3, "b")]
raised = "Cannot yet unify dictionaries with nulls"
assert read == dict.fromkeys(read, raised) | {"to_pylist": "works"}
PY
# Output seen:
# pyarrow 26.0.1
# no NULL
#   to_pylist            works
#   combine_chunks       works
#   take                 works
#   sort_by x            works
#   unify_dictionaries   works
# rows: [(1, 'a'), (2, None), (3, 'b')]
# a NULL
#   to_pylist            works
#   combine_chunks       Cannot yet unify dictionaries with nulls
#   take                 Cannot yet unify dictionaries with nulls
#   sort_by x            Cannot yet unify dictionaries with nulls
#   unify_dictionaries   Cannot yet unify dictionaries with nulls
# a NULL, cast to text
#   to_pylist            works
#   combine_chunks       works
#   take                 works
#   sort_by x            works
#   unify_dictionaries   works
# a NULL, type named
#   to_pylist            works
#   combine_chunks       works
#   take                 works
#   sort_by x            works
#   unify_dictionaries   works
