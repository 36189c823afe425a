"""A connection through ADBC, which is a DB-API connection that speaks Arrow.

Never: keeps rows; the driver is Arrow's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import adbc_driver_flightsql.dbapi as dbapi
from adbc_driver_flightsql import DatabaseOptions

from ._address import Address, Credentials

if TYPE_CHECKING:
    from typing_extensions import Unpack

# The server sends messages of 1 to 2 MiB, but a message holds one row at least, however large; the driver's own bound
# is 16 MiB. A bound takes no memory.
MESSAGE_BYTES_MAX = 1 << 30


def connect(
    uri: str | None = None,
    *,
    autocommit: bool = True,
    headers: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    **credentials: Unpack[Credentials],
) -> dbapi.Connection:
    """Connects with Arrow's Flight SQL driver and gives a DB-API connection.

    - `uri`: `grpc://host:port` or `grpc+tls://host:port`; PINTAIL_SERVER, or the server of this machine.
    - `autocommit`: every statement by itself; with False they belong to a transaction until `commit` or `rollback`.
    - `headers`: headers of each call, such as `{"pintail-endpoints": "4"}`.
    - `options`: further options of the driver, by their full names; they come before those set here.
    - `user`, `password`, `token`, `tls_ca`, `tls_cert`, `tls_key`, `insecure`: who asks, and whom they trust.

    >>> with connect() as connection, connection.cursor() as cursor:  # doctest: +SKIP
    ...     cursor.execute("SELECT 42").fetch_arrow_table()
    """
    address = Address.of(uri, credentials)
    told = {DatabaseOptions.WITH_MAX_MSG_SIZE.value: str(MESSAGE_BYTES_MAX)}
    if address.user is not None:
        told.update(username=address.user, password=address.password or "")
    if address.token is not None:
        told[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {address.token}"
    for option, pem in (
        (DatabaseOptions.TLS_ROOT_CERTS, address.tls_ca),
        (DatabaseOptions.MTLS_CERT_CHAIN, address.tls_cert),
        (DatabaseOptions.MTLS_PRIVATE_KEY, address.tls_key),
    ):
        if pem is not None:
            told[option.value] = pem.decode()
    for name, value in (headers or {}).items():
        told[f"{DatabaseOptions.RPC_CALL_HEADER_PREFIX.value}{name}"] = value
    return dbapi.connect(address.uri, {**told, **(options or {})}, autocommit=autocommit)
