"""A Flight SQL server with constant answers: whatever it is asked, it answers with one ready row. C++ transport.

What a point query takes through it is what client, wire and round trips take; nothing is parsed and nothing looked up.
"""

import sys

import pyarrow as pa
import pyarrow.flight as flight

ROW = pa.table({"id": [7], "name": ["well 7"], "price": pa.array([10.5], pa.float64()), "amount": [7.0]})
RESULT = b"type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementResult"


def field(number: int, value: bytes) -> bytes:
    """A protobuf field of bytes, up to 16 KiB."""
    size = len(value)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + value


class Constant(flight.FlightServerBase):
    def __init__(self):
        super().__init__("grpc://127.0.0.1:0")
        parameters = pa.schema([("1", pa.int64())]).serialize().to_pybytes()
        prepared = field(1, b"handle") + field(2, ROW.schema.serialize().to_pybytes()) + field(3, parameters)
        self.prepared = flight.Result(field(1, RESULT) + field(2, prepared))

    def get_flight_info(self, context, descriptor):
        if b"CommandGetSqlInfo" in descriptor.command:
            raise NotImplementedError("there is nothing to know about this server")
        endpoint = flight.FlightEndpoint(b"ticket", [])
        return flight.FlightInfo(ROW.schema, descriptor, [endpoint], -1, -1)

    def do_get(self, context, ticket):
        return flight.RecordBatchStream(ROW)

    def do_put(self, context, descriptor, reader, writer):
        for _ in reader:
            pass

    def do_action(self, context, action):
        return [self.prepared] if action.type == "CreatePreparedStatement" else []


if __name__ == "__main__":
    server = Constant()
    print(f"listening on grpc://127.0.0.1:{server.port}", flush=True)
    sys.stdout.flush()
    server.serve()
