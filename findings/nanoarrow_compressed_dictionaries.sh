#!/usr/bin/env bash
# nanoarrow 0.9.0: in a compressed IPC stream the values of a dictionary are read without decompressing them; integers come out
# as other integers.
#
# Guess before the run: dictionaries and compression are both read, so a compressed dictionary is too; or it is refused, as a
# delta dictionary is ("not yet supported").
# Seen: plain columns are decompressed, dictionary batches are not. Their compressed bytes are taken for the values: the first
# of three 64-bit integers is 24, the length in bytes that stands before the compressed part, and the others are made of what
# follows. No error comes as long as the compressed part is not shorter than the values; text, and larger dictionaries, end
# with "Expected … buffer …" or "Expected last offset …". lz4 and zstd alike. pyarrow, arro3 0.9.1 and Polars are right.
# Consequence: categories and codes of small dictionaries are wrong in silence. Whoever writes for nanoarrow compresses no
# stream with dictionaries, or casts them to plain columns first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet arro3-core==0.9.1 arro3-io==0.9.1 nanoarrow==0.9.0 polars==2.1.0 pyarrow==26.0.1
"$work/venv/bin/python" - <<'PY'
import io

import arro3.io
import nanoarrow
import polars as pl
import pyarrow as pa

print("nanoarrow", nanoarrow.__version__, "pyarrow", pa.__version__)


def read(name, column, compression):
    """What nanoarrow reads from a stream with `column`; the others have to be right."""
    batch = pa.record_batch({"x": column})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)
    stream = sink.getvalue()
    right = column.to_pylist()
    assert pa.ipc.open_stream(stream).read_all()["x"].to_pylist() == right
    assert pl.read_ipc_stream(io.BytesIO(stream))["x"].to_list() == right
    assert pa.table(arro3.io.read_ipc_stream(io.BytesIO(stream)))["x"].to_pylist() == right
    try:
        rows = nanoarrow.Array(nanoarrow.ArrayStream.from_readable(io.BytesIO(stream))).to_pylist()
        seen = [row["x"] for row in rows]
    except RuntimeError as error:
        seen = str(error).split(": ")[1]
    print(f"{compression or 'none':5} {name:8} right: {seen == right!s:5} {seen}")
    return right, seen


def dictionary(*values):
    return pa.DictionaryArray.from_arrays(pa.array(range(len(values)), pa.int8()), pa.array(values))


numbers = dictionary(10, 20, 30)
for compression in (None, "lz4", "zstd"):
    right, seen = read("plain", pa.array([10, 20, 30]), compression)
    assert seen == right
    right, seen = read("numbers", numbers, compression)
    if compression is None:
        assert seen == right
    else:
        assert len(seen) == 3 and seen[0] == 24 and not set(seen) & set(right)
    right, seen = read("text", dictionary("aaa", "bbb"), compression)
    assert seen == right if compression is None else "Expected" in seen
PY
# Output seen:
# nanoarrow 0.9.0 pyarrow 26.0.1
# none  plain    right: True  [10, 20, 30]
# none  numbers  right: True  [10, 20, 30]
# none  text     right: True  ['aaa', 'bbb']
# lz4   plain    right: True  [10, 20, 30]
# lz4   numbers  right: False [24, 1405756815161762308, 281518496808960]
# lz4   text     right: False Expected string array buffer 2 to have size >= 407708164 bytes but found buffer with 29 bytes
# zstd  plain    right: True  [10, 20, 30]
# zstd  numbers  right: False [24, 46469901123040552, 8444335201345536]
# zstd  text     right: False Expected last offset >= 0 but found -47205080
