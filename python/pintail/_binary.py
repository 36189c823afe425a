"""Where the program `pintail` is: the one this package brought, unless PINTAIL_BIN names another.

Never: runs anything, or takes a file that cannot be run.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path


def binary() -> str:
    """The path of the program `pintail`.

    PINTAIL_BIN comes first, because somebody has set it on purpose; then the program that was installed with this
    package; then the one on PATH.

    Raises FileNotFoundError when there is none, or when PINTAIL_BIN names no program.
    """
    named = os.environ.get("PINTAIL_BIN")
    if named:
        if not _can_run(Path(named)):
            raise FileNotFoundError(f"PINTAIL_BIN names no program: {named}")
        return named
    # `pip install --user` and `--target` put scripts elsewhere than the interpreter's own folder.
    folders = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", scheme=_user_scheme())]
    folders.append(str(Path(__file__).resolve().parent.parent / "bin"))
    for folder in folders:
        program = Path(folder) / "pintail"
        if _can_run(program):
            return str(program)
    found = shutil.which("pintail")
    if found is None:
        looked = ", ".join(folders)
        raise FileNotFoundError(
            f"the program `pintail` is not there: not in {looked}, nor on PATH; install the wheel, or set PINTAIL_BIN"
        )
    return found


def _user_scheme() -> str:
    return sysconfig.get_preferred_scheme("user")


def _can_run(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
