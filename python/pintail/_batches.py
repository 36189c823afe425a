"""Whatever holds columns -> RecordBatches of even size.

Never: holds more than a batch or two of a source that is read once; copies what is cut right already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

# Rows and bytes of a batch, at most; a batch is one message, of which the server takes 256 MiB.
ROWS = 65_536
BYTES = 32 << 20

TAKEN = (
    "a pandas or polars DataFrame, a pyarrow Table, RecordBatch, RecordBatchReader or Dataset, a dict of columns, "
    "anything with __arrow_c_stream__, or the path of a file"
)


class Source:
    """Columns that can be read, once or again and again.

    `can_repeat` says whether `read` gives the same batches when it is called a second time.
    """

    def __init__(self, open_reader: Callable[[], pa.RecordBatchReader], can_repeat: bool):
        self.open, self.can_repeat = open_reader, can_repeat

    def read(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The columns, and batches that are cut by their content alone: a retry has to be cut the same way."""
        reader = self.open()
        return reader.schema, even(reader)


def source(data: Any) -> Source:
    """What can be loaded, as a source. Raises TypeError for what has no columns."""
    if isinstance(data, dict):
        data = pa.table(data)
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        table = data
        return Source(table.to_reader, True)
    if isinstance(data, pa.RecordBatchReader):
        reader = data
        return Source(lambda: reader, False)
    if _is_from(data, "pandas", "DataFrame"):
        table = _from_pandas(data)
        return Source(table.to_reader, True)
    if _is_from(data, "polars", "LazyFrame"):
        data = data.collect(engine="streaming")
    if callable(getattr(data, "scanner", None)):
        dataset = data
        return Source(lambda: dataset.scanner().to_reader(), True)
    if hasattr(data, "__arrow_c_stream__"):
        stream = data
        # A frame gives its stream as often as it is asked; a cursor or relation may not.
        can_repeat = _is_from(data, "polars", "DataFrame")
        return Source(lambda: pa.RecordBatchReader.from_stream(stream), can_repeat)
    if hasattr(data, "__arrow_c_array__"):
        table = pa.Table.from_batches([pa.record_batch(data)])
        return Source(table.to_reader, True)
    raise TypeError(f"expected {TAKEN}; found {type(data).__module__}.{type(data).__qualname__}")


def one_batch(data: Any) -> pa.RecordBatch:
    """The same as one RecordBatch. Raises ValueError when it does not fit into one."""
    if isinstance(data, pa.RecordBatch):
        return data
    table = source(data).open().read_all().combine_chunks()
    batches = [batch for batch in table.to_batches() if batch.num_rows]
    if not batches:
        return pa.record_batch([pa.array([], field.type) for field in table.schema], schema=table.schema)
    if len(batches) > 1:
        raise ValueError(f"expected rows that fit into one RecordBatch, found {len(batches)} of them; send them one by one")
    return batches[0]


def even(batches: Iterator[pa.RecordBatch] | pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Cuts and joins batches so that their borders depend on the rows and not on how the rows came in pieces."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        while batch.num_rows:
            part = batch.slice(0, ROWS - rows)
            batch = batch.slice(part.num_rows)
            waiting.append(part)
            rows += part.num_rows
            if rows == ROWS:
                yield from _by_bytes(_joined(waiting))
                waiting, rows = [], 0
    if waiting:
        yield from _by_bytes(_joined(waiting))


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _by_bytes(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if batch.nbytes <= BYTES or batch.num_rows == 1:
        yield batch
        return
    # Halves, so that the borders do not move with the bytes that a buffer happens to have.
    middle = batch.num_rows // 2
    yield from _by_bytes(batch.slice(0, middle))
    yield from _by_bytes(batch.slice(middle))


def _is_from(data: Any, package: str, name: str) -> bool:
    """Whether it is of a package, without importing that."""
    return any(kind.__name__ == name and kind.__module__.split(".")[0] == package for kind in type(data).__mro__)


def _from_pandas(frame: Any) -> pa.Table:
    """Named indexes, and columns; an index without a name is a row number, and no column."""
    if all(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    # The pandas part of the metadata speaks of this frame and not of the table.
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
