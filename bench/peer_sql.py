"""A Flight SQL server around DuckDB in C++ transport, with what ADBC needs for a SELECT and nothing else."""

import sys

import duckdb
import pyarrow as pa
import pyarrow.flight as flight

from constant import RESULT, field

# ADBC takes messages of 16 MiB, which 200 doubles and long texts fill sooner than most tables do.
BATCH_ROWS = 4_096


def text_in(message: bytes) -> str:
    """The text in the one field of the message in an `Any`."""
    value = fields(message)[2]
    return fields(value)[1].decode()


def fields(message: bytes) -> dict[int, bytes]:
    """The fields of bytes in a protobuf message."""
    found, at = {}, 0
    while at < len(message):
        number, at = message[at] >> 3, at + 1
        length, shift = 0, 0
        while True:
            length |= (message[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if message[at - 1] < 128:
                break
        found[number] = message[at:at + length]
        at += length
    return found


class PeerSql(flight.FlightServerBase):
    def __init__(self, database: str):
        super().__init__("grpc://127.0.0.1:0")
        self.connection = duckdb.connect(database)

    def do_action(self, context, action):
        if action.type != "CreatePreparedStatement":
            return []
        # The handle of a statement is its text.
        sql = text_in(action.body.to_pybytes()).encode()
        empty = pa.schema([]).serialize().to_pybytes()
        return [flight.Result(field(1, RESULT) + field(2, field(1, sql) + field(3, empty)))]

    def get_flight_info(self, context, descriptor):
        if b"CommandGetSqlInfo" in descriptor.command:
            raise NotImplementedError("there is nothing to know about this server")
        sql = text_in(descriptor.command)
        schema = self.connection.cursor().sql(sql).limit(0).to_arrow_table().schema
        return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(sql.encode(), [])], -1, -1)

    def do_get(self, context, ticket):
        cursor = self.connection.cursor()
        return flight.RecordBatchStream(cursor.sql(ticket.ticket.decode()).to_arrow_reader(BATCH_ROWS))


if __name__ == "__main__":
    peer = PeerSql(sys.argv[1])
    print(f"listening on grpc://127.0.0.1:{peer.port}", flush=True)
    peer.serve()
