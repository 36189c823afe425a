"""Every console and Python block of README.md and docs/ runs, page by page, in an empty folder against the program.

- A ```console block has commands behind `$ `; the lines below a command are what it prints, `…` stands for anything.
  `pintail serve` goes on in the background until a line `^C`. A command that fails ends with a line `exit code N`.
- ```python blocks of a page share their names. A ```text block right below one is what it prints.
- `<!-- file: NAME -->` above a block writes the block to that file first.
- `<!-- from: FILE -->` above a block says that it is a part of that file of the repository, word for word.
- `<!-- not run: REASON -->` above a block leaves it out.
"""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as flight
import pytest
from conftest import REPOSITORY, binary

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
MARK = re.compile(r"^<!-- (file|from|not run): (.+?) -->$")
FENCE = re.compile(r"^( *)```(\w*)$")
SECONDS = 120
# Blocks that are not run need a reason each, and stay few.
NOT_RUN_MAX = 5


@dataclass
class Block:
    """A fenced block of a page, with the mark above it and whether it stands right below another block."""

    language: str
    text: str
    line: int
    mark: tuple[str, str] | None
    follows: bool


def blocks(page: Path) -> list[Block]:
    found, mark, follows = [], None, False
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        if fence := FENCE.match(line):
            inside = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                inside.append(inner)
            text = textwrap.dedent("\n".join(inside)) + "\n"
            found.append(Block(fence[2], text, number, mark, follows))
            mark, follows = None, True
        elif marked := MARK.match(line.strip()):
            mark = (marked[1], marked[2])
        elif line.strip():
            assert mark is None, f"{page}:{number}: a mark needs a block below it"
            follows = False
    return found


def matches(expected: str, found: str) -> bool:
    """Line by line without spaces at the ends; `…` stands for anything, also for several lines when it stands alone."""
    pattern = ""
    for line in expected.rstrip("\n").splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ \t]*\n"
    return re.fullmatch(pattern, found.rstrip("\n") + "\n" if found.strip() else "") is not None


def plain(text: str) -> str:
    """Without the spaces that lines begin with."""
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Reader:
    """Someone who reads one page from top to bottom and does what it says."""

    def __init__(self, page: Path, folder: Path):
        self.page, self.folder = page, folder
        self.server, self.server_output, self.names = None, [], {"__name__": "__main__"}
        flight_port, http_port = free_ports(2)
        # The page's ports may be taken on this machine, so every page has its own.
        self.ports = {"8815": str(flight_port), "8816": str(http_port)}
        path = [str(Path(sys.executable).parent), str(Path(binary()).parent), os.environ["PATH"]]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PINTAIL_")},
            "PATH": ":".join(path),
            "PINTAIL_SERVER": f"grpc://127.0.0.1:{flight_port}",
            "PINTAIL_SERVER__LISTEN": f"127.0.0.1:{flight_port}",
            "PINTAIL_SERVER__HTTP": f"127.0.0.1:{http_port}",
        }

    def real(self, text: str) -> str:
        for shown, port in self.ports.items():
            text = re.sub(rf"\b{shown}\b", port, text)
        return text

    def shown(self, text: str) -> str:
        for shown, port in self.ports.items():
            text = re.sub(rf"\b{port}\b", shown, text)
        return text

    def check(self, block: Block, what: str, expected: str, found: str):
        found = self.shown(found)
        assert matches(expected, found), (
            f"{self.page.relative_to(REPOSITORY)}:{block.line}: {what}\n--- the page says\n{expected}--- it printed\n{found}"
        )

    def read(self):
        pending = None  # what the last Python block has printed
        for block in blocks(self.page):
            kind, value = block.mark or (None, None)
            if kind == "from":
                assert plain(block.text) in plain((REPOSITORY / value).read_text()), f"{self.page}:{block.line} is no part of {value}"
            elif kind == "file":
                target = self.folder / value
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(self.real(block.text))
            elif kind == "not run":
                pass
            elif block.language == "console":
                self.console(block)
            elif block.language == "python":
                pending = self.python(block)
                continue
            elif block.language == "text" and block.follows and pending is not None:
                self.check(block, "the Python block above", block.text, pending)
            pending = None

    def python(self, block: Block) -> str:
        output = io.StringIO()
        code = compile("\n" * block.line + self.real(block.text), str(self.page), "exec")
        with contextlib.redirect_stdout(output):
            exec(code, self.names)
        return output.getvalue()

    def console(self, block: Block):
        commands, expected = [], {}
        for line in block.text.splitlines():
            if line.startswith("$ ") or line == "^C":
                commands.append(line.removeprefix("$ "))
                expected[len(commands) - 1] = ""
            else:
                assert commands, f"{self.page}:{block.line}: a console block begins with `$ `"
                expected[len(commands) - 1] += line + "\n"
        for number, command in enumerate(commands):
            if command == "^C":
                self.stop(signal.SIGINT)
                continue
            command = command.split("    # ")[0]
            if re.match(r"pintail serve\b", command):
                self.check(block, command, expected[number], self.serve(self.real(command)))
                continue
            done = subprocess.run(
                ["bash", "-c", self.real(command)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS,
            )
            found = done.stdout + (f"exit code {done.returncode}\n" if done.returncode else "")
            self.check(block, command, expected[number], found)

    def serve(self, command: str) -> str:
        """Starts a server; gives what it prints on standard output: its address, or why it does not start."""
        assert self.server is None, "a server of this page runs already; a line ^C ends it"
        self.server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        log = []
        # The log is read all the time: a full pipe would stop the server.
        reader = threading.Thread(target=lambda pipe: log.extend(pipe), args=[self.server.stderr], daemon=True)
        reader.start()
        line = self.server.stdout.readline()
        if line:
            return line
        code = self.server.wait(SECONDS)
        self.server = None
        reader.join(10)
        return "".join(log) + f"exit code {code}\n"

    def stop(self, how: signal.Signals):
        if self.server:
            self.server.send_signal(how)
            self.server.wait(SECONDS)
            self.server.stdout.close()
        self.server = None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader = Reader(page, tmp_path)
    try:
        reader.read()
    finally:
        reader.stop(signal.SIGKILL)


def test_few_blocks_are_not_run():
    skipped = [(page.name, block.mark[1]) for page in PAGES for block in blocks(page) if block.mark and block.mark[0] == "not run"]
    assert len(skipped) <= NOT_RUN_MAX, skipped


def test_an_output_that_differs_is_told_apart():
    assert matches("a … c\n…\nlast\n", "a b c\nx\ny\nlast\n")
    assert not matches("a … c\n", "a b d\n") and not matches("a\n", "a\nb\n") and not matches("a\n", "")


def test_actions_page_names_what_the_server_has(server):
    page = (REPOSITORY / "docs/reference/actions.md").read_text()
    told = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    assert told == {action.type for action in server.client().list_actions()}


def test_headers_page_names_what_the_server_has(server):
    """An unknown header is refused with the names of all that may be session options."""
    page = (REPOSITORY / "docs/reference/headers.md").read_text()
    told = set(re.findall(r"^\| `(pintail-[\w-]+)`", page, re.MULTILINE))
    options = flight.FlightCallOptions(headers=[(b"pintail-zzzzzzzzzzzzzzzzzzzzzzzz", b"1")])
    with pytest.raises(pa.ArrowException) as error:
        server.client().do_get(flight.Ticket(b"SELECT 1"), options).read_all()
    known = re.search(r"this server has ((?:pintail-[\w-]+(?:, )?)+)", str(error.value))
    assert told == {*known[1].split(", "), "pintail-sources"}


def test_metrics_page_names_what_the_server_has(server):
    """Names in the page stand in the code; what moves only now and then is not in every answer of the server."""
    page = (REPOSITORY / "docs/operating/monitoring.md").read_text()
    code = "".join(path.read_text() for path in (REPOSITORY / "src").rglob("metrics.rs"))
    told = set(re.findall(r"`(pintail_\w+?)(?:\{.*?\})?`", page))
    assert told and all(f'"{name}"' in code for name in told), told


def test_status_answers_what_the_page_says(server):
    answer = next(server.client().do_action(flight.Action("pintail.status", b"")))
    page = (REPOSITORY / "docs/reference/actions.md").read_text()
    for name in json.loads(answer.body.to_pybytes()):
        assert f"`{name}`" in page, f"docs/reference/actions.md does not speak of {name} in the answer of pintail.status"
