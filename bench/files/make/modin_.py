"""modin: its Parquet is a folder of parts, one for each partition of rows."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

if __name__ == "__main__":
    import modin.config

    modin.config.Engine.put("Dask")
    modin.config.CpuCount.put(2)
    modin.config.MinRowPartitionSize.put(32)
    import modin.pandas as pd

    out = Out("modin")
    SOURCE = {"i": list(range(300)), "s": [f"t{i % 7}" for i in range(300)], "f": [i / 3 for i in range(300)]}
    frame = pd.DataFrame(SOURCE)
    for name, options in (("plain", {}), ("zstd", {"compression": "zstd"}), ("no_index", {"index": False})):
        out.try_to(f"folder/{name}.parquet", lambda path, options=options: (frame.to_parquet(str(path), **options), out.add(path, SOURCE)))
    out.try_to("text/plain.csv", lambda path: (frame.to_csv(str(path), index=False), out.add(path, SOURCE)))
