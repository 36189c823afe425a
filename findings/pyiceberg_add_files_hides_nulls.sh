#!/usr/bin/env bash
# pyiceberg 0.12.0: add_files puts NULL and NaN into the partition of the file's other rows; filters then lose them in all readers,
# and a DELETE takes the NaN along.
#
# Guess before the run: the partition of a file is taken from the minimum and maximum in its footer, and add_files refuses what
# is not one partition: values that differ, and also NULL or NaN beside a value, as append gives NULL its own partition.
# Seen: only values that differ are refused. For [5, NULL, 5] the partition is 5, for a day with a NULL it is the day, although
# the footer counts the NULL. Its row is in the table, but IS NULL finds none, in pyiceberg and in DuckDB. For [1.5, NaN] the
# partition is 1.5, and a DELETE of x = 1.5 drops the file with the NaN in it. All without an error or a warning.
# Consequence: before files are added, ask each for NULL and NaN in the source columns of the partitions.
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
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg
from pyiceberg.catalog import load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import DoubleType, LongType, NestedField, TimestampType

print("pyiceberg", pyiceberg.__version__, "duckdb", duckdb.__version__)
here = pathlib.Path.cwd()
catalog = load_catalog("c", type="sql", uri=f"sqlite:///{here}/c.db", warehouse=f"file://{here}")
catalog.create_namespace("n")
db = duckdb.connect()
for name in ("avro", "iceberg"):
    package = pathlib.Path(__import__(f"duckdb_extension_{name}").__file__).parent
    db.execute(f"LOAD '{next(package.rglob('*.duckdb_extension'))}'")


def add(name, kind, values, filters, transform=IdentityTransform()):
    """The table, and the ids that pyiceberg finds by each filter after a file of `values` was added to it."""
    schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "x", kind))
    spec = PartitionSpec(PartitionField(2, 1000, transform, "x_part"))
    table = catalog.create_table(f"n.{name}", schema, partition_spec=spec)
    file = f"{here}/{name}.parquet"
    pq.write_table(pa.table({"id": range(len(values)), "x": values}), file)
    try:
        table.add_files([file])
    except ValueError as error:
        print(f"{name:6} {error}")
        return table, str(error)
    (entry,) = table.scan().plan_files()
    seen = {"partition": entry.file.partition[0]}
    for each in filters:
        seen[each] = sorted(table.scan(row_filter=each).to_arrow()["id"].to_pylist())
        query = f"SELECT id FROM iceberg_scan('{table.metadata_location}') WHERE {each} ORDER BY id"
        assert [id for (id,) in db.execute(query).fetchall()] == seen[each]
    print(f"{name:6} {seen}")
    return table, seen


_, differ = add("differ", LongType(), [5, 6], [])
_, null = add("null", LongType(), [5, None, 5], ["true", "x = 5", "x IS NULL"])
day = [datetime(2026, 1, 1, 1), None, datetime(2026, 1, 1, 2)]
_, days = add("day", TimestampType(), day, ["x IS NOT NULL", "x IS NULL"], DayTransform())
table, nan = add("nan", DoubleType(), [1.5, math.nan], ["x = 1.5"])
table.delete("x = 1.5")
left = table.scan().to_arrow().to_pylist()
print("nan    rows after DELETE x = 1.5:", left)

assert "more than one" in differ
assert null == {"partition": 5, "true": [0, 1, 2], "x = 5": [0, 2], "x IS NULL": []}
assert days == {"partition": 20454, "x IS NOT NULL": [0, 2], "x IS NULL": []}
assert nan == {"partition": 1.5, "x = 1.5": [0]} and left == []
PY
# Output seen:
# pyiceberg 0.12.0 duckdb 1.5.5
# differ Cannot infer partition value from parquet metadata as there are more than one partition values for Partition Field: x_part. lower_value=5, upper_value=6
# null   {'partition': 5, 'true': [0, 1, 2], 'x = 5': [0, 2], 'x IS NULL': []}
# day    {'partition': 20454, 'x IS NOT NULL': [0, 2], 'x IS NULL': []}
# nan    {'partition': 1.5, 'x = 1.5': [0]}
# nan    rows after DELETE x = 1.5: []
