#!/usr/bin/env bash
# datafusion 55.0.0, arro3-core 0.9.1, nanoarrow 0.9.0: a slice of a sparse union that pyarrow hands over by the C data interface
# has its own types with the values of the first rows.
#
# Guess before the run: the offset of an array holds for the children of a sparse union as it does for those of a struct, and
# all libraries that import such an array apply it to both, so a slice arrives as it is in pyarrow.
# Seen: the three apply it to the type ids and not to the children. Of [1, 'b', 3, 'd'] the slice from the third row arrives as
# [1, 'b'] rather than [3, 'd'], and the one from the second row as three NULLs, with no error; in a struct alike. Dense unions
# are right, and DuckDB 2.0.0 reads the slices right.
# Consequence: DuckDB's UNION columns leave as sparse unions, so a result that is cut by pyarrow's slice() and handed on is wrong.
# take() makes a copy without an offset, which is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet arro3-core==0.9.1 datafusion==55.0.0 duckdb==2.0.0 nanoarrow==0.9.0 pyarrow==26.0.1
"$work/venv/bin/python" - <<'PY'
import arro3.core
import datafusion
import duckdb
import nanoarrow
import pyarrow as pa

print("datafusion", datafusion.__version__, "arro3-core", arro3.core.__version__, "nanoarrow", nanoarrow.__version__)
db = duckdb.connect()
db.execute("CREATE TABLE t (x UNION(i BIGINT, s VARCHAR))")
db.execute("INSERT INTO t VALUES (1), ('b'), (3), ('d')")
sparse = db.sql("SELECT x FROM t").to_arrow_table()["x"].combine_chunks()
dense = pa.UnionArray.from_dense(
    pa.array([0, 1, 0, 1], pa.int8()), pa.array([0, 0, 1, 1], pa.int32()), [pa.array([1, 3]), pa.array(["b", "d"])]
)
print("DuckDB's union:", sparse.type)


def datafusion_(array):
    return datafusion.SessionContext().from_arrow(pa.table({"x": array})).to_arrow_table()["x"].to_pylist()


def arro3_(array):
    return pa.array(arro3.core.Array(array)).to_pylist()


def nanoarrow_(array):
    return nanoarrow.Array(array).to_pylist()


def duckdb_(array):
    rows = pa.table({"x": array})
    return [x for (x,) in db.execute("SELECT x FROM rows").fetchall()]


def read(name, array, readers=(datafusion_, arro3_, nanoarrow_)):
    array.validate(full=True)
    seen = [reader(array) for reader in readers]
    print(f"{name:24} right {str(array.to_pylist()):26} seen {seen}")
    return seen


whole = read("whole", sparse)
same = read("slice from 2", sparse[2:])
other = read("slice from 1", sparse[1:])
struct = read("struct, slice from 2", pa.StructArray.from_arrays([sparse], ["x"])[2:])
taken = read("take 2, 3", sparse.take([2, 3]))
duck = read("slice from 2, DuckDB", sparse[2:], [duckdb_])
by_offsets = read("dense, slice from 2", dense[2:])

assert pa.types.is_union(sparse.type) and sparse.type.mode == "sparse"
assert whole == [[1, "b", 3, "d"]] * 3
assert same == [[1, "b"]] * 3
assert other == [[None] * 3] * 3
assert struct == [[{"x": 1}, {"x": "b"}]] * 3
assert taken == by_offsets == [[3, "d"]] * 3
assert duck == [[3, "d"]]
PY
# Output seen:
# datafusion 55.0.0 arro3-core 0.9.1 nanoarrow 0.9.0
# DuckDB's union: sparse_union<i: int64=0, s: string=1>
# whole                    right [1, 'b', 3, 'd']           seen [[1, 'b', 3, 'd'], [1, 'b', 3, 'd'], [1, 'b', 3, 'd']]
# slice from 2             right [3, 'd']                   seen [[1, 'b'], [1, 'b'], [1, 'b']]
# slice from 1             right ['b', 3, 'd']              seen [[None, None, None], [None, None, None], [None, None, None]]
# struct, slice from 2     right [{'x': 3}, {'x': 'd'}]     seen [[{'x': 1}, {'x': 'b'}], [{'x': 1}, {'x': 'b'}], [{'x': 1}, {'x': 'b'}]]
# take 2, 3                right [3, 'd']                   seen [[3, 'd'], [3, 'd'], [3, 'd']]
# slice from 2, DuckDB     right [3, 'd']                   seen [[3, 'd']]
# dense, slice from 2      right [3, 'd']                   seen [[3, 'd'], [3, 'd'], [3, 'd']]
