"""What goes wrong -> exceptions that say what to do next.

Never: drops the server's own words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# What a retry can mend; as the Rust client has it.
RETRIED = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"})

# pyarrow has no class for every code of gRPC; the code stands in its texts, in one of two places.
_TOLD = re.compile(
    r"(?:Flight|gRPC) returned (?P<phrase>[a-z ]+?) error, with message: (?P<text>.*?)"
    r"(?:\.? gRPC client debug context: (?P<code>[A-Z_]+):.*)?$",
    re.DOTALL,
)
_PHRASES = {"unauthorized": "PERMISSION_DENIED", "timeout": "DEADLINE_EXCEEDED"}


class Error(Exception):
    """A refusal or failure.

    `code` is gRPC's code by name, such as `INVALID_ARGUMENT`: docs/reference/errors.md says what each asks for.
    `UNKNOWN` is what broke without an answer of the server.
    """

    def __init__(self, message: str, code: str = "UNKNOWN"):
        super().__init__(message)
        self.code = code


class Fenced(Error):
    """A newer start of this producer has taken over; this one must stop."""

    def __init__(self, message: str):
        super().__init__(message, "ABORTED")


class ServerFailed(Error):
    """A server that was started here has ended, or has not come up; `log` is what it wrote last."""

    def __init__(self, message: str, log: str):
        super().__init__(f"{message}\n{log}".rstrip() if log else message)
        self.log = log


def from_arrow(error: pa.ArrowException | OSError) -> Error:
    """The server's words and code out of what pyarrow makes of them."""
    text = str(error)
    if told := _TOLD.search(text):
        phrase = told["phrase"]
        return Error(told["text"], told["code"] or _PHRASES.get(phrase, phrase.upper().replace(" ", "_")))
    # Without an answer of the server it is this side that has refused: values, types, arguments.
    is_ours = isinstance(error, (ValueError, TypeError, LookupError, NotImplementedError))
    return Error(text, "INVALID_ARGUMENT" if is_ours else "UNKNOWN")
