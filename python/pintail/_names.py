"""The name of a table, taken apart as the program `pintail` does.

Never: changes the case of a name, but in the ledger's spelling.
"""

from __future__ import annotations


def path_of(name: str) -> list[str]:
    """`table`, `schema.table` or `catalog.schema.table` as a list; a part in double quotes may have dots in it.

    Raises ValueError for a name without a table.
    """
    parts, quoted, at = [""], False, 0
    while at < len(name):
        letter = name[at]
        if letter == '"' and quoted and name[at + 1 : at + 2] == '"':
            parts[-1] += '"'
            at += 1
        elif letter == '"':
            quoted = not quoted
        elif letter == "." and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
        at += 1
    if not all(parts) or len(parts) > 3:
        raise ValueError(f'expected table, schema.table or catalog.schema.table, found "{name}"')
    return parts


def in_ledger(path: list[str]) -> str:
    """`schema.table` in lower case, as the server's records of producers spell it."""
    schema, table = ["main", *path][-2:]
    return f"{_quoted(schema)}.{_quoted(table)}".lower()


def _quoted(part: str) -> str:
    if "." not in part and '"' not in part:
        return part
    doubled = part.replace('"', '""')
    return f'"{doubled}"'
