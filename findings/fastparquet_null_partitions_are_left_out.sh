#!/usr/bin/env bash
# fastparquet 2026.9.0: write(partition_on=…) leaves out the rows whose key is NULL, without a word.
#
# Guess before the run: such rows go to the folder __HIVE_DEFAULT_PARTITION__, as with pyarrow, Polars, DuckDB, Spark and Hive,
# or the write raises.
# Seen: no folder is made for them, and neither an error nor a warning comes. The number of rows is less by them, and a frame
# whose keys are all NULL ends up with no rows.
# Consequence: the rows are lost with the data frame. A key that may be NULL is given a value of its own first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet fastparquet==2026.9.0 pandas==3.1.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import os
import warnings

import fastparquet
import pandas as pd

print("fastparquet", fastparquet.__version__, "pandas", pd.__version__)
frame = pd.DataFrame({"k": ["a", None, "b", None], "x": [1, 2, 3, 4]})
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    fastparquet.write("out", frame, file_scheme="hive", partition_on="k")
own = [str(warning.message) for warning in warned if "null" in str(warning.message).lower()]
folders = sorted(name for name in os.listdir("out") if "=" in name)
back = fastparquet.ParquetFile("out")
print("written:", len(frame), "rows")
print("folders:", folders)
print("read:", back.count(), "rows, x =", back.to_pandas()["x"].tolist(), "warnings:", own)
assert folders == ["k=a", "k=b"]
assert back.count() == 2 and sorted(back.to_pandas()["x"]) == [1, 3] and not own
PY
# Output seen:
# fastparquet 2026.9.0 pandas 3.1.1
# written: 4 rows
# folders: ['k=a', 'k=b']
# read: 2 rows, x = [1, 3] warnings: []
