#!/usr/bin/env bash
# duckdb 1.5.5, its quack extension 1.5.5: an INSERT that fails leaves rows behind, and ROLLBACK takes none back.
#
# Guess before the run: INSERT INTO remote.k is one statement, so all of its rows are there or none; what was inserted between
# BEGIN and ROLLBACK is gone.
# Seen: rows are sent in pieces that the server commits one by one. An INSERT of 1,000,000 rows that fails near its end leaves
# most of them (how many differs), and ROLLBACK after an INSERT keeps its row. CREATE TABLE AS that fails leaves no table.
# Consequence: a retry of a failed INSERT over Quack 1.5.5 doubles rows. Load by CREATE TABLE AS into a new table.
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
server.execute("CREATE TABLE k (id BIGINT)")
client.execute(f"ATTACH '{at}' AS remote")
broken = "SELECT if(range = 900000, error('broken'), range) AS id FROM range(1000000)"
failed = ask(f"INSERT INTO remote.k {broken}")
left = server.execute("SELECT count(*) FROM k").fetchone()[0]
print("rows are left:", left > 0)
server.execute("TRUNCATE k")
ask("BEGIN")
ask("INSERT INTO remote.k VALUES (7)")
ask("ROLLBACK")
kept = server.execute("FROM k").fetchall()
print("rows after ROLLBACK:", kept)
created = ask(f"CREATE TABLE remote.half AS {broken}")
tables = server.execute("SELECT table_name FROM duckdb_tables()").fetchall()
print("tables:", tables)

assert "broken" in failed and "broken" in created
assert 0 < left < 1_000_000
assert kept == [(7,)]
assert tables == [("k",)]
PY
# Output seen:
# duckdb 1.5.5
# INSERT INTO remote.k SELECT if(range = 900000, error('broken'), range) AS id FROM range(1000000) -> Invalid Input Error: broken
# rows are left: True
# BEGIN                                                                            -> []
# INSERT INTO remote.k VALUES (7)                                                  -> [(1,)]
# ROLLBACK                                                                         -> []
# rows after ROLLBACK: [(7,)]
# CREATE TABLE remote.half AS SELECT if(range = 900000, error('broken'), range) AS id FROM range(1000000) -> Invalid Input Error: broken
# tables: [('k',)]
