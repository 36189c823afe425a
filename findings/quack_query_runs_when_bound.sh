#!/usr/bin/env bash
# duckdb 1.5.5, its quack extension 1.5.5: quack_query() runs its statement when it is bound, so EXPLAIN inserts rows.
#
# Guess before the run: FROM quack_query(AT, 'INSERT …') runs the INSERT once, when the query runs. EXPLAIN, DESCRIBE, PREPARE
# and CREATE VIEW run nothing, and each EXECUTE of a prepared statement runs it once.
# Seen: the statement is sent while the query is bound. EXPLAIN, DESCRIBE, PREPARE and CREATE VIEW insert a row each; EXECUTE
# inserts none and repeats the answer that PREPARE got. Python's con.sql(…).fetchall(), which binds twice, inserts two rows.
# Consequence: send what changes something through an attached table, or by execute() and never by sql(); never EXPLAIN it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==1.5.5 duckdb-extension-httpfs==1.5.5 duckdb-extension-quack==1.5.5
timeout 120 "$work/venv/bin/python" - <<'PY'
import atexit
import pathlib
import socket

import duckdb


def connect():
    db = duckdb.connect()
    for name in ("httpfs", "quack"):
        package = pathlib.Path(__import__(f"duckdb_extension_{name}").__file__).parent
        db.execute(f"LOAD '{next(package.rglob('*.duckdb_extension'))}'")
    return db


def ask(sql):
    try:
        found = client.execute(sql).fetchall()
    except duckdb.Error as error:
        found = str(error).splitlines()[0]
    print(f"{sql.replace(at, 'AT'):80} -> {found}")
    return found


print("duckdb", duckdb.__version__)
with socket.create_server(("127.0.0.1", 0)) as free:
    at = f"quack:localhost:{free.getsockname()[1]}"
server, client = connect(), connect()
server.execute(f"CALL quack_serve('{at}', token = 'finding')")
atexit.register(lambda: server.execute(f"CALL quack_stop('{at}')"))
client.execute("CREATE SECRET (TYPE quack, TOKEN 'finding')")
server.execute("CREATE TABLE k (id INTEGER)")


def insert(number):
    return f"FROM quack_query('{at}', 'INSERT INTO k VALUES ({number})')"


ask(insert(1))
ask("EXPLAIN " + insert(2))
ask("DESCRIBE " + insert(3))
ask("CREATE VIEW v AS " + insert(4))
ask("PREPARE p AS " + insert(5))
ask("EXECUTE p")
ask("EXECUTE p")
client.sql(insert(6)).fetchall()
ways = ["execute", "EXPLAIN", "DESCRIBE", "CREATE VIEW", "PREPARE, EXECUTE, EXECUTE", "con.sql"]
rows = {way: server.execute(f"SELECT count(*) FROM k WHERE id = {number}").fetchone()[0] for number, way in enumerate(ways, 1)}
print("rows:", rows)

assert list(rows.values()) == [1, 1, 1, 1, 1, 2]
PY
# Output seen:
# duckdb 1.5.5
# FROM quack_query('AT', 'INSERT INTO k VALUES (1)')                               -> [(1,)]
# EXPLAIN FROM quack_query('AT', 'INSERT INTO k VALUES (2)')                       -> (a plan)
# DESCRIBE FROM quack_query('AT', 'INSERT INTO k VALUES (3)')                      -> [('Count', 'BIGINT', 'YES', None, None, None)]
# CREATE VIEW v AS FROM quack_query('AT', 'INSERT INTO k VALUES (4)')              -> []
# PREPARE p AS FROM quack_query('AT', 'INSERT INTO k VALUES (5)')                  -> []
# EXECUTE p                                                                        -> [(1,)]
# EXECUTE p                                                                        -> [(1,)]
# rows: {'execute': 1, 'EXPLAIN': 1, 'DESCRIBE': 1, 'CREATE VIEW': 1, 'PREPARE, EXECUTE, EXECUTE': 1, 'con.sql': 2}
