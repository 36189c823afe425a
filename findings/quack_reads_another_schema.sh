#!/usr/bin/env bash
# duckdb 1.5.5, its quack extension 1.5.5: an attached table is read from the default schema, whatever schema is named.
#
# Guess before the run: with ATTACH 'quack:…' AS remote, FROM remote.s2.t is the table t of the schema s2, as with any
# other attached database, and an error where there is none.
# Seen: the server is asked for `t` alone. With a table of that name in main its rows come back without a word; without one
# the error is that t does not exist. An INSERT into remote.s2.t goes to s2.t, so a read after a write shows the rows of
# another table. quack_query() with the whole statement as text is right.
# Consequence: over Quack 1.5.5 read tables of other schemas by quack_query(), or keep everything in main.
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
server.execute("CREATE TABLE t AS SELECT 1 AS n")
server.execute("CREATE SCHEMA s2")
server.execute("CREATE TABLE s2.t AS SELECT 7 AS n")
server.execute("CREATE TABLE s2.alone AS SELECT 8 AS n")
client.execute(f"ATTACH '{at}' AS remote")
before = ask("FROM remote.s2.t")
alone = ask("FROM remote.s2.alone")
ask("INSERT INTO remote.s2.t VALUES (9)")
after = ask("FROM remote.s2.t")
text = ask(f"FROM quack_query('{at}', 'FROM s2.t')")

assert before == after == [(1,)]
assert "alone does not exist" in alone
assert text == server.execute("FROM s2.t").fetchall() == [(7,), (9,)]
PY
# Output seen:
# duckdb 1.5.5
# FROM remote.s2.t                                                                 -> [(1,)]
# FROM remote.s2.alone                                                             -> Invalid Input Error: Table with name alone does not exist!
# INSERT INTO remote.s2.t VALUES (9)                                               -> [(1,)]
# FROM remote.s2.t                                                                 -> [(1,)]
# FROM quack_query('AT', 'FROM s2.t')                                              -> [(7,), (9,)]
