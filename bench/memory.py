"""Peak memory of four puts at a time whose rows are far larger than their messages, and of reads of wide values.

    PINTAIL_BIN=target/release/pintail python bench/memory.py
    PINTAIL_BIN=target/release/pintail python bench/memory.py --rows 4000000 --only dictionary

Each kind of encoding has a server of its own with `ingest.memory_limit = "64 MiB"`. Printed is the most memory that it had
resident, beside `database.memory_limit` + `ingest.memory_limit` + 128 MiB. A gigabyte of wide values, made as it is read,
is to take 200 MiB, whatever holds them. Ends with 1 when one is above. Nothing is downloaded.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as flight

from sides import MIB, Side

STREAMS = 4
DATABASE_MIB, INGEST_MIB, BESIDE_MIB = 256, 64, 128
LIMITS = {
    "PINTAIL_DATABASE__MEMORY_LIMIT": f"{DATABASE_MIB} MiB",
    "PINTAIL_INGEST__MEMORY_LIMIT": f"{INGEST_MIB} MiB",
    "PINTAIL_INGEST__STREAM_MEMORY_LIMIT": f"{INGEST_MIB} MiB",
}


def dictionary(rows: int) -> pa.RecordBatch:
    """Ten values of 1,000 characters, one after the other."""
    values = pa.array([str(digit) * 1000 for digit in range(10)])
    indices = pa.array([row % 10 for row in range(rows)], pa.int32())
    return pa.record_batch({"w": pa.DictionaryArray.from_arrays(indices, values)})


def runs(rows: int) -> pa.RecordBatch:
    """Two runs of a value of 1,000 characters."""
    ends = pa.array([rows // 2, rows], pa.int32())
    values = pa.array(["a" * 1000, "b" * 1000])
    return pa.record_batch({"r": pa.RunEndEncodedArray.from_arrays(ends, values)})


def zeros(rows: int) -> pa.RecordBatch:
    """Numbers that compress to nothing."""
    return pa.record_batch({"z": pa.array([0] * rows, pa.int64())})


def kinds(rows: int) -> dict:
    """Batch, how often each stream sends it, and how it is compressed."""
    # As much as a stream may unpack at one time, in rows of 8 bytes.
    unpacked = INGEST_MIB * MIB // 2 // 8
    return {
        "dictionary": (dictionary(rows), 1, None),
        "dictionary, zstd": (dictionary(rows), 1, "zstd"),
        "runs": (runs(rows), 1, None),
        "zeros, lz4": (zeros(unpacked), 10, "lz4"),
        "zeros, zstd": (zeros(unpacked), 10, "zstd"),
    }


# A gigabyte each.
READS = {
    "read of 8 KB texts": "SELECT range AS n, repeat(md5(range::VARCHAR), 250) AS s FROM range(125_000)",
    "read of lists of them": "SELECT range AS n, [repeat(md5(range::VARCHAR), 125), 'x', repeat('y', 4000)] AS l FROM range(125_000)",
    "read of blobs in structs": "SELECT {'a': range, 'b': encode(repeat(md5(range::VARCHAR), 250))} AS s FROM range(125_000)",
}
READ_BOUND_MIB = 200


def read(sql: str) -> tuple[int, float, int]:
    """Peak in bytes, seconds and rows of one read of everything."""
    with tempfile.TemporaryDirectory() as folder:
        server = Side("Pintail", "flight", "pintail", os.environ["PINTAIL_BIN"]).serve(Path(folder) / "read.duckdb")
        started = time.perf_counter()
        rows = sum(chunk.data.num_rows for chunk in flight.connect(server.at).do_get(flight.Ticket(sql.encode())))
        seconds = time.perf_counter() - started
        peak = server.peak()
        server.stop()
        return peak, seconds, rows


def put(uri: str, name: str, batch, times: int, compression, failed: list):
    options = pa.ipc.IpcWriteOptions(compression=compression)
    try:
        client = flight.connect(uri)
        call = flight.FlightCallOptions(write_options=options)
        writer, answers = client.do_put(flight.FlightDescriptor.for_path(name), batch.schema, call)
        with writer:
            for _ in range(times):
                writer.write_batch(batch)
            writer.done_writing()
            answers.read()
    except Exception as error:  # of any kind: it is shown, and the run has failed
        failed.append(f"{name}: {error}")


def measure(kind: str, batch, times: int, compression) -> tuple[int, float, list]:
    """Peak in bytes, seconds, and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        server = Side("Pintail", "flight", "pintail", os.environ["PINTAIL_BIN"]).serve(Path(folder) / "bench.duckdb", env=LIMITS)
        failed, started = [], time.perf_counter()
        streams = [
            threading.Thread(target=put, args=(server.at, f"t{n}", batch, times, compression, failed))
            for n in range(STREAMS)
        ]
        for stream in streams:
            stream.start()
        for stream in streams:
            stream.join()
        seconds = time.perf_counter() - started
        if server.process.poll() is not None:
            failed.append("the server has ended")
            return 0, seconds, failed
        for n in range(STREAMS):
            sql = f"SELECT count(*) FROM t{n}".encode()
            count = flight.connect(server.at).do_get(flight.Ticket(sql)).read_all().column(0)[0].as_py()
            if count != batch.num_rows * times:
                failed.append(f"t{n}: {count} rows of {batch.num_rows * times}")
        peak = server.peak()
        server.stop()
        return peak, seconds, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of an encoded batch (default 1,000,000)")
    parser.add_argument("--only", help="kinds that begin with this")
    arguments = parser.parse_args()
    bound = DATABASE_MIB + INGEST_MIB + BESIDE_MIB
    above = False
    print(f"| {STREAMS} streams of | rows each | seconds | peak MiB | bound MiB |\n|---|---|---|---|---|")
    for kind, (batch, times, compression) in kinds(arguments.rows).items():
        if arguments.only and not kind.startswith(arguments.only):
            continue
        peak, seconds, failed = measure(kind, batch, times, compression)
        print(f"| {kind} | {batch.num_rows * times:,} | {seconds:.1f} | {peak // MIB} | {bound} |", flush=True)
        for text in failed:
            print(f"  {text}", file=sys.stderr)
        above |= bool(failed) or peak > bound * MIB
    for kind, sql in READS.items():
        if arguments.only and not kind.startswith(arguments.only):
            continue
        peak, seconds, rows = read(sql)
        print(f"| {kind} | {rows:,} | {seconds:.1f} | {peak // MIB} | {READ_BOUND_MIB} |", flush=True)
        above |= peak > READ_BOUND_MIB * MIB
    sys.exit(1 if above else 0)


if __name__ == "__main__":
    main()
