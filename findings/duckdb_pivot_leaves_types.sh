#!/usr/bin/env bash
# DuckDB 2.0.0: a PIVOT query without an IN list leaves one temporary ENUM type behind each time it
# runs, for the life of the connection.
#
# Guess before the run: PIVOT is a query. It may use a helper object, and that object is gone when
# its result is read, so fifty runs leave what one run leaves: nothing.
# Seen: fifty runs leave fifty types named __pivot_enum_<uuid> in the catalog `temp`, in that
# connection alone. Naming the values in an IN list leaves none.
# Consequence: a pool of long-lived connections grows a catalog entry per PIVOT, and a check for
# "does this connection hold temporary objects of its client" answers yes after a plain query.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.0
"$work/venv/bin/python" - <<'PY'
import duckdb

db = duckdb.connect()
print("duckdb", duckdb.__version__)
db.execute("CREATE TABLE sales(city VARCHAR, amount INTEGER)")
db.execute("INSERT INTO sales VALUES ('Bern', 1), ('Oslo', 2)")


def left(connection):
    return connection.execute(
        "SELECT count(*) FROM duckdb_types() WHERE type_name LIKE '\\_\\_pivot\\_enum\\_%' ESCAPE '\\'"
        " AND database_name = 'temp'"
    ).fetchone()[0]


named, plain, other = db.cursor(), db.cursor(), db.cursor()
for _ in range(50):
    assert named.execute("PIVOT sales ON city IN ('Bern', 'Oslo') USING sum(amount)").fetchall() == [(1, 2)]
    assert plain.execute("PIVOT sales ON city USING sum(amount)").fetchall() == [(1, 2)]
seen = {"with IN": left(named), "without IN": left(plain), "another connection": left(other)}
print(seen)
assert seen == {"with IN": 0, "without IN": 50, "another connection": 0}
PY
# Output seen:
# duckdb 2.0.0
# {'with IN': 0, 'without IN': 50, 'another connection': 0}
