#!/usr/bin/env bash
# deltalake 1.6.6: one row with a negative fraction, appended to a table that is partitioned by a decimal, makes the whole table
# unreadable.
#
# Guess before the run: -1.50 becomes the partition "-1.50", as 1.50 becomes "1.50"; or the write is refused, and the table is as
# it was before.
# Seen: the partition is written as "-1.-50", a minus before each part. The write raises "Failed to parse value '-1.-50'", but
# only after its commit: the log has the new version, and from then on the table cannot be opened, read or appended to, in
# deltalake or DuckDB. Older versions can be read by number; restore() cannot go back to them, as it takes the last version it
# could read for the newest. Negative values without a fraction, such as -10.00, are right.
# Consequence: amounts make no partitions here. After the error, the way back is to take the last file out of _delta_log by hand.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet deltalake==1.6.6 duckdb==1.5.5 duckdb-extension-delta==1.5.5 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import json
import pathlib
from decimal import Decimal

import deltalake
import duckdb
import duckdb_extension_delta
import pyarrow as pa

print("deltalake", deltalake.__version__, "duckdb", duckdb.__version__)
db = duckdb.connect()
extension = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("*.duckdb_extension"))
db.execute(f"LOAD '{extension}'")


def attempt(what, call):
    try:
        seen = call()
    except Exception as error:
        seen = str(error).splitlines()[0]
    print(f"{what:24} {seen}")
    return seen


def append(amount):
    rows = pa.table({"id": [1], "amount": pa.array([Decimal(amount)], pa.decimal128(12, 2))})
    return deltalake.write_deltalake("t", rows, mode="append", partition_by=["amount"])


def in_log():
    lines = "\n".join(file.read_text() for file in sorted(pathlib.Path("t/_delta_log").glob("*.json"))).splitlines()
    return [json.loads(line)["add"]["partitionValues"]["amount"] for line in lines if '"add"' in line]


def read(version=None):
    return deltalake.DeltaTable("t", version=version).to_pyarrow_table()["amount"].to_pylist()


def scan():
    return db.execute("SELECT amount FROM delta_scan('t') ORDER BY amount").fetchall()


assert attempt("append 1.50", lambda: append("1.50")) is None
assert attempt("append -10.00", lambda: append("-10.00")) is None
assert attempt("DuckDB", scan) == [(Decimal("-10.00"),), (Decimal("1.50"),)]
failed = attempt("append -1.50", lambda: append("-1.50"))
log = attempt("partitions in the log", in_log)
calls = {
    "open": lambda: deltalake.DeltaTable("t").version(),
    "read": read,
    "append 2.50": lambda: append("2.50"),
    "DuckDB": scan,
}
after = [attempt(what, call) for what, call in calls.items()]
old = attempt("read version 1", lambda: read(1))
restored = attempt("restore version 1", lambda: deltalake.DeltaTable("t", version=1).restore(1))
pathlib.Path("t/_delta_log/00000000000000000002.json").unlink()
again = attempt("read, without its file", read)

assert "'-1.-50'" in failed and log == ["1.50", "-10.00", "-1.-50"]
assert all("'-1.-50'" in seen for seen in after)
assert sorted(old) == sorted(again) == [Decimal("-10.00"), Decimal("1.50")]
assert "should be less" in restored
PY
# Output seen:
# deltalake 1.6.6 duckdb 1.5.5
# append 1.50              None
# append -10.00            None
# DuckDB                   [(Decimal('-10.00'),), (Decimal('1.50'),)]
# append -1.50             Kernel error: Failed to parse value '-1.-50' as 'decimal(12,2)'
# partitions in the log    ['1.50', '-10.00', '-1.-50']
# open                     Kernel error: Failed to parse value '-1.-50' as 'decimal(12,2)'
# read                     Kernel error: Failed to parse value '-1.-50' as 'decimal(12,2)'
# append 2.50              Kernel error: Failed to parse value '-1.-50' as 'decimal(12,2)'
# DuckDB                   IO Error: Failed to unpack scan data from kernel: DeltaKernel ParseError (23): Failed to parse value '-1.-50' as 'decimal(12,2)'
# read version 1           [Decimal('-10.00'), Decimal('1.50')]
# restore version 1        Generic error: Version to restore 1 should be less then last available version 1.
# read, without its file   [Decimal('-10.00'), Decimal('1.50')]
