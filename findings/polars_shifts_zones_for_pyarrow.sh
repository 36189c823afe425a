#!/usr/bin/env bash
# polars 2.1.0: a filter on a column with a time zone, over a pyarrow or Lance dataset, is moved by the zone's offset: == finds
# another row.
#
# Guess before the run: scan_pyarrow_dataset hands a datetime with a zone to pyarrow as that instant, or keeps the filter to
# itself where it cannot; the rows are those of the same filter on the frame.
# Seen: the value's clock in UTC is handed over as if it were the clock of the zone. t == 12:00 in Berlin, which is 10:00 in
# UTC, finds the row of 10:00 in Berlin; in New York it finds that of 16:00 and in Kolkata that of 6:30, and > and <= cut there
# too. Nothing is checked afterwards. Microseconds and milliseconds alike; nanoseconds and UTC are right, and so is the same
# filter in pyarrow itself, on the frame, and by scan_parquet.
# Consequence: such columns are filtered after collect(), or brought to UTC together with the value.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet polars==2.1.0 pyarrow==26.0.1 pylance==14.0.2 tzdata==2026.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import lance
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

print("polars", pl.__version__, "pyarrow", pa.__version__, "pylance", lance.__version__)


def look_up(zone, unit="us"):
    """The clocks of the rows that == and > find for 12:00 in `zone`, among a day of half hours."""
    noon = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo(zone))
    times = [noon + timedelta(minutes=30 * (row - 24)) for row in range(48)]
    frame = pl.DataFrame({"t": times}).with_columns(pl.col("t").dt.cast_time_unit(unit))
    rows = frame.to_arrow()
    pq.write_table(rows, "t.parquet")
    dataset = ds.dataset("t.parquet")
    instant = pa.scalar(noon, rows.schema.field("t").type)
    right = frame.filter(pl.col("t") == noon)
    assert right["t"].to_list() == [noon]
    assert pa.table(pl.scan_parquet("t.parquet").filter(pl.col("t") == noon).collect()).num_rows == 1
    assert dataset.to_table(filter=ds.field("t") == instant)["t"].to_pylist() == [instant.as_py()]
    sources = {"pyarrow": dataset, "lance": lance.write_dataset(rows, "t.lance", mode="overwrite")}
    seen = {}
    for name, source in sources.items():
        lazy = pl.scan_pyarrow_dataset(source)
        equal = lazy.filter(pl.col("t") == noon).collect()["t"]
        later = lazy.filter(pl.col("t") > noon).collect()["t"]
        seen[name] = [f"{time:%H:%M}" for time in equal], f"{later.min():%H:%M}"
    print(f"{zone:17} {unit}: {seen}")
    assert seen["pyarrow"] == seen["lance"]
    return seen["pyarrow"]


right = ["12:00"], "12:30"
assert look_up("UTC") == right
assert look_up("Europe/Berlin", "ns") == right
for unit in ("us", "ms"):
    assert look_up("Europe/Berlin", unit) == (["10:00"], "10:30")
assert look_up("America/New_York") == (["16:00"], "16:30")
assert look_up("Asia/Kolkata") == (["06:30"], "07:00")
PY
# Output seen:
# polars 2.1.0 pyarrow 26.0.1 pylance 14.0.2
# UTC               us: {'pyarrow': (['12:00'], '12:30'), 'lance': (['12:00'], '12:30')}
# Europe/Berlin     ns: {'pyarrow': (['12:00'], '12:30'), 'lance': (['12:00'], '12:30')}
# Europe/Berlin     us: {'pyarrow': (['10:00'], '10:30'), 'lance': (['10:00'], '10:30')}
# Europe/Berlin     ms: {'pyarrow': (['10:00'], '10:30'), 'lance': (['10:00'], '10:30')}
# America/New_York  us: {'pyarrow': (['16:00'], '16:30'), 'lance': (['16:00'], '16:30')}
# Asia/Kolkata      us: {'pyarrow': (['06:30'], '07:00'), 'lance': (['06:30'], '07:00')}
