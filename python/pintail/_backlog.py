"""Numbered batches of a producer, until the server has said that they are durable.

Runs on: the caller's threads and those of the delivery; one lock guards all of it.
Never: keeps more bytes than its bound, changes a batch that has a number, or gives one up unacknowledged.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from ._errors import Error


@dataclass(frozen=True)
class Durable:
    """What the server has said is durable, over the producer's whole life, earlier processes included."""

    seq: int | None = None
    """Highest number; None before the first batch."""
    rows: int = 0
    """Rows up to it."""


@dataclass(frozen=True)
class Lag:
    """How far the server is behind what was sent."""

    batches: int
    """Batches not yet acknowledged."""
    rows: int
    """Their rows."""
    bytes: int
    """Their bytes."""
    age: float
    """Seconds since the oldest of them was sent; 0 when there are none."""
    retries: int
    """Failed attempts since something last got through."""
    last_error: Error | None
    """What the last failed attempt met, until something gets through."""


@dataclass(frozen=True)
class Numbered:
    """A batch with its number."""

    seq: int
    batch: pa.RecordBatch
    bytes: int
    since: float


class Backlog:
    """What is not acknowledged yet, and what the server has said."""

    def __init__(self, bytes_max: int, durable: Durable):
        self._changed = threading.Condition()
        self._bytes_max = bytes_max
        self._queue: deque[Numbered] = deque()
        self._bytes = 0
        self.durable = durable
        self.next_seq = 0 if durable.seq is None else durable.seq + 1
        self.failed: Error | None = None
        self.closing = False
        self.given_up = False
        self._retries = 0
        self._last_error: Error | None = None

    def push(self, batch: pa.RecordBatch, timeout: float | None) -> int:
        """Numbers a batch; waits while the buffer is full."""
        size = batch.nbytes

        def has_room() -> bool:
            return not self._queue or self._bytes + size <= self._bytes_max

        with self._changed:
            if not self._changed.wait_for(lambda: self._is_over() or has_room(), timeout):
                raise TimeoutError(f"the buffer of {self._bytes_max:,} bytes was full for {timeout:g} s; {self._told()}")
            self._raise_if_over()
            seq = self.next_seq
            self.next_seq += 1
            self._queue.append(Numbered(seq, batch, size, time.monotonic()))
            self._bytes += size
            self._changed.notify_all()
            return seq

    def wait_until_durable(self, timeout: float | None) -> Durable:
        """Waits for everything that has a number now."""
        with self._changed:
            until = self.next_seq

            def is_done() -> bool:
                return not self._queue or self._queue[0].seq >= until

            if not self._changed.wait_for(lambda: is_done() or self._is_over(), timeout):
                raise TimeoutError(f"not everything was acknowledged within {timeout:g} s; {self._told()}")
            if not is_done():
                self._raise_if_over()
            return self.durable

    def acknowledge(self, seq: int | None) -> None:
        """Takes note of the highest number that is durable; gives up the batches up to it.

        Raises Error for a number that was never sent, or one below what was acknowledged before: both are final.
        """
        with self._changed:
            before = self.durable.seq
            if seq is None and before is None:
                return
            if seq is None or (before is not None and seq < before):
                raise Error(
                    f"the server has lost batches: {_number(before)} was acknowledged before, {_number(seq)} is what it has "
                    "now; was another database put in its place, or this producer forgotten while more than "
                    "ingest.ledger_producers others wrote?",
                    "FAILED_PRECONDITION",
                )
            if seq >= self.next_seq:
                raise Error(
                    f"the server has batch {seq} and this producer has sent none above {_number(self.next_seq - 1)}; is "
                    "another process running with the same producer and epoch?",
                    "FAILED_PRECONDITION",
                )
            rows = self.durable.rows
            while self._queue and self._queue[0].seq <= seq:
                first = self._queue.popleft()
                self._bytes -= first.bytes
                rows += first.batch.num_rows
            if seq != before:
                self._retries, self._last_error = 0, None
            self.durable = Durable(seq, rows)
            self._changed.notify_all()

    def next_from(self, seq: int, is_over: Callable[[], bool]) -> Numbered | None:
        """Waits for the first batch with this number or a higher one; None when there will be none for this stream."""
        with self._changed:
            found: Numbered | None = None

            def is_there() -> bool:
                nonlocal found
                if self._queue:
                    at = max(seq - self._queue[0].seq, 0)
                    found = self._queue[at] if at < len(self._queue) else None
                return found is not None or self.closing or self._is_over() or is_over()

            self._changed.wait_for(is_there)
            return None if self._is_over() or is_over() else found

    def wait_for_work(self) -> bool:
        """Waits until there is something to send; False when there will be nothing more."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self.closing or self._is_over())
            return bool(self._queue) and not self._is_over()

    def retry_after(self, error: Error, pause: Callable[[int], float]) -> None:
        """Waits before the next attempt, unless the producer is given up meanwhile."""
        with self._changed:
            self._last_error = error
            seconds = pause(self._retries)
            self._retries += 1
            self._changed.wait_for(self._is_over, seconds)

    def fail(self, error: Error) -> None:
        """What no retry changes; everybody who waits hears of it."""
        with self._changed:
            self.failed = self.failed or error
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will be sent."""
        with self._changed:
            self.closing = True
            self._changed.notify_all()

    def give_up(self) -> None:
        """What is not acknowledged is not waited for."""
        with self._changed:
            self.given_up = self.closing = True
            self._changed.notify_all()

    def notify(self) -> None:
        """Wakes those that wait, to look at what they wait for."""
        with self._changed:
            self._changed.notify_all()

    @property
    def is_empty(self) -> bool:
        """Whether everything sent is acknowledged."""
        return not self._queue

    @property
    def lag(self) -> Lag:
        """What is not acknowledged, and why."""
        with self._changed:
            age = time.monotonic() - self._queue[0].since if self._queue else 0.0
            rows = sum(one.batch.num_rows for one in self._queue)
            return Lag(len(self._queue), rows, self._bytes, age, self._retries, self.failed or self._last_error)

    def _is_over(self) -> bool:
        return self.failed is not None or self.given_up

    def _raise_if_over(self) -> None:
        if self.failed is not None:
            raise self.failed
        if self.given_up:
            raise Error("the producer is closed", "FAILED_PRECONDITION")

    def _told(self) -> str:
        return f"{len(self._queue)} batches wait, the last attempt: {self._last_error or 'none has failed'}"


def _number(seq: int | None) -> str:
    return "none" if seq is None or seq < 0 else f"batch {seq}"
