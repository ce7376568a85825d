"""A recorded terminal: the client is set up, clones fast and restores; ``docs/session.cast`` and ``docs/session.svg``.

What is typed is run, against a server and an upstream of its own, and what is printed is recorded as it comes.
"""

import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import treq
from rich.console import Console
from rich.text import Text
from twisted.internet.threads import deferToThread

from scripts.picturing.dashboard import DOCS
from tests.functional.gitclient import git_environment
from tests.functional.repositories import make_repository
from tests.functional.restoring import PROJECT
from tests.functional.server import HOST, Cachew
from tests.functional.upstream import Upstream

_COLUMNS, _ROWS = 100, 34
_TYPED = 0.04
"""Seconds between two characters of what is typed."""
_PAUSE = 0.8
_REPOSITORY = "org/project"
_NAME = "cachew.example:8080"

Event = tuple[float, str]


async def record(reactor: Any) -> None:
    """Record the session."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        upstream = Upstream(reactor=reactor, root=root / "upstream")
        (root / "upstream").mkdir()
        make_repository(root / "upstream" / f"{_REPOSITORY}.git", commits=40, files=300, size=60_000)
        await upstream.start()
        server = Cachew(reactor=reactor, state=root / "state", upstream=upstream.url)
        await server.start()
        try:
            answer = await treq.get(f"{server.url}/git/{HOST}/{_REPOSITORY}/snapshot.tar.zst")
            await answer.content()
            events = await deferToThread(_session, root, server.url)
        finally:
            await server.stop()
            await upstream.stop()
    _write(events)


def _session(root: Path, url: str) -> list[Event]:
    home, commands = root / "home", root / "commands"
    home.mkdir()
    commands.mkdir()
    for name, module in (("cachew", "cachew.cli.main"), ("git-remote-cachew", "cachew.cli.remote")):
        (commands / name).write_text(f"#!{sys.executable}\nfrom {module} import main\nmain()\n")
        (commands / name).chmod(0o755)
    environment = dict(git_environment(home, {}))
    environment.pop("GIT_CONFIG_GLOBAL", None)
    environment |= {
        "HOME": str(home),
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "TERM": "xterm-256color",
        "GIT_PAGER": "cat",
        "COLUMNS": str(_COLUMNS),
        "LINES": str(_ROWS),
    }
    steps = (
        f"cachew git setup --fast {url} {HOST}",
        f"git clone https://{HOST}/{_REPOSITORY}.git",
        "git -C project log --oneline -3",
        f"cachew --url {url} git restore https://{HOST}/{_REPOSITORY} restored",
        "git -C restored status",
        "cachew git unsetup",
    )
    events: list[Event] = []
    at = 0.5
    for step in steps:
        events.append((at, "\x1b[1;32m$\x1b[0m "))
        for letter in step:
            at += _TYPED
            events.append((at, letter))
        at = _run(step, home, environment, events, at + 0.3) + _PAUSE
    shown = re.compile(re.escape(url.removeprefix("http://")))
    return _joined(events, lambda text: shown.sub(_NAME, text).replace(str(home), "~"))


def _joined(events: list[Event], cleaned: Any) -> list[Event]:
    """Return the events with the server's address as users know it, which what is typed holds letter by letter."""
    lines: list[Event] = []
    for at, text in events:
        typed = len(text) == 1 and lines and not lines[-1][1].endswith("\n")
        if typed:
            lines[-1] = (lines[-1][0], lines[-1][1] + text)
        else:
            lines.append((at, text))
    return [(at, cleaned(text)) for at, text in lines]


def _run(step: str, home: Path, environment: Mapping[str, str], events: list[Event], at: float) -> float:
    """Run a command in a terminal of its own and keep what it prints; return when it has ended."""
    events.append((at, "\r\n"))
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    began = time.monotonic()
    process = subprocess.Popen(
        ["sh", "-c", f"stty rows {_ROWS} cols {_COLUMNS}; exec {step}"],
        cwd=home, env=dict(environment), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        while True:
            select.select([ours], [], [])
            data = os.read(ours, 65536)
            if not data:
                break
            events.append((at + time.monotonic() - began, data.decode("utf-8", "replace")))
    except OSError:
        # Its last writer has ended.
        pass
    finally:
        os.close(ours)
    if code := process.wait():
        raise RuntimeError(f"{step} ended with {code}:\n{''.join(text for _, text in events[-20:])}")
    return at + time.monotonic() - began


def _write(events: list[Event]) -> None:
    header = {"version": 2, "width": _COLUMNS, "height": _ROWS, "title": "cachew: setup, clone, restore"}
    lines = [json.dumps(header), *(json.dumps([round(at, 3), "o", text]) for at, text in events)]
    (DOCS / "session.cast").write_text("\n".join(lines) + "\n")
    console = Console(record=True, width=_COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    for line in "".join(text for _, text in events).replace("\r\n", "\n").split("\n"):
        console.print(Text.from_ansi(_last_state(line)))
    svg = console.export_svg(title="cachew", unique_id="session")
    # Fonts are those of whoever looks; nothing is loaded from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)
    (DOCS / "session.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")
    print(f"docs/session.cast, docs/session.svg: {len(events)} events")


def _last_state(line: str) -> str:
    """Return what of a line that was written over is seen at the end."""
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")
