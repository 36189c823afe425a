"""What a maker leaves: files or folders, and beside each a line of cases.jsonl that says what is in it."""

import importlib.metadata
import json
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import compare  # noqa: E402


class Out:
    """A folder of one writer's files. `add` takes what the file holds: an Arrow table, or columns of Python values."""

    def __init__(self, package: str, version: str | None = None):
        self.folder = Path(sys.argv[1])
        self.writer = f"{package} {version or importlib.metadata.version(package)}"
        self.lines = open(self.folder / "cases.jsonl", "a", encoding="utf-8")
        self.package = package

    def path(self, name: str) -> Path:
        place = self.folder / self.package / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def add(self, path, holds=None, *, refuse=None, partitions=(), note="", read=None, forms=None):
        """`refuse` is a pattern that a refusal must match. Without `holds` the file must be refused: it is no data for a
        loader, or cannot be read at all. `read` says in SQL what to compare of a column that Arrow has no type
        for. `forms` is what `holds` would become."""
        columns = forms if holds is None else compare.table(holds)
        case = dict(writer=self.writer, path=str(path), columns=columns, refuse=refuse, partitions=list(partitions), note=note, read=read or {})
        self.lines.write(json.dumps(case) + "\n")
        self.lines.flush()

    def try_to(self, name: str, make):
        """Run one case; what its library cannot write is told on standard error, and is no case."""
        path = self.path(name)
        try:
            make(path)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"not written: {self.writer} {name}: {type(error).__name__}: {str(error)[:200]} ({where.name})", file=sys.stderr)
