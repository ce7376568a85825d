"""The page's lines for developers with private repositories, as they stand there."""

import re
from pathlib import Path

import pytest
import pytest_twisted

from tests.functional.canary import marked
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.repositories import make_repository
from tests.functional.server import HOST
from tests.functional.upstream import Upstream

TOKEN = marked("t0ken")
_PAGE = (Path(__file__).parents[2] / "docs" / "private.md").read_text()
_SECTION = _PAGE.partition("## For developers")[2].partition("\n## ")[0]
_BLOCK = re.findall(r"```sh\n(.*?)```", _SECTION, re.DOTALL)[0]
SERVER, *WAYS = _BLOCK.splitlines()


def ways(word: str) -> str:
    """Return the page's line that has a word in it."""
    (line,) = (line for line in WAYS if word in line)
    return str(line)


async def say(git: Git, url: str, line: str) -> None:
    """Run a line of the page for another server, with a gh that knows the token."""
    bin_directory = git.home / "bin"
    bin_directory.mkdir()
    (bin_directory / "gh").write_text(f'#!/bin/sh\n[ "$*" = "auth token" ] && echo {TOKEN}\n')
    (bin_directory / "gh").chmod(0o755)
    git.config["alias.page"] = (
        f"!{SERVER.replace('https://cachew.example/git/github.com', f'{url}/git/{HOST}')}\n{line}\n:"
    )
    await git.run("page", environment={"TOKEN": TOKEN})


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("word", ["helper store", "gh auth token", "extraHeader"])
async def test_a_private_repository_is_cloned(
    upstream: Upstream, git: Git, start: Start, word: str, protocol: int
) -> None:
    """Each line lets git into a private repository through the server, and no other lets it in without."""
    repository = make_repository(upstream.path("org/private"))
    upstream.gate.protect("org/private", basic("x", TOKEN))
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    refused = await git.run("ls-remote", f"https://{HOST}/org/private", check=False, protocol=protocol)
    assert refused.code == 128
    (git.home / ".git-credentials").write_text(f"{cachew.url.replace('://', f'://x:{TOKEN}@')}\n")

    await say(git, cachew.url, ways(word))
    path = f"{git.home}/bin:/usr/local/bin:/usr/bin:/bin"
    await git.run("clone", f"https://{HOST}/org/private", "clone", protocol=protocol, environment={"PATH": path})

    assert (await git.run("rev-parse", "HEAD", cwd=git.home / "clone")).out == repository.commit()
