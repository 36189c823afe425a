#!/usr/bin/env bash
# DuckDB 2.0.0 by ADBC: after adbc_ingest, a cursor takes the parameters of every later statement for rows of that table; a
# DELETE with a parameter inserts a row.
#
# Guess before the run: the table of an ingest belongs to that one call. The next execute() or executemany() on the cursor sets
# a query, and the driver forgets the table with it, as adbc-driver-sqlite does.
# Seen: the query is set and never looked at, as the statement still has its target. executemany("DELETE FROM t WHERE id = ?")
# appends its parameters and raises nothing; execute("SELECT …", parameters) and execute("DELETE …", parameters) append too, and
# raise only "Cannot import released Arrow Stream" afterwards. Where the ingest was one with mode="create", they say that the
# table is there already, and with mode="replace" the table is dropped and made anew from the parameters. A statement without
# parameters is run, and does not end it. A new cursor is right.
# Consequence: one cursor for each ingest, and none after it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet adbc-driver-manager==1.13.0 adbc-driver-sqlite==1.13.0 duckdb==2.0.0 pyarrow==26.0.1
"$work/venv/bin/python" - <<'PY'
import adbc_driver_duckdb.dbapi
import adbc_driver_manager
import adbc_driver_sqlite.dbapi
import duckdb
import pyarrow as pa

print("duckdb", duckdb.__version__, "adbc-driver-manager", adbc_driver_manager.__version__)
DRIVERS = {
    "sqlite": lambda: adbc_driver_sqlite.dbapi.connect(":memory:", autocommit=True),
    "duckdb": lambda: adbc_driver_duckdb.dbapi.connect(":memory:", autocommit=True),
}
ROWS = pa.table({"id": [1, 2]})


def after_ingest(driver, mode, method, query, parameters, fresh=False):
    """(error or None, rows of t) when `query` runs on the cursor that has ingested [1, 2] into t."""
    with DRIVERS[driver]() as connection, connection.cursor() as other:
        if mode == "append":
            other.execute("CREATE TABLE t (id BIGINT)")
        cursor = connection.cursor()
        cursor.adbc_ingest("t", ROWS, mode=mode)
        used = connection.cursor() if fresh else cursor
        error = None
        try:
            getattr(used, method)(query, parameters)
            if method == "execute":
                used.fetchall()
        except Exception as caught:
            error = str(caught)
        other.execute("SELECT * FROM t")
        left = sorted(row[0] for row in other.fetchall())
        for each in {cursor, used}:
            each.close()
    which = "a new cursor" if fresh else mode
    print(f"{driver} {which:12} {method + '(' + repr(query) + ')':48} t = {left}" + (f", {error}" if error else ""))
    return error, left


select = ("execute", "SELECT id FROM t WHERE id = ?", [7])
delete = ("execute", "DELETE FROM t WHERE id = ?", [1])
deletes = ("executemany", "DELETE FROM t WHERE id = ?", [[1], [2]])
for call, left in ((select, [1, 2]), (delete, [2]), (deletes, [])):
    assert after_ingest("sqlite", "append", *call) == (None, left)
assert after_ingest("duckdb", "append", *delete, fresh=True) == (None, [2])
for call, left in ((select, [1, 2, 7]), (delete, [1, 1, 2]), (deletes, [1, 1, 2, 2])):
    error, seen = after_ingest("duckdb", "append", *call)
    assert seen == left and (error is None if call is deletes else "released" in error)
assert after_ingest("duckdb", "replace", "executemany", "DELETE FROM t WHERE id = ?", [[9]]) == (None, [9])
error, seen = after_ingest("duckdb", "create", *deletes)
assert seen == [1, 2] and "already exists" in error
PY
# Output seen:
# duckdb 2.0.0 adbc-driver-manager 1.13.0
# sqlite append       execute('SELECT id FROM t WHERE id = ?')         t = [1, 2]
# sqlite append       execute('DELETE FROM t WHERE id = ?')            t = [2]
# sqlite append       executemany('DELETE FROM t WHERE id = ?')        t = []
# duckdb a new cursor execute('DELETE FROM t WHERE id = ?')            t = [2]
# duckdb append       execute('SELECT id FROM t WHERE id = ?')         t = [1, 2, 7], Cannot import released Arrow Stream
# duckdb append       execute('DELETE FROM t WHERE id = ?')            t = [1, 1, 2], Cannot import released Arrow Stream
# duckdb append       executemany('DELETE FROM t WHERE id = ?')        t = [1, 1, 2, 2]
# duckdb replace      executemany('DELETE FROM t WHERE id = ?')        t = [9]
# duckdb create       executemany('DELETE FROM t WHERE id = ?')        t = [1, 2], ALREADY_EXISTS: Catalog Error: Table with name "t" already exists!
