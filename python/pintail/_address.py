"""Where a server is, who asks, and whom they trust -> what clients of Flight and ADBC take.

Without arguments it is what the program `pintail` would take: PINTAIL_SERVER, PINTAIL_USER and the others.

Never: sends a password or token over a connection that others can read, unless it stays on this machine.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pyarrow.flight as flight

DEFAULT_SERVER = "grpc://127.0.0.1:8815"


class Credentials(TypedDict, total=False):
    """Who asks, and whom they trust. What is left out comes from the environment."""

    user: str | None
    """Name of the user, with `password`; PINTAIL_USER."""
    password: str | None
    """The user's password; PINTAIL_PASSWORD."""
    token: str | None
    """API token or JSON web token, in the place of user and password; PINTAIL_TOKEN."""
    tls_ca: str | os.PathLike[str] | None
    """File with the certificate (PEM) of who signed the server's; PINTAIL_TLS_CA."""
    tls_cert: str | os.PathLike[str] | None
    """File with the client's own certificate (PEM); PINTAIL_TLS_CERT."""
    tls_key: str | os.PathLike[str] | None
    """File with the private key (PEM) of `tls_cert`; PINTAIL_TLS_KEY."""
    insecure: bool
    """Send credentials to another machine in plain text."""


@dataclass(frozen=True)
class Address:
    """A server, and who asks it."""

    uri: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tls_ca: bytes | None = field(default=None, repr=False)
    tls_cert: bytes | None = field(default=None, repr=False)
    tls_key: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, uri: str | None, credentials: Credentials) -> Address:
        """Settles what is said with what the environment says.

        Raises ValueError for an address that cannot be used, for both a user and a token, and for credentials that
        everybody on the way could read; OSError for a file that cannot be read.
        """
        unknown = set(credentials) - set(Credentials.__annotations__)
        if unknown:
            raise TypeError(f"unknown arguments: {', '.join(sorted(unknown))}")
        uri = uri or os.environ.get("PINTAIL_SERVER") or DEFAULT_SERVER
        if "://" not in uri:
            uri = f"grpc://{uri}"
        parts = urlsplit(uri)
        if parts.scheme not in ("grpc", "grpc+tcp", "grpc+tls") or not parts.hostname or not parts.port:
            raise ValueError(f'expected a server as grpc://host:port or grpc+tls://host:port, found "{uri}"')
        user, password, token = credentials.get("user"), credentials.get("password"), credentials.get("token")
        if user is None and token is None:
            # Credentials come from one place: a token of the environment beside a user of the caller says two things.
            user, token = os.environ.get("PINTAIL_USER") or None, os.environ.get("PINTAIL_TOKEN") or None
        if user is not None and token is not None:
            raise ValueError("expected a user or a token, found both")
        if user is not None:
            password = password if password is not None else os.environ.get("PINTAIL_PASSWORD")
            if password is None:
                raise ValueError(f'the password of user "{user}" is missing; pass password=, or set PINTAIL_PASSWORD')
        is_secret = parts.scheme == "grpc+tls"
        if (user or token) and not is_secret and not credentials.get("insecure") and not _is_local(parts.hostname):
            raise ValueError(
                f"{uri} is not encrypted, and everybody on the way could read the credentials; use grpc+tls:// "
                "(or pass insecure=True)"
            )
        files = [_read(credentials, name) for name in ("tls_ca", "tls_cert", "tls_key")]
        if (files[1] is None) != (files[2] is None):
            raise ValueError("tls_cert and tls_key belong together; one of them is missing")
        return cls(uri, user, password, token, *files)

    def client(self) -> flight.FlightClient:
        """A client of pyarrow; it connects with its first call."""
        import pyarrow.flight as flight

        # A peer that has vanished without closing its connection is noticed, also in the middle of a call.
        keep_alive = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 20_000)]
        options: dict[str, object] = {"generic_options": keep_alive}
        if self.tls_ca is not None:
            options["tls_root_certs"] = self.tls_ca
        if self.tls_cert is not None:
            options.update(cert_chain=self.tls_cert, private_key=self.tls_key)
        return flight.FlightClient(self.uri, **options)

    def login(self, client: flight.FlightClient) -> list[tuple[bytes, bytes]]:
        """The headers that say who asks; a password is exchanged for a token that lasts a while."""
        if self.token is not None:
            return [(b"authorization", f"Bearer {self.token}".encode())]
        if self.user is not None:
            name, value = client.authenticate_basic_token(self.user, self.password or "")
            return [(name, value)]
        return []

    def environment(self, credentials: Credentials) -> dict[str, str]:
        """The same for the program `pintail`, which reads certificates from their files."""
        # An empty variable says nothing: the program must not take one user from here and a token from there.
        told = {"PINTAIL_SERVER": self.uri}
        for name, value in (("USER", self.user), ("PASSWORD", self.password), ("TOKEN", self.token)):
            told[f"PINTAIL_{name}"] = value or ""
        for name in ("tls_ca", "tls_cert", "tls_key"):
            if file := credentials.get(name):
                told[f"PINTAIL_{name.upper()}"] = str(file)
        return told


def _read(credentials: Credentials, name: str) -> bytes | None:
    said = credentials.get(name) or os.environ.get(f"PINTAIL_{name.upper()}")
    return Path(str(said)).read_bytes() if said else None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
