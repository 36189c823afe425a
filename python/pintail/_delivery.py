"""Numbered batches of a producer -> one put stream after another, until each is acknowledged.

Runs on: one thread for each producer, and one that reads the answers of its stream.
Never: sends a batch before those with lower numbers, retries what the server has refused for good, or lets a second
stream begin before the server has told where the first one got to.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from ._address import Address
from ._backlog import Backlog, Durable
from ._errors import RETRIED, Error, Fenced, from_arrow
from ._names import in_ledger

# Pauses between attempts: the first, and the longest, in seconds.
PAUSE, PAUSE_MAX = 0.05, 5.0


@dataclass(frozen=True)
class Identity:
    """Whose rows go where."""

    producer: str
    epoch: int
    path: list[str]
    on_conflict: str | None


def ask(client: flight.FlightClient, headers: list[tuple[bytes, bytes]], producer: str, path: list[str]) -> tuple[int, Durable]:
    """The newest epoch that the server has seen of a producer, and what is durable in the table."""
    body = json.dumps({"producer": producer}).encode()
    with told_as_error():
        answers = client.do_action(flight.Action("pintail.ingest_status", body), flight.FlightCallOptions(headers=headers))
        status = json.loads(next(iter(answers)).body.to_pybytes())
    line = status["tables"].get(in_ledger(path))
    return status["epoch"], Durable(line["seq"], line["rows"]) if line else Durable()


@contextlib.contextmanager
def told_as_error() -> Iterator[None]:
    """Turns what pyarrow raises into an Error."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise from_arrow(error) from error


def until_given_up(attempt: Callable[[], Any], give_up: float) -> Any:
    """Tries again what a retry can mend, for `give_up` seconds."""
    since, retries = time.monotonic(), 0
    while True:
        try:
            return attempt()
        except Error as error:
            if error.code not in RETRIED or isinstance(error, Fenced):
                raise
            if time.monotonic() - since >= give_up:
                raise _gave_up(give_up, error) from error
        time.sleep(pause_of(retries))
        retries += 1


def pause_of(retries: int) -> float:
    """The pause before retry number `retries`, varied so that many clients do not come back at once."""
    return min(PAUSE * float(1 << min(retries, 16)), PAUSE_MAX) * (0.5 + random.random())


def _gave_up(give_up: float, last: Error) -> Error:
    return Error(f"gave up: nothing got through for {give_up:g} s; the last attempt: {last}", "UNAVAILABLE")


class Delivery:
    """The sending side of a producer."""

    def __init__(self, address: Address, identity: Identity, give_up: float):
        self._address, self._identity, self._give_up = address, identity, give_up
        self._client: flight.FlightClient | None = None
        self._login: list[tuple[bytes, bytes]] = []
        self._has_begun = False

    def connect(self, schema: pa.Schema) -> Durable:
        """Connects, shuts older epochs out, and asks where the producer stands once nothing of it is under way."""
        self.let_go()
        with told_as_error():
            self._client = self._address.client()
            self._login = self._address.login(self._client)
        identity, refused = self._identity, None
        # A stream without rows: the server refuses it when a newer epoch is known, shuts older ones out, and answers only
        # when the stream before it has ended.
        try:
            with told_as_error():
                writer, answers = self._put(schema, b"stream")
                with writer:
                    writer.done_writing()
                    answers.read()
        except Error as error:
            if error.code not in RETRIED:
                raise
            refused = error
        epoch, durable = ask(self._client, self._login, identity.producer, identity.path)
        if epoch > identity.epoch:
            raise Fenced(
                f'producer "{identity.producer}" is fenced: epoch {identity.epoch} is older than {epoch}, which has been '
                "seen; another instance has taken over"
            )
        if refused is not None:
            raise refused
        return durable

    def run(self, backlog: Backlog, schema: Callable[[], pa.Schema]) -> None:
        """Sends until the producer is closed, or fails for good."""
        failing: float | None = None
        while backlog.wait_for_work():
            before = backlog.durable
            try:
                self._attempt(backlog, schema())
                continue
            except Error as error:
                failure = error
            except Exception as error:  # whoever waits for this thread has to hear of it
                backlog.fail(Error(f"the delivery failed: {type(error).__name__}: {error}", "INTERNAL"))
                break
            self.let_go()
            now = time.monotonic()
            if failing is None or backlog.durable != before:
                failing = now
            may_retry = failure.code in RETRIED and not isinstance(failure, Fenced)
            if may_retry and backlog.is_empty:
                # A quiet stream was ended, for example by the server's idle timeout; the next batch opens another.
                failing = None
            elif not may_retry:
                backlog.fail(failure)
            elif now - failing >= self._give_up:
                backlog.fail(_gave_up(self._give_up, failure))
            else:
                backlog.retry_after(failure, pause_of)
        self.let_go()

    def begin(self, schema: pa.Schema) -> Durable:
        """The first connection, with retries: where the producer resumes."""
        durable: Durable = until_given_up(lambda: self.connect(schema), self._give_up)
        self._has_begun = True
        return durable

    def _attempt(self, backlog: Backlog, schema: pa.Schema) -> None:
        """One stream; returns when it has ended with nothing left to send."""
        if self._client is None:
            durable = self.connect(schema)
            if not self._has_begun and durable != backlog.durable:
                # The caller has begun where an earlier process seemed to be; the numbers would stand for other rows.
                raise Error(
                    f'producer "{self._identity.producer}": an earlier start of it has stored more batches since this one '
                    "was opened; open it again and go on from there (or pass schema=, which waits for that)",
                    "FAILED_PRECONDITION",
                )
            self._has_begun = True
            backlog.acknowledge(durable.seq)
        with told_as_error():
            writer, answers = self._put(schema, b"progress")
        ended = threading.Event()
        trouble: list[Error] = []

        def read() -> None:
            # Each answer covers every batch up to its number; the stream ends with None.
            try:
                while (answer := answers.read()) is not None:
                    backlog.acknowledge(json.loads(answer.to_pybytes()).get("seq"))
            except Error as error:
                trouble.append(error)
            except (pa.ArrowException, OSError, ValueError):
                pass  # closing the writer says the same, and better
            ended.set()
            backlog.notify()

        reader = threading.Thread(target=read, name="pintail-answers", daemon=True)
        reader.start()
        try:
            with told_as_error():
                try:
                    seq = 0
                    while (numbered := backlog.next_from(seq, ended.is_set)) is not None:
                        writer.write_with_metadata(numbered.batch, json.dumps({"seq": numbered.seq}).encode())
                        seq = numbered.seq + 1
                finally:
                    # The end of what was sent. Every batch has its number, so nothing is stored that is not meant to be.
                    with contextlib.suppress(pa.ArrowException, OSError):
                        writer.done_writing()
                    reader.join()
                    # Gives the server's refusal, if there is one.
                    writer.close()
        except Error as error:
            # What its own side has found wrong with the answers is the reason for the rest.
            raise (trouble[0] if trouble else error) from error
        if trouble:
            raise trouble[0]
        if not backlog.is_empty and not backlog.given_up:
            raise Error("the server ended the stream before its end", "UNAVAILABLE")

    def _put(self, schema: pa.Schema, commit: bytes) -> tuple[flight.FlightStreamWriter, flight.FlightMetadataReader]:
        identity = self._identity
        assert self._client is not None
        headers = [
            (b"pintail-producer", identity.producer.encode()),
            (b"pintail-epoch", str(identity.epoch).encode()),
            (b"pintail-commit", commit),
            *self._login,
        ]
        if identity.on_conflict is not None:
            headers.append((b"pintail-on-conflict", identity.on_conflict.encode()))
        descriptor = flight.FlightDescriptor.for_path(*identity.path)
        writer, answers = self._client.do_put(descriptor, schema, flight.FlightCallOptions(headers=headers))
        return writer, answers

    def let_go(self) -> None:
        """Gives the connection up."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(pa.ArrowException, OSError):
                client.close()
