"""The peer as a Flight SQL server: as much of it as ADBC needs to read a statement. C++ transport."""

import sys

import pyarrow.flight as flight

from constant import RESULT, field
from peer import Peer

# ADBC takes messages of 16 MiB, which 200 doubles and long texts fill sooner than lineitem does.
BATCH_ROWS = 4_096


def value_of(message: bytes, wanted: int) -> bytes:
    """A field of bytes of a protobuf message that has no others."""
    position = 0
    while position < len(message):
        number, position, size, shift = message[position] >> 3, position + 1, 0, 0
        while True:
            byte = message[position]
            size, shift, position = size | (byte & 127) << shift, shift + 7, position + 1
            if byte < 128:
                break
        if number == wanted:
            return message[position : position + size]
        position += size
    raise KeyError(wanted)


class SqlPeer(Peer):
    def schema(self, sql: str):
        return self.connection.cursor().sql(f"SELECT * FROM ({sql}) LIMIT 0").to_arrow_table().schema

    def get_flight_info(self, context, descriptor):
        if b"CommandGetSqlInfo" in descriptor.command:
            raise NotImplementedError("there is nothing to know about this server")
        # The handle of a prepared statement is its text.
        sql = value_of(value_of(descriptor.command, 2), 1)
        return flight.FlightInfo(self.schema(sql.decode()), descriptor, [flight.FlightEndpoint(sql, [])], -1, -1)

    def do_get(self, context, ticket):
        cursor = self.connection.cursor()
        return flight.RecordBatchStream(cursor.sql(ticket.ticket.decode()).to_arrow_reader(BATCH_ROWS))

    def do_action(self, context, action):
        if action.type != "CreatePreparedStatement":
            return []
        sql = value_of(value_of(action.body.to_pybytes(), 2), 1)
        schema = self.schema(sql.decode()).serialize().to_pybytes()
        return [flight.Result(field(1, RESULT) + field(2, field(1, sql) + field(2, schema)))]


if __name__ == "__main__":
    peer = SqlPeer(sys.argv[1])
    print(f"listening on grpc://127.0.0.1:{peer.port}", flush=True)
    peer.serve()
