#!/usr/bin/env bash
# DuckDB 2.0.0: COMMENT ON TABLE from one connection makes another connection's open INSERT fail
# at COMMIT, while CREATE INDEX and DROP INDEX from that same place let it commit.
#
# Guess before the run: a comment is metadata, so it never disturbs an insert. An index changes what
# the insert must maintain, so building one beside an open insert is refused, or fails the insert.
# Seen: the other way round. The comment (on the table or on a column) is accepted and the insert
# fails at COMMIT. The index is built, and the insert commits.
# The error of the failed COMMIT names no statement and says "another transaction has no changes
# this table".
# Consequence: a service that documents its tables while producers write must expect failed commits.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.0
"$work/venv/bin/python" - "$work/a.db" <<'PY'
import sys
import duckdb

db = duckdb.connect(sys.argv[1])
print("duckdb", duckdb.__version__)
db.execute("CREATE TABLE t(i INTEGER, s VARCHAR)")


def beside_an_insert(statement):
    """What happens to an open INSERT's COMMIT when `statement` runs on another connection."""
    producer, operator = db.cursor(), db.cursor()
    producer.execute("BEGIN")
    producer.execute("INSERT INTO t VALUES (1, 'x')")
    operator.execute(statement)
    try:
        producer.execute("COMMIT")
        return "committed"
    except duckdb.Error as error:
        return str(error)


seen = {}
for statement in (
    "CREATE INDEX ix ON t(i)",
    "DROP INDEX ix",
    "COMMENT ON TABLE t IS 'orders'",
    "COMMENT ON COLUMN t.i IS 'number'",
):
    seen[statement] = beside_an_insert(statement)
    print(f"{statement:36} -> {seen[statement]}")

assert seen["CREATE INDEX ix ON t(i)"] == "committed"
assert seen["DROP INDEX ix"] == "committed"
for statement in list(seen)[2:]:
    assert "another transaction has no changes this table" in seen[statement], statement
assert db.execute("SELECT count(*) FROM t").fetchone() == (2,), "only the first two inserts are kept"
PY
# Output seen:
# duckdb 2.0.0
# CREATE INDEX ix ON t(i)              -> committed
# DROP INDEX ix                        -> committed
# COMMENT ON TABLE t IS 'orders'       -> TransactionContext Error: Failed to commit: Attempting to modify table "t" but another transaction has no changes this table
# COMMENT ON COLUMN t.i IS 'number'    -> TransactionContext Error: Failed to commit: Attempting to modify table "t" but another transaction has no changes this table
