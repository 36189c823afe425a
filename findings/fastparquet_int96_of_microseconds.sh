#!/usr/bin/env bash
# fastparquet 2026.9.0: write(times="int96") takes every timestamp for nanoseconds, so one of microseconds comes back in 1970.
#
# Guess before the run: the timestamps of pandas, which are microseconds in pandas 3 unless told otherwise, are brought to
# nanoseconds before they are written as INT96, as they are brought to the file's unit for times="int64".
# Seen: their integers are written as if they were nanoseconds. Microseconds come back 1000 times and milliseconds a million
# times too near to 1970, with no error, by fastparquet's own reader and by pyarrow. Only nanoseconds are right, and with
# times="int64" microseconds and milliseconds are too.
# Consequence: a file of INT96 for an older Spark or Hive has wrong times. as_unit("ns") comes first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import fastparquet
import pandas as pd
import pyarrow.parquet as pq

print("fastparquet", fastparquet.__version__, "pandas", pd.__version__)
right = pd.Timestamp("2026-01-02 03:04:05")
print("pandas makes", pd.DatetimeIndex([right]).dtype, "of it by itself")
seen = {}
for times in ("int64", "int96"):
    for unit in ("ms", "us", "ns"):
        frame = pd.DataFrame({"t": pd.DatetimeIndex([right]).as_unit(unit)})
        fastparquet.write("t.parquet", frame, times=times)
        own = fastparquet.ParquetFile("t.parquet").to_pandas()["t"][0]
        other = pd.Timestamp(pq.read_table("t.parquet")["t"][0].as_py())
        physical = pq.ParquetFile("t.parquet").schema.column(0).physical_type
        assert own == other
        seen[times, unit] = own
        print(f"{times} ({physical}), from {unit}: {own}")

since = right - pd.Timestamp(0)
assert all(seen["int64", unit] == right for unit in ("ms", "us", "ns"))
assert seen["int96", "ns"] == right
assert seen["int96", "us"] == pd.Timestamp(since.value // 1000)
assert seen["int96", "ms"] == pd.Timestamp(since.value // 1000000)
PY
# Output seen:
# fastparquet 2026.9.0 pandas 3.1.1
# pandas makes datetime64[us] of it by itself
# int64 (INT64), from ms: 2026-01-02 03:04:05
# int64 (INT64), from us: 2026-01-02 03:04:05
# int64 (INT64), from ns: 2026-01-02 03:04:05
# int96 (INT96), from ms: 1970-01-01 00:29:27.323045
# int96 (INT96), from us: 1970-01-21 10:55:23.045000
# int96 (INT96), from ns: 2026-01-02 03:04:05
