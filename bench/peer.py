"""The peer: a pyarrow.flight server around DuckDB, as people write it in forty lines. C++ transport."""

import sys
import threading

import duckdb
import pyarrow.flight as flight


class Peer(flight.FlightServerBase):
    def __init__(self, database: str):
        super().__init__("grpc://127.0.0.1:0")
        self.connection = duckdb.connect(database)
        self.creating = threading.Lock()

    def do_put(self, context, descriptor, reader, writer):
        name = descriptor.path[0].decode()
        cursor = self.connection.cursor()
        rows = reader.to_reader()
        with self.creating:
            empty = rows.schema.empty_table()  # noqa: F841, read by the statement below
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {name} AS FROM empty")
        cursor.execute(f"INSERT INTO {name} FROM rows")
        writer.write(b"{}")

    def do_get(self, context, ticket):
        cursor = self.connection.cursor()
        return flight.RecordBatchStream(cursor.sql(ticket.ticket.decode()).to_arrow_reader(65_536))


if __name__ == "__main__":
    peer = Peer(sys.argv[1])
    print(f"listening on grpc://127.0.0.1:{peer.port}", flush=True)
    peer.serve()
