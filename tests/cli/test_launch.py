"""The start of the ``cachew`` command, which loads click only where it is needed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cachew.cli.gitcommands import git_restore
from cachew.cli.launch import FLAGS, GLOBAL_FLAGS, GLOBAL_VALUES, VALUES, is_plain_restore
from cachew.cli.main import cachew

URL = "https://git.example/org/repo"


@pytest.mark.parametrize(
    "line",
    [
        f"git restore {URL} copy",
        f"--url http://127.0.0.1:1 --quiet git restore {URL} copy",
        f"git restore --ref main= --no-bundle {URL} --lfs copy --commit abc --force --json",
    ],
)
def test_restores_that_are_beyond_doubt(line: str) -> None:
    """The usual ways to write one."""
    assert is_plain_restore(line.split(), ["HOME", "CACHEW_URL", "CACHEW_AUTHORIZATION"])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "git",
        "--help",
        f"git restore --help {URL} copy",
        f"git restore {URL}",
        f"git restore {URL} copy more",
        f"git restore {URL} -- copy",
        f"git restore {URL} copy --ref",
        f"git restore --ref --lfs {URL} copy",
        f"git restore --ref=main= {URL} copy",
        f"git restore --url http://127.0.0.1:1 {URL} copy",
        f"--lfs git restore {URL} copy",
        f"git --json restore {URL} copy",
        f"--daily git restore {URL} copy",
        f"git clone {URL} copy",
        "restore namespace copy",
    ],
)
def test_what_click_has_to_see(line: str) -> None:
    """Other commands, requests for help, mistakes, and what could be one."""
    assert not is_plain_restore(line.split(), [])


@pytest.mark.parametrize("name", ["CACHEW_GIT_RESTORE_LFS", "CACHEW_DAILY", "_CACHEW_COMPLETE"])
def test_variables_that_only_click_knows(name: str) -> None:
    """Options come from variables too."""
    assert not is_plain_restore(["git", "restore", URL, "copy"], [name])


def options(command: click.Command) -> dict[str, bool]:
    """Return the options of a command, and whether each stands alone."""
    declared = [one for one in command.params if isinstance(one, click.Option)]
    return {name: one.is_flag for one in declared for name in one.opts}


def test_options_are_those_of_the_command() -> None:
    """Each option that the command declares is known, and as what it is; but for those that make other keys."""
    declared = options(git_restore)
    assert declared == dict.fromkeys(FLAGS, True) | dict.fromkeys(VALUES, False)
    everywhere = options(cachew)
    assert dict.fromkeys(GLOBAL_FLAGS, True).items() <= everywhere.items()
    assert dict.fromkeys(GLOBAL_VALUES, False).items() <= everywhere.items()


@pytest.mark.parametrize("more, loads", [([], False), (["--no-such-option"], True)])
def test_a_restore_starts_without_click(tmp_path: Path, more: list[str], loads: bool) -> None:
    """What fails says the same with and without it, and a mistake in the arguments is told by it."""
    words = ["git", "restore", "nonsense", "copy", *more]
    said = []
    for module in ("launch", "main"):
        program = [sys.executable, "-X", "importtime", "-m", f"cachew.cli.{module}", *words]
        environment = {name: value for name, value in os.environ.items() if "CACHEW" not in name}
        done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert bool(re.search(r"\| +click\.core$", done.stderr, re.M)) is (loads or module == "main")
        said.append([line for line in done.stderr.splitlines() if not line.startswith("import time:")])
    assert said[0] == said[1] != []


INTERRUPTED = """
import os, signal, sys
from cachew.cli import launch
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "cachew.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
launch.main()
"""


@pytest.mark.usefixtures("heard_signals")
def test_an_interrupt_at_the_start_is_quiet() -> None:
    """Whoever stops the command while it loads is shown no traceback."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")
