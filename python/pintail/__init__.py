"""Pintail from Python: a server for tests and notebooks, connections, exactly-once producers, loads.

>>> import pintail
>>> with pintail.Server() as server:  # doctest: +SKIP
...     pintail.load({"n": [1, 2, 3]}, "numbers", uri=server.uri)
...     with server.connect() as connection, connection.cursor() as cursor:
...         cursor.execute("SELECT sum(n) FROM numbers").fetchone()
Loaded(table='numbers', rows=3, duplicate=False, durable=True, inserted=None, ignored=None, replaced=None, rejected=None)
(6,)

What needs pyarrow or ADBC is imported when it is first used, so that `import pintail` and the command line start at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._binary import binary
from ._errors import Error, Fenced, ServerFailed

if TYPE_CHECKING:
    from ._connect import connect
    from ._load import Loaded, load
    from ._producer import Durable, Lag, Producer
    from ._server import Server

_LATER = {
    "connect": "._connect",
    "load": "._load",
    "Loaded": "._load",
    "Producer": "._producer",
    "Durable": "._producer",
    "Lag": "._producer",
    "Server": "._server",
}

__all__ = [
    "Durable",
    "Error",
    "Fenced",
    "Lag",
    "Loaded",
    "Producer",
    "Server",
    "ServerFailed",
    "binary",
    "connect",
    "load",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("pintail")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LATER[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
