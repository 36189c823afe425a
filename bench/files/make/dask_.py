"""dask: folders of part files, partitioned folders, indexes, CSV and JSON folders."""

import sys
from pathlib import Path

import dask
import dask.dataframe as dd
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

dask.config.set(scheduler="synchronous")
out = Out("dask")
FRAME = pd.DataFrame({"i": range(1000), "s": [f"t{i % 7}" for i in range(1000)], "n": [i % 3 for i in range(1000)], "f": [i / 3 for i in range(1000)], "t": pd.date_range("2024-01-01", periods=1000, freq="h")})
SOURCE = {name: FRAME[name].tolist() for name in FRAME}
INDEXED = FRAME.set_index("i")


def case(name, write, holds=SOURCE, frame=FRAME, partitions=(), refuse=None):
    def make(path):
        write(dd.from_pandas(frame, npartitions=4), path)
        out.add(path, holds, partitions=partitions, refuse=refuse)

    out.try_to(name, make)


case("folder/plain", lambda f, p: f.to_parquet(p, write_index=False))
case("folder/index", lambda f, p: f.to_parquet(p), frame=INDEXED)
case("folder/metadata", lambda f, p: f.to_parquet(p, write_index=False, write_metadata_file=True))
case("folder/hive", lambda f, p: f.to_parquet(p, write_index=False, partition_on=["s", "n"]), partitions=["s", "n"])
case("folder/names", lambda f, p: f.to_parquet(p, write_index=False, name_function=lambda i: f"piece {i}.parquet"))
case("folder/zstd", lambda f, p: f.to_parquet(p, write_index=False, compression="zstd"))
case("folder/overwrite", lambda f, p: (f.to_parquet(p, write_index=False), f.to_parquet(p, write_index=False, overwrite=True)))
case("folder/append", lambda f, p: (f.to_parquet(p, write_index=False), f.to_parquet(p, write_index=False, append=True, ignore_divisions=True)), holds={k: v * 2 for k, v in SOURCE.items()})
PART = pd.DataFrame({"k": ["a", None, "b", "a"], "v": [1, 2, 3, 4]})
case("folder/hive_null", lambda f, p: f.to_parquet(p, write_index=False, partition_on=["k"]), frame=PART, holds={"k": ["a", None, "b", "a"], "v": [1, 2, 3, 4]}, partitions=["k"])
TEXT = FRAME[["i", "s", "f"]]
case("text/csv", lambda f, p: f.to_csv(p / "part-*.csv" if p.mkdir() is None else p, index=False), frame=TEXT, holds={k: SOURCE[k] for k in TEXT})
# pandas writes 10 digits of a float.
case("text/json", lambda f, p: f.to_json(str(p / "part-*.json") if p.mkdir() is None else p, orient="records", lines=True), frame=TEXT, holds={k: [round(v, 10) if k == "f" and v is not None else v for v in SOURCE[k]] for k in TEXT})
