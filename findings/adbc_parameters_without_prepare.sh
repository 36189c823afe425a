#!/usr/bin/env bash
# adbc-driver-flightsql 1.13.0: parameters for a server without prepared statements are called a bulk ingestion.
#
# Guess before the run: cursor.execute("SELECT ?", [7]) against a Flight SQL server that answers CreatePreparedStatement with
# UNIMPLEMENTED raises NotSupportedError with the server's words.
# Seen: the DB-API layer passes over "not supported" of prepare, for servers that need none, and runs the statement with the rows
# still bound to it. The driver takes that for an ingest: "must set IngestTargetTable before bulk ingestion", a ProgrammingError.
# Consequence: whoever meets that error in a SELECT looks at the server's prepared statements (roapi 0.12 and Sail 0.7 have none
# that take parameters), not at ingestion.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyarrow==26.0.1 adbc-driver-flightsql==1.13.0 adbc-driver-manager==1.13.0
timeout 120 "$work/venv/bin/python" - <<'PY'
import os
import sys
import threading

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa
import pyarrow.flight as flight

print("adbc-driver-flightsql", adbc_driver_flightsql.__version__)
ROWS = pa.table({"n": [7]})


class Server(flight.FlightServerBase):
    asked = []

    def get_flight_info(self, context, descriptor):
        if b"CommandGetSqlInfo" in descriptor.command:
            raise NotImplementedError("there is nothing to know about this server")
        return flight.FlightInfo(ROWS.schema, descriptor, [flight.FlightEndpoint(b"t", [])], -1, -1)

    def do_get(self, context, ticket):
        return flight.RecordBatchStream(ROWS)

    def do_action(self, context, action):
        self.asked.append(action.type)
        raise NotImplementedError("there are no prepared statements here")


server = Server("grpc://127.0.0.1:0")
threading.Thread(target=server.serve, daemon=True).start()
with dbapi.connect(f"grpc://127.0.0.1:{server.port}", autocommit=True) as connection, connection.cursor() as cursor:
    print("SELECT 7      ->", cursor.execute("SELECT 7").fetchall())
    try:
        cursor.execute("SELECT ?", [7])
        seen = "no error"
    except dbapi.Error as error:
        seen = f"{type(error).__name__}: {error}"
print("SELECT ?, [7] ->", seen)
print("asked for:", Server.asked)

assert "ProgrammingError" in seen and "must set IngestTargetTable before bulk ingestion" in seen
assert "prepared statements" not in seen
assert "CreatePreparedStatement" in Server.asked
sys.stdout.flush()
os._exit(0)
PY
# Output seen:
# adbc-driver-flightsql 1.13.0
# SELECT 7      -> [(7,)]
# SELECT ?, [7] -> ProgrammingError: INVALID_STATE: [Flight SQL Statement] must set IngestTargetTable before bulk ingestion
# asked for: ['CreatePreparedStatement', 'CreatePreparedStatement', 'CloseSession']
