"""Rows of an unreliable world -> numbered batches, each stored once, in order.

Runs on: the caller's threads, and two threads of its own.
Never: gives rows up before the server has said that they are durable, or sends other rows under a number that was used.
"""

from __future__ import annotations

import atexit
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ._address import Address, Credentials
from ._backlog import Backlog, Durable, Lag
from ._batches import one_batch
from ._delivery import Delivery, Identity, ask, told_as_error, until_given_up
from ._errors import Fenced
from ._names import path_of

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._load import OnConflict

__all__ = ["Durable", "Lag", "Producer"]


class Producer:
    """Sends batches into one table under a producer's name, so that each is stored once whatever breaks on the way.

    Every batch gets a number in the order of `send`. It is kept until the server has acknowledged it, and sent again, the
    same rows under the same number, after a broken connection or a restart of the server. A process that starts again
    goes on from `next_seq`: batch n has to be made of the same place in its source in every run.

    >>> with Producer("grpc://127.0.0.1:8815", "readings", producer="pump-7") as producer:  # doctest: +SKIP
    ...     for n in range(producer.next_seq, 1000):
    ...         producer.send(batch(n))

    - `uri`: `grpc://host:port` or `grpc+tls://host:port`; None for PINTAIL_SERVER, or the server of this machine.
    - `table`: `table`, `schema.table` or `catalog.schema.table`; it is made when it does not exist and the server makes
      tables.
    - `producer`: a name that stays the same over restarts.
    - `epoch`: a number that grows with each start; the newest shuts older ones out. Without one it is above all that the
      server has seen, and above those that earlier starts took from the clock.
    - `schema`: the columns, if they are known before the first batch. With them an older start of this producer is shut out
      before this returns; else before the first batch is stored.
    - `on_conflict`: for tables with a primary key: `error`, `ignore`, `replace`.
    - `buffer_bytes`: bytes kept until they are acknowledged; `send` waits above it.
    - `give_up`: seconds in which nothing may get through before the producer fails.
    - `user`, `password`, `token`, `tls_ca`, `tls_cert`, `tls_key`, `insecure`: who asks, and whom they trust.

    Raises Fenced when a newer start is at work, and Error when no server has answered for `give_up`. Methods may be called
    from several threads.
    """

    def __init__(
        self,
        uri: str | None,
        table: str,
        *,
        producer: str,
        epoch: int | None = None,
        schema: pa.Schema | None = None,
        on_conflict: OnConflict | None = None,
        buffer_bytes: int = 64 << 20,
        give_up: float = 300,
        **credentials: Unpack[Credentials],
    ):
        if buffer_bytes <= 0:
            raise ValueError(f"buffer_bytes: expected a number above 0, found {buffer_bytes}")
        address, path = Address.of(uri, credentials), path_of(table)
        newest, durable = until_given_up(lambda: _look(address, producer, path), give_up)
        if epoch is None:
            # The clock tells two starts at once apart; the server's number is above it when that clock ran ahead.
            epoch = max(newest + 1, time.time_ns() // 1000)
        elif epoch < newest:
            raise Fenced(
                f'producer "{producer}" is fenced: epoch {epoch} is older than {newest}, which has been seen; another '
                "instance has taken over"
            )
        self.name, self.table, self.epoch = producer, table, epoch
        self._schema = schema
        self._first_batch = threading.Lock()
        self._delivery = Delivery(address, Identity(producer, epoch, path, on_conflict), give_up)
        if schema is not None:
            durable = self._delivery.begin(schema)
        self._backlog = Backlog(buffer_bytes, durable)
        self._thread = threading.Thread(target=self._deliver, name=f"pintail-producer-{producer}", daemon=True)
        self._thread.start()
        atexit.register(self.abandon)

    def _deliver(self) -> None:
        self._delivery.run(self._backlog, self._known_schema)

    def _known_schema(self) -> pa.Schema:
        assert self._schema is not None, "there is a batch to send, and with it a schema"
        return self._schema

    @property
    def next_seq(self) -> int:
        """The number that the next batch gets; after a start, where to go on."""
        return self._backlog.next_seq

    @property
    def durable(self) -> Durable:
        """What the server has acknowledged."""
        return self._backlog.durable

    @property
    def lag(self) -> Lag:
        """What is not acknowledged, and why."""
        return self._backlog.lag

    def send(self, data: Any, *, timeout: float | None = None) -> int:
        """Takes rows over as one batch and gives its number; waits while the buffer is full.

        `data` is a pyarrow RecordBatch, or what fits into one: a Table, a DataFrame, a dict of columns. It is stored whole
        or not at all.

        Raises ValueError for other columns than the first batch had; TimeoutError after `timeout` seconds, the batch is not
        taken over then; else what made the producer fail, which is final.
        """
        batch = one_batch(data)
        with self._first_batch:
            if self._schema is None:
                self._schema = batch.schema
        if not batch.schema.equals(self._schema):
            raise ValueError(
                f'producer "{self.name}": expected the columns {_columns(self._schema)}, found {_columns(batch.schema)}'
            )
        return self._backlog.push(batch, timeout)

    def flush(self, timeout: float | None = None) -> Durable:
        """Waits until everything sent before is durable.

        Raises TimeoutError after `timeout` seconds; what made the producer fail, with `lag` as it was then.
        """
        return self._backlog.wait_until_durable(timeout)

    def close(self, timeout: float | None = None) -> Durable:
        """Waits until everything is durable and ends the stream. Raises as `flush` does; it is closed all the same."""
        try:
            durable = self.flush(timeout)
            self._backlog.close()
            self._thread.join(timeout)
            return durable
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes without waiting; what is not acknowledged may or may not be stored, and is sent again by the next start."""
        self._backlog.give_up()
        atexit.unregister(self.abandon)
        # The thread ends with the call that it is in; a server that is there ends that.
        self._thread.join(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def __repr__(self) -> str:
        return f"<pintail.Producer {self.name!r} into {self.table}, durable up to {self.durable.seq}>"


def _look(address: Address, producer: str, path: list[str]) -> tuple[int, Durable]:
    with told_as_error():
        client = address.client()
        headers = address.login(client)
    try:
        return ask(client, headers, producer, path)
    finally:
        client.close()


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
