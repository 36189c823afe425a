"""A table, a frame, a stream or a file -> rows of a table of the server, in one call.

Never: reports rows that were not acknowledged; sends rows again that may have been stored, unless a key makes them count once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.flight as flight

from ._address import Address, Credentials
from ._batches import Source, source
from ._binary import binary
from ._delivery import pause_of, told_as_error
from ._errors import RETRIED, Error
from ._names import path_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

Mode = Literal["append", "create", "create_append", "replace"]
OnConflict = Literal["error", "ignore", "replace"]

# The last line of `pintail load`.
_DONE = re.compile(r"^loaded ([\d,]+) rows?\b(?:, ([\d,]+) replaced)?(?:, ([\d,]+) ignored)?(?:, ([\d,]+) rejected)?", re.MULTILINE)


@dataclass(frozen=True)
class Loaded:
    """What became of a load."""

    table: str
    """The table, as it was named."""
    rows: int
    """Rows that were dealt with: those of the data, or, for files, those that were not there already."""
    duplicate: bool
    """Whether everything had been stored by an earlier load; nothing was stored now."""
    durable: bool | None
    """Whether the rows survive a crash; False for a database in memory, None for files, which are not told apart."""
    inserted: int | None = None
    """Of the rows, those new in the table; told where they can differ from `rows`."""
    ignored: int | None = None
    """Of the rows, those left out because their key was there."""
    replaced: int | None = None
    """Of the rows, those put in the place of one with their key."""
    rejected: int | None = None
    """Of the rows, those set aside because they break a rule of the table."""


def load(
    data: Any,
    table: str,
    *,
    uri: str | None = None,
    mode: Mode | None = None,
    on_conflict: OnConflict | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    give_up: float = 60,
    **credentials: Unpack[Credentials],
) -> Loaded:
    """Stores rows in a table and returns when they are committed.

    - `data`: a pandas or polars DataFrame, a pyarrow Table, RecordBatch, RecordBatchReader or Dataset, a dict of columns,
      anything with `__arrow_c_stream__`; all of it is one transaction. A str or Path is what `pintail load` takes
      (a file, a folder, a glob, a URL): each row once, in parts of about a million rows.
    - `table`: `table`, `schema.table` or `catalog.schema.table`.
    - `mode`: `create_append` unless it is said; `append`, `create`, `replace`.
    - `on_conflict`: for tables with a primary key: `error`, `ignore`, `replace`.
    - `key`: makes the load count once: the same rows under the same key are stored one time, however often they are
      sent. With a key, data that can be read again is sent again for `give_up` seconds when the connection breaks or
      the server starts anew. Files need none.
    - `headers`: further headers of the put.
    - `user`, `password`, `token`, `tls_ca`, `tls_cert`, `tls_key`, `insecure`: who asks, and whom they trust.

    Raises Error with gRPC's code; TypeError for data that has no columns; ValueError for arguments that do not go
    together. After an Error with a code nothing is stored; after one with code `UNKNOWN` the rows may be stored: send
    them again under their key, or look first.
    """
    address = Address.of(uri, credentials)
    if isinstance(data, (str, os.PathLike)):
        if key is not None:
            raise ValueError("key= is for rows from memory; files are stored once by their path and content")
        if headers:
            raise ValueError("headers= is for rows from memory; `pintail load` sets its own")
        return _load_files(address, data, table, mode, on_conflict, credentials)
    sent = {"pintail-mode": mode, "pintail-on-conflict": on_conflict, "pintail-idempotency-key": key, **(headers or {})}
    told = [(name.encode(), value.encode()) for name, value in sent.items() if value is not None]
    rows, path = source(data), path_of(table)
    deadline, retries = time.monotonic() + give_up, 0
    while True:
        try:
            return Loaded(table, **_put(address, path, rows, told))
        except Error as error:
            may_repeat = key is not None and rows.can_repeat and error.code in RETRIED
            if not may_repeat or time.monotonic() > deadline:
                raise
        time.sleep(pause_of(retries))
        retries += 1


def _put(address: Address, path: list[str], rows: Source, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """One stream of rows; gives what the server says of it."""
    schema, batches = rows.read()
    with told_as_error():
        client = address.client()
        options = flight.FlightCallOptions(headers=[*headers, *address.login(client)])
        writer, answers = client.do_put(flight.FlightDescriptor.for_path(*path), schema, options)
    try:
        for batch in batches:
            with told_as_error():
                writer.write_batch(batch)
        with told_as_error():
            writer.done_writing()
            told = answers.read()
    except Error:
        # Closing gives the server's refusal, which says more than that writing failed.
        with told_as_error():
            writer.close()
        raise
    except BaseException as error:
        # The source of the rows has failed, or somebody has pressed Ctrl-C. A writer that is closed or dropped ends its
        # stream as if it were whole; only this takes the rows back.
        why = f"the rows of the client ended with {type(error).__name__}"
        with contextlib.suppress(pa.ArrowException, OSError):
            writer.write_metadata(json.dumps({"abort": why}).encode())
            writer.close()
        raise
    with told_as_error():
        writer.close()
        client.close()
    if told is None:
        raise Error("the server ended the stream without an answer")
    answer: dict[str, Any] = json.loads(told.to_pybytes())
    counted = ("rows", "duplicate", "durable", "inserted", "ignored", "replaced", "rejected")
    return {name: answer[name] for name in counted if name in answer}


def _load_files(
    address: Address,
    files: str | os.PathLike[str],
    table: str,
    mode: Mode | None,
    on_conflict: OnConflict | None,
    credentials: Credentials,
) -> Loaded:
    """What `pintail load` does, and what its last line says."""
    command = [binary(), "load", "--table", table]
    if mode is not None:
        command += ["--mode", mode.replace("_", "-")]
    if on_conflict is not None:
        command += ["--on-conflict", on_conflict]
    if credentials.get("insecure"):
        command.append("--insecure")
    environment = {**os.environ, **address.environment(credentials)}
    done = subprocess.run(
        [*command, "--", os.fspath(files)], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        said = done.stderr.strip() or f"pintail load ended with exit code {done.returncode}"
        raise Error(said.removeprefix("pintail: "))
    told = _DONE.search(done.stdout)
    if told is None:
        raise Error(f"the answer of pintail load cannot be read: {done.stdout}{done.stderr}")
    stored, replaced, ignored, rejected = (int(text.replace(",", "")) if text else None for text in told.groups())
    rows = (stored or 0) + (ignored or 0) + (rejected or 0)
    return Loaded(table, rows, rows == 0, None, None, ignored, replaced, rejected)
