"""Writers for node: parquet-wasm, apache-arrow, hyparquet-writer and parquetjs. `javascript.mjs` writes, this says what is in the files."""

import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from out import Out, compare  # noqa: E402

home = Path(os.environ["PINTAIL_FILES_CACHE"]) / "node"
wanted = HERE.parent / "requirements" / "package.json"
if not (home / "package.json").exists() or (home / "package.json").read_text() != wanted.read_text():
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(wanted, home / "package.json")
    made = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=home, capture_output=True, text=True)
    if made.returncode:
        print(f"left out: javascript: {made.stderr.strip()[-300:]}", file=sys.stderr)
        sys.exit(0)
shutil.copy(HERE / "javascript.mjs", home / "javascript.mjs")
folder = Path(sys.argv[1])
run = subprocess.run(["node", home / "javascript.mjs", folder], capture_output=True, text=True, cwd=home)
sys.stderr.write(run.stderr)
EPOCH = compare.EPOCH
STAMP = EPOCH + datetime.timedelta(milliseconds=1_709_208_000_123)
VALUES = {
    "bools": [True, None, False], "ints": [1, None, -(1 << 31)], "longs": [(1 << 63) - 1, None, -(1 << 63)], "doubles": [0.1, None, float("-inf")], "nan": [float("nan"), -0.0, 1.5], "floats": [1.5, None, -2.25],
    "strings": ["", None, "äö€😀"], "bytes": [b"\x00\xff", None, b""], "lists": [[1, 2], None, []], "strings_list": [["a", None], None, []], "structs": [{"a": 1, "b": "x"}, None, {"a": None, "b": ""}],
    "stamps": [STAMP, None, EPOCH], "zoned": [STAMP.replace(tzinfo=datetime.timezone.utc), None, EPOCH.replace(tzinfo=datetime.timezone.utc)], "dates": [STAMP.date(), None, EPOCH.date()], "words": ["a", "b", "a"], "json": ['{"a":1}', None, "[]"],
    "many": list(range(5000)), "texts": [f"v{i % 17}" for i in range(5000)],
}
outs = {}
for line in run.stdout.splitlines():
    said = json.loads(line)
    package = said["package"]
    if "error" in said:
        print(f"not written: {package} {said['path']}: {said['error'][:200]}", file=sys.stderr)
        continue
    version = json.loads((home / "node_modules" / package / "package.json").read_text())["version"]
    out = outs.setdefault(package, Out(package, version))
    out.add(folder / said["path"], {column: VALUES[values] for column, values in said["columns"].items()})
sys.exit(run.returncode)
