#!/usr/bin/env bash
# polars 2.1.0: a hive partition whose values look like times of the day cannot be read at all, not even the files' own columns.
#
# Guess before the run: the values of hive folders are guessed as integers, floats, booleans, dates or, where none fits, text.
# Times go to text, as in pyarrow and DuckDB, and write_parquet(partition_by=…) of a Time column is read back in some way.
# Seen: the guess is Time, for which the parser of the values has no case, and read_parquet raises "unsupported data type when
# reading CSV: time". The same with Polars' own folders and when the key is not selected. Dates and timestamps are good.
# try_parse_hive_dates=False gives text, although its name says dates, and a hive_schema of text helps too.
# Consequence: who writes folders by hours and minutes tells each Polars reader about it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet polars==2.1.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import datetime
import os

import polars as pl

print("polars", pl.__version__)


def read(folder, **options):
    lazy = pl.scan_parquet(folder, **options)
    try:
        return lazy.select("x").collect()["x"].to_list(), lazy.select("k").collect()["k"].dtype
    except pl.exceptions.ComputeError as error:
        return str(error)


seen = {}
for name, values in {
    "times": ["12:00:00", "13:30:00"],
    "dates": ["2026-01-01", "2026-01-02"],
    "timestamps": ["2026-01-01 12:00:00", "2026-01-02 13:30:00"],
    "hours": ["12h", "13h"],
}.items():
    for value in values:
        os.makedirs(f"{name}/k={value}")
        pl.DataFrame({"x": [1]}).write_parquet(f"{name}/k={value}/0.parquet")
    seen[name] = read(name)

keys = [datetime.time(12), datetime.time(13, 30)]
pl.DataFrame({"k": keys, "x": [1, 1]}).write_parquet("own", partition_by="k")
seen["own"] = read("own")
seen["times, no dates"] = read("times", try_parse_hive_dates=False)
seen["times, as text"] = read("times", hive_schema={"k": pl.String})
for what, outcome in seen.items():
    print(f"{what:16} {outcome}")

assert "unsupported data type when reading CSV: time" in seen["times"]
assert seen["own"] == seen["times"]
assert seen["dates"] == ([1, 1], pl.Date)
assert seen["timestamps"] == ([1, 1], pl.Datetime("us"))
assert seen["hours"] == seen["times, no dates"] == seen["times, as text"] == ([1, 1], pl.String)
PY
# Output seen:
# polars 2.1.0
# times            unsupported data type when reading CSV: time when reading CSV
# dates            ([1, 1], Date)
# timestamps       ([1, 1], Datetime(time_unit='us', time_zone=None))
# hours            ([1, 1], String)
# own              unsupported data type when reading CSV: time when reading CSV
# times, no dates  ([1, 1], String)
# times, as text   ([1, 1], String)
