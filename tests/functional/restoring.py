"""The client command as users run it: a process of its own."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.functional.gitcgi import git_environment
from tests.functional.gitclient import Git, Result, Run
from tests.functional.server import HOST

PROJECT = Path(__file__).parents[2]
_EACH = """
import json, os, sys
from cachew.cli.main import run
orders, codes = json.load(sys.stdin), []
for url, repository, directory, authorization in orders:
    os.environ["CACHEW_AUTHORIZATION"] = authorization or ""
    codes.append(run(["--url", url, "git", "restore", repository, directory]))
print(json.dumps(codes))
"""


@dataclass(frozen=True)
class Order:
    """What is restored.

    :param server: its URL.
    :param repository: its name at the test upstream.
    :param directory: where it is to be.
    :param authorization: what is shown.
    """

    server: str
    repository: str
    directory: Path
    authorization: str | None


async def cachew_command(reactor: Any, git: Git, *words: str | os.PathLike[str], check: bool = True) -> Result:
    """Run ``cachew WORDS…`` in a user's home.

    :param git: whose home and git settings it sees.
    :raise AssertionError: when it fails and ``check`` is true.
    """
    environment = git_environment(git.home, git.config) | {"PYTHONPATH": str(PROJECT)}
    run = Run(b"")
    words_there = [f"--chdir={git.home}", sys.executable, "-m", "cachew.cli.main", *(os.fspath(word) for word in words)]
    reactor.spawnProcess(run, "setsid", ["setsid", "env", *words_there], env=environment, path=None)
    result = await run.done
    assert not check or result.code == 0, f"cachew {words} ended with {result.code}:\n{result.err}"
    return result


async def restore_each(reactor: Any, git: Git, orders: Sequence[Order]) -> list[int]:
    """Run ``cachew git restore`` for several repositories, one after the other in one process.

    :return: the exit statuses.
    """
    environment = git_environment(git.home, git.config) | {"PYTHONPATH": str(PROJECT)}
    asked = [(one.server, f"https://{HOST}/{one.repository}", str(one.directory), one.authorization) for one in orders]
    run = Run(json.dumps(asked).encode())
    words = [f"--chdir={git.home}", sys.executable, "-c", _EACH]
    reactor.spawnProcess(run, "setsid", ["setsid", "env", *words], env=environment, path=None)
    result = await run.done
    assert result.code == 0, result.err
    codes: list[int] = json.loads(result.out.splitlines()[-1])
    return codes
