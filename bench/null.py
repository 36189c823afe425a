"""A Flight server with nothing behind it: takes what is put and forgets it, sends an Arrow file from memory. C++ transport.

    python null.py FILE.arrow
"""

import sys

import pyarrow as pa
import pyarrow.flight as flight


class Null(flight.FlightServerBase):
    def __init__(self, rows: pa.Table):
        super().__init__("grpc://127.0.0.1:0")
        self.rows = rows

    def do_put(self, context, descriptor, reader, writer):
        for _ in reader:
            pass
        writer.write(b"{}")

    def do_get(self, context, ticket):
        return flight.RecordBatchStream(self.rows)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        server = Null(pa.ipc.open_file(pa.BufferReader(file.read())).read_all())
    print(f"listening on grpc://127.0.0.1:{server.port}", flush=True)
    server.serve()
