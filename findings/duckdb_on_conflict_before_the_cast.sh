#!/usr/bin/env bash
# DuckDB 2.0.0: ON CONFLICT finds no conflict when INSERT … SELECT offers the key in another type than
# its column's, and the insert then fails with the duplicate key that it was to pass over.
#
# Guess before the run: the values of an INSERT are cast to the types of its columns first, so a DOUBLE
# 0.25 or a DECIMAL 0.25 for an INTEGER key is the key 0, and a second one is a conflict on it.
# Seen: with INTEGER values, or with an explicit CAST, DO NOTHING leaves the second row out. With DOUBLE
# or DECIMAL values cast by the INSERT itself it raises "Duplicate key". VALUES is the same as SELECT's
# explicit CAST: it works with every type.
# Consequence: who feeds an upsert from a relation (a data frame, a file) has to cast the key himself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.0
"$work/venv/bin/python" - <<'PY'
import duckdb

print("duckdb", duckdb.__version__)


def twice(source):
    """Rows after inserting `source`, which gives the key 0, two times."""
    db = duckdb.connect()
    db.execute("CREATE TABLE t(k INTEGER PRIMARY KEY)")
    try:
        for _ in range(2):
            db.execute(f"INSERT INTO t {source} ON CONFLICT (k) DO NOTHING")
    except duckdb.ConstraintException as error:
        return str(error)
    return db.execute("SELECT count(*) FROM t").fetchone()[0]


seen = {}
for source in (
    "SELECT x FROM (SELECT 0::INTEGER AS x) WHERE true",
    "SELECT x FROM (SELECT 0.25::DOUBLE AS x) WHERE true",
    "SELECT x FROM (SELECT 0.25::DECIMAL(5, 2) AS x) WHERE true",
    "SELECT x::INTEGER FROM (SELECT 0.25::DOUBLE AS x) WHERE true",
    "VALUES (0.25::DOUBLE)",
):
    seen[source] = twice(source)
    print(f"{source:64} -> {seen[source]}")

integer, double, decimal, cast, values = seen.values()
assert (integer, cast, values) == (1, 1, 1)
assert "Duplicate key" in str(double) and "Duplicate key" in str(decimal)
PY
# Output seen:
# duckdb 2.0.0
# SELECT x FROM (SELECT 0::INTEGER AS x) WHERE true                -> 1
# SELECT x FROM (SELECT 0.25::DOUBLE AS x) WHERE true              -> Constraint Error: Duplicate key "k: 0" violates primary key constraint.
# SELECT x FROM (SELECT 0.25::DECIMAL(5, 2) AS x) WHERE true       -> Constraint Error: Duplicate key "k: 0" violates primary key constraint.
# SELECT x::INTEGER FROM (SELECT 0.25::DOUBLE AS x) WHERE true     -> 1
# VALUES (0.25::DOUBLE)                                            -> 1
