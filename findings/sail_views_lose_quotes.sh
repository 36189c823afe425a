#!/usr/bin/env bash
# pysail 0.7.2: a view over parquet.`FILE` is made without an error, and can then not be read.
#
# Guess before the run: CREATE VIEW v AS SELECT * FROM parquet.`/a/file.parquet`, which is Spark's own way to name a file, makes
# a view that reads the file, as the SELECT alone does.
# Seen: the SELECT reads the file and CREATE VIEW answers true, but every SELECT from v fails with "found / … expected
# identifier": the view's text is kept without the backticks around the name. CREATE TEMPORARY VIEW … USING parquet
# OPTIONS (path …) works.
# Consequence: name files by USING parquet OPTIONS; a view that was made is not yet one that can be read.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${server:-}" 2> /dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pysail==0.7.2 pyarrow==26.0.1 adbc-driver-flightsql==1.13.0 adbc-driver-manager==1.13.0
cd "$work"
port=$("$work/venv/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$work/venv/bin/sail" flight server --port "$port" > /dev/null 2>&1 &
server=$!
timeout 120 "$work/venv/bin/python" - "$port" "$work/x.parquet" <<'PY'
import socket
import sys
import time

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa
import pyarrow.parquet as parquet

port, file = sys.argv[1:]
parquet.write_table(pa.table({"n": [1, 2]}), file)
while True:
    try:
        socket.create_connection(("127.0.0.1", int(port))).close()
        break
    except OSError:
        time.sleep(0.1)
with dbapi.connect(f"grpc://127.0.0.1:{port}", autocommit=True) as connection, connection.cursor() as cursor:

    def ask(sql):
        try:
            found = cursor.execute(sql).fetchall()
        except dbapi.Error as error:
            found = str(error)
        print(f"{sql.replace(file, 'FILE'):70} -> {found}")
        return found

    alone = ask(f"SELECT * FROM parquet.`{file}`")
    made = ask(f"CREATE VIEW v AS SELECT * FROM parquet.`{file}`")
    read = ask("SELECT * FROM v")
    ask(f"CREATE TEMPORARY VIEW w USING parquet OPTIONS (path '{file}')")
    other = ask("SELECT * FROM w")

assert alone == other == [(1,), (2,)]
assert made == [(True,)]
assert "expected identifier" in read
PY
# Output seen:
# SELECT * FROM parquet.`FILE`                                           -> [(1,), (2,)]
# CREATE VIEW v AS SELECT * FROM parquet.`FILE`                          -> [(True,)]
# SELECT * FROM v                                                        -> INTERNAL: [FlightSQL] plan error: invalid argument: found / at 24:25 expected identi
# CREATE TEMPORARY VIEW w USING parquet OPTIONS (path 'FILE')            -> [(True,)]
# SELECT * FROM w                                                        -> [(1,), (2,)]
