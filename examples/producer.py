"""Loads rows so that running it again after any crash finishes the rest. Prints: every row is there once: 200,000 rows in table example_once"""

import json
import sys
import threading

import pyarrow as pa
import pyarrow.flight as flight

uri = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"
# Batch n has the same rows in every run; only then can a batch that was sent twice be told from a new one.
rows, batches = 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 200
producer, table = "example-loader", "example_once"


def batch(n: int) -> pa.RecordBatch:
    ids = range(n * rows, (n + 1) * rows)
    return pa.record_batch({"id": pa.array(ids, pa.int64()), "text": pa.array([f"row {i}" for i in ids])})


client = flight.connect(uri)

# Where did the last run get to? `seq` is the number of the last batch that is durable, or null.
body = json.dumps({"producer": producer}).encode()
answer = next(client.do_action(flight.Action("pintail.ingest_status", body)))
done = json.loads(answer.body.to_pybytes())["tables"].get(f"main.{table}")
first = done["seq"] + 1 if done else 0
print(f"sending batches {first} to {batches - 1}", flush=True)

headers = [(b"pintail-producer", producer.encode()), (b"pintail-commit", b"progress")]
descriptor = flight.FlightDescriptor.for_path(table)
writer, reader = client.do_put(descriptor, batch(0).schema, flight.FlightCallOptions(headers=headers))
last = first - 1


def read_acknowledgements() -> None:
    # Each one covers every batch up to its number; the stream ends with None.
    global last
    try:
        while (answer := reader.read()) is not None:
            last = json.loads(answer.to_pybytes()).get("seq", last)
            print(f"durable up to batch {last}", flush=True)
    except flight.FlightError:
        pass  # the writer says the same


acknowledgements = threading.Thread(target=read_acknowledgements)
acknowledgements.start()
try:
    with writer:
        for n in range(first, batches):
            writer.write_with_metadata(batch(n), json.dumps({"seq": n}).encode())
        writer.done_writing()
        acknowledgements.join()
except (flight.FlightError, pa.ArrowException) as error:
    print(error, file=sys.stderr)
acknowledgements.join()

if last < batches - 1:
    sys.exit(f"batches after {last} are not acknowledged; run this again")
info = client.get_flight_info(flight.FlightDescriptor.for_command(f"SELECT count(*), count(DISTINCT id) FROM {table}"))
stored, different = (column[0].as_py() for column in client.do_get(info.endpoints[0].ticket).read_all().columns)
if stored != different or stored != rows * batches:
    sys.exit(f"{stored:,} rows, {different:,} of them different, expected {rows * batches:,}")
print(f"every row is there once: {stored:,} rows in table {table}")
