#!/usr/bin/env bash
# DuckDB 2.0.0: a used sequence prints a START that nobody declared, so COPY FROM DATABASE (and any
# export made from the printed SQL) creates a sequence whose START is the next value.
#
# Guess before the run: duckdb_sequences() prints the declaration, START 10, and a copy has
# start_value 10 and goes on from the next value.
# Seen: after two calls of nextval the column `sql` says START 20. The columns start_value and
# last_value of the original stay 10 and 15. The copy has start_value 20 and last_value 15, a value
# that it never gave out and that lies below its own start; its next value is 20.
# Consequence: comparing a backup with its source by start_value, or by the declared SQL, reports a
# difference in every database with a used sequence, although no number is lost or given twice.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.0
"$work/venv/bin/python" - "$work" <<'PY'
import sys
import duckdb

db = duckdb.connect(f"{sys.argv[1]}/a.db")
print("duckdb", duckdb.__version__)
db.execute("CREATE SEQUENCE numbers START 10 INCREMENT 5")
db.execute("SELECT nextval('numbers') UNION ALL SELECT nextval('numbers')").fetchall()
db.execute(f"ATTACH '{sys.argv[1]}/b.db' AS b")
db.execute("COPY FROM DATABASE a TO b")
seen = db.execute(
    "SELECT database_name, start_value, last_value, regexp_extract(sql, 'START [0-9]+')"
    " FROM duckdb_sequences() ORDER BY database_name"
).fetchall()
for row in seen:
    print(row)
following = db.execute("SELECT nextval('b.main.numbers')").fetchone()
print("next in the copy", following)
assert seen == [("a", 10, 15, "START 20"), ("b", 20, 15, "START 20")]
assert following == (20,)
PY
# Output seen:
# duckdb 2.0.0
# ('a', 10, 15, 'START 20')
# ('b', 20, 15, 'START 20')
# next in the copy (20,)
