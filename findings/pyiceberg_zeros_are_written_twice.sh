#!/usr/bin/env bash
# pyiceberg 0.12.0: in a table partitioned by a floating-point column, append writes the rows of 0.0 and -0.0 twice.
#
# Guess before the run: 0.0 and -0.0 become two partitions, as Iceberg compares partition values by their bits, or one. Either
# way three rows that were appended are three rows in the table.
# Seen: the values are made distinct by their bits, and the rows of each partition are then found by comparing numbers, for
# which the two are equal. Both partitions get the rows of both. Three rows become five, with no error, for all readers, as the
# files have them. For NaN the same comparison finds no row, and append ends with "division by zero". The same rows in a table
# without partitions are right.
# Consequence: measurements, coordinates and results of a multiplication by zero double in silence. Add 0.0 to the column
# before it is appended, which makes -0.0 to 0.0, or partition by a column of another type.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==1.5.5 duckdb-extension-avro==1.5.5 duckdb-extension-iceberg==1.5.5 \
    'pyiceberg[sql-sqlite,pyiceberg-core]==0.12.0' pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import math
import pathlib

import duckdb
import pyarrow as pa
import pyiceberg
from pyiceberg.catalog import load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DoubleType, LongType, NestedField

print("pyiceberg", pyiceberg.__version__, "duckdb", duckdb.__version__)
here = pathlib.Path.cwd()
catalog = load_catalog("c", type="sql", uri=f"sqlite:///{here}/c.db", warehouse=f"file://{here}")
catalog.create_namespace("n")
db = duckdb.connect()
for name in ("avro", "iceberg"):
    package = pathlib.Path(__import__(f"duckdb_extension_{name}").__file__).parent
    db.execute(f"LOAD '{next(package.rglob('*.duckdb_extension'))}'")
SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "x", DoubleType()))
BY_X = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "x"))


def append(name, values, spec):
    """The ids that pyiceberg and DuckDB read after rows with `values` were appended, or the error."""
    table = catalog.create_table(f"n.{name}", SCHEMA, partition_spec=spec)
    rows = pa.table({"id": range(len(values)), "x": values})
    try:
        table.append(rows)
    except ZeroDivisionError as error:
        print(f"{name:12} {values}: {error}")
        return str(error)
    own = sorted(table.scan().to_arrow()["id"].to_pylist())
    other = [id for (id,) in db.execute(f"SELECT id FROM iceberg_scan('{table.metadata_location}') ORDER BY id").fetchall()]
    files = sorted(file.file.record_count for file in table.scan().plan_files())
    print(f"{name:12} {values}: ids {own}, rows of the files {files}")
    assert own == other
    return own


assert append("plain", [0.0, -0.0, 1.5], PartitionSpec()) == [0, 1, 2]
assert append("other", [1.0, -1.0, 1.5], BY_X) == [0, 1, 2]
assert append("zeros", [0.0, -0.0, 1.5], BY_X) == [0, 0, 1, 1, 2]
assert append("added", [x + 0.0 for x in (0.0, -0.0, 1.5)], BY_X) == [0, 1, 2]
assert append("nan", [1.5, math.nan], BY_X) == "division by zero"
PY
# Output seen:
# pyiceberg 0.12.0 duckdb 1.5.5
# plain        [0.0, -0.0, 1.5]: ids [0, 1, 2], rows of the files [3]
# other        [1.0, -1.0, 1.5]: ids [0, 1, 2], rows of the files [1, 1, 1]
# zeros        [0.0, -0.0, 1.5]: ids [0, 0, 1, 1, 2], rows of the files [1, 2, 2]
# added        [0.0, 0.0, 1.5]: ids [0, 1, 2], rows of the files [1, 2]
# nan          [1.5, nan]: division by zero
