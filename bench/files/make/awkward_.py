"""awkward-array: ragged arrays, records, options, unions and regular arrays to Parquet and Feather."""

import sys
from pathlib import Path

import awkward as ak
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

out = Out("awkward")
ARRAYS = {
    "ragged": [[1.5, 2.5], [], [3.5]],
    "ragged_twice": [[[1], []], [], [[2, 3]]],
    "records": [{"x": 1, "y": [1.5]}, {"x": 2, "y": []}],
    "options": [[1, None], None, []],
    "strings": [["a", ""], [], ["äö"]],
    "bytes": [b"a", b"", b"\xff"],
    "optional_records": [{"x": 1}, None, {"x": 3}],
    "bools": [True, False, True],
    "numbers": [1, 2, 3],
    "empty_lists": [[], [], []],
}
for name, values in ARRAYS.items():
    array = ak.Array({"c": values, "place": list(range(len(values)))})
    for kind, options in (("plain", {}), ("plain32", {"list_to32": True, "string_to32": True, "bytestring_to32": True}), ("optiontype", {"extensionarray": False, "parquet_flavor": "spark"})):
        def make(path, array=array, values=values, options=options):
            ak.to_parquet(array, str(path), **options)
            out.add(path, {"c": values, "place": list(range(len(values)))})

        out.try_to(f"{kind}/{name}.parquet", make)
regular = ak.to_regular(ak.Array(np.arange(12).reshape(3, 4)), axis=1)
out.try_to("plain/regular.parquet", lambda path: (ak.to_parquet(ak.Array({"c": regular}), str(path)), out.add(path, {"c": regular.to_list()})))
out.try_to("plain/regular_plain.parquet", lambda path: (ak.to_parquet(ak.Array({"c": regular}), str(path), extensionarray=False), out.add(path, {"c": regular.to_list()})))
categories = ak.str.to_categorical(ak.Array(["a", "b", "a"]))
out.try_to("plain/categories.parquet", lambda path: (ak.to_parquet(ak.Array({"c": categories}), str(path)), out.add(path, {"c": ["a", "b", "a"]})))
out.try_to("plain/stamps.parquet", lambda path: (ak.to_parquet(ak.Array({"c": np.array(["2024-01-01", "1960-01-01"], "datetime64[us]")}), str(path)), out.add(path, {"c": list(np.array(["2024-01-01", "1960-01-01"], "datetime64[us]"))})))
out.try_to("feather/ragged.feather", lambda path: (ak.to_feather(ak.Array({"c": ARRAYS["ragged"]}), str(path)), out.add(path, {"c": ARRAYS["ragged"]})))
out.try_to("feather/records.feather", lambda path: (ak.to_feather(ak.Array(ARRAYS["records"]), str(path)), out.add(path, {k: [r[k] for r in ARRAYS["records"]] for k in "xy"})))
