"""vaex: Parquet, Arrow and Feather exports of lazy columns."""

import sys
from pathlib import Path

import numpy as np
import vaex

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

out = Out("vaex-core")
SOURCE = {"i": np.arange(1000), "f": np.arange(1000) / 3, "s": np.array([f"t{i % 7}" for i in range(1000)])}
frame = vaex.from_arrays(**SOURCE)
frame["twice"] = frame.i * 2
HOLDS = {"i": list(range(1000)), "f": [i / 3 for i in range(1000)], "s": [f"t{i % 7}" for i in range(1000)], "twice": [2 * i for i in range(1000)]}
for name, write in (("rows.parquet", frame.export_parquet), ("rows.arrow", frame.export_arrow), ("rows.feather", frame.export_feather), ("filtered.parquet", frame[frame.i >= 0].export_parquet)):
    out.try_to(name, lambda path, write=write: (write(str(path)), out.add(path, HOLDS)))
out.try_to("text/rows.csv", lambda path: (frame.export_csv(str(path)), out.add(path, HOLDS)))
masked = vaex.from_arrays(m=np.ma.array([1, 2, 3], mask=[False, True, False]))
out.try_to("masked.parquet", lambda path: (masked.export_parquet(str(path)), out.add(path, {"m": [1, None, 3]})))
