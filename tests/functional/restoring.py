"""The client command as users run it: a process of its own."""

import os
import sys
from pathlib import Path
from typing import Any

from tests.functional.gitcgi import git_environment
from tests.functional.gitclient import Git, Result, Run

PROJECT = Path(__file__).parents[2]


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
