#!/usr/bin/env bash
# DuckDB 2.0.0: with PARQUET_VERSION V2 a 32-bit integer column whose values are far apart is written with deltas of 33 bits,
# which pyarrow refuses to read.
#
# Guess before the run: DELTA_BINARY_PACKED of a 32-bit column makes its differences in 32 bits, with overflow, as the format
# has it, so that no miniblock is wider than 32 bits, and every reader of the encoding has the same values, whatever they are.
# Seen: an INTEGER or UINTEGER column is good as long as all differences stay within 32 bits. Where the smallest and the
# largest difference are further apart, DuckDB writes a wider miniblock, and pyarrow 26.0.1 ends with "Unexpected end of
# stream: Init… EOF". 64-bit columns with the same spread, and up to their limits, are good. Polars 2.1.0 and DuckDB
# read all of them.
# Consequence: a V2 file of hashes, of checksums or of anything else that fills 32 bits is for DuckDB and Polars alone;
# PARQUET_VERSION V1 (or the type BIGINT) is good for all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.0 polars==2.1.0 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

print("duckdb", duckdb.__version__, "pyarrow", pa.__version__, "polars", polars.__version__)
db = duckdb.connect()


def trip(name, kind, low, high, version):
    """Writes 100 rows of `low` and `high` by turns: (encoding, pyarrow's answer)."""
    file = f"{name}.parquet"
    rows = [low if row % 2 else high for row in range(100)]
    db.execute(f"CREATE OR REPLACE TABLE t AS SELECT unnest($1)::{kind} AS x", [rows])
    db.execute(f"COPY t TO '{file}' (PARQUET_VERSION {version}, DICTIONARY_SIZE_LIMIT 1)")
    encoding = pq.ParquetFile(file).metadata.row_group(0).column(0).encodings
    assert [x for (x,) in db.execute(f"SELECT x FROM '{file}'").fetchall()] == rows
    assert polars.read_parquet(file)["x"].to_list() == rows
    try:
        seen = pq.read_table(file)["x"].to_pylist() == rows
    except OSError as error:
        seen = str(error)
    print(f"{version} {kind:9} {low:>20} {high:>20} {','.join(encoding):20} {seen}")
    return seen


small = trip("a", "UINTEGER", 0, 2**30, "V2")
uint = trip("b", "UINTEGER", 0, 2**32 - 1, "V2")
int_ = trip("c", "INTEGER", -(2**31), 2**31 - 1, "V2")
wide = trip("d", "BIGINT", -(2**31), 2**32 - 1, "V2")
widest = trip("e", "BIGINT", -(2**63), 2**63 - 1, "V2")
plain = trip("f", "UINTEGER", 0, 2**32 - 1, "V1")
assert small is wide is widest is plain is True
assert "Unexpected end of stream" in str(uint) and "Unexpected end of stream" in str(int_)
PY
# Output seen:
# duckdb 2.0.0 pyarrow 26.0.1 polars 2.1.0
# V2 UINTEGER                     0           1073741824 DELTA_BINARY_PACKED  True
# V2 UINTEGER                     0           4294967295 DELTA_BINARY_PACKED  Unexpected end of stream: InitHeader EOF
# V2 INTEGER            -2147483648           2147483647 DELTA_BINARY_PACKED  Unexpected end of stream: InitBlock EOF
# V2 BIGINT             -2147483648           4294967295 DELTA_BINARY_PACKED  True
# V2 BIGINT    -9223372036854775808  9223372036854775807 DELTA_BINARY_PACKED  True
# V1 UINTEGER                     0           4294967295 PLAIN                True
