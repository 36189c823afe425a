"""Loads rows so that running it again after any crash finishes the rest. Prints: every row is there once: 200,000 rows in table example_once"""

import sys

import pintail
import pyarrow as pa

uri = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"
# Batch n has the same rows in every run; only then can a batch that was sent twice be told from a new one.
rows, batches = 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 200
table = "example_once"


def batch(n: int) -> pa.RecordBatch:
    ids = range(n * rows, (n + 1) * rows)
    return pa.record_batch({"id": pa.array(ids, pa.int64()), "text": pa.array([f"row {i}" for i in ids])})


# A server that does not answer for five seconds is an error here; the default is five minutes.
with pintail.Producer(uri, table, producer="example-loader", give_up=5) as producer:
    # Where did the last run get to?
    print(f"sending batches {producer.next_seq} to {batches - 1}", flush=True)
    told = producer.durable.seq
    for n in range(producer.next_seq, batches):
        producer.send(batch(n))
        if producer.durable.seq != told:
            told = producer.durable.seq
            print(f"durable up to batch {told}", flush=True)

with pintail.connect(uri) as connection, connection.cursor() as cursor:
    stored, different = cursor.execute(f"SELECT count(*), count(DISTINCT id) FROM {table}").fetchone()
if stored != different or stored != rows * batches:
    sys.exit(f"{stored:,} rows, {different:,} of them different, expected {rows * batches:,}")
print(f"every row is there once: {stored:,} rows in table {table}")
