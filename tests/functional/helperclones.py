"""Repositories that git made through ``git-remote-cachew``, to be compared with those it made directly."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.functional.gitclient import Git, Result
from tests.functional.restoring import PROJECT

_OURS = (".url", ".lfsurl")


def install_helper(directory: Path) -> dict[str, str]:
    """Make ``git-remote-cachew`` and ``cachew`` there, and return the environment in which git finds them."""
    directory.mkdir(exist_ok=True)
    for name, module in (("git-remote-cachew", "cachew.cli.remote"), ("cachew", "cachew.cli.main")):
        script = directory / name
        script.write_text(f"#!{sys.executable}\nfrom {module} import main\nmain()\n")
        script.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT)}


@dataclass(frozen=True)
class Looks:
    """What of a repository must not depend on the way by which it came."""

    head: str
    refs: str
    config: list[str]
    status: str
    objects: list[str]
    format: str


@dataclass
class Clones:
    """A user's git with the helper.

    :param git: his git.
    :param environment: in which the helper is found.
    """

    git: Git
    environment: dict[str, str]

    async def run(self, *words: str, check: bool = True, protocol: int | None = None) -> Result:
        """Run a git command."""
        return await self.git.run(*words, check=check, protocol=protocol, environment=self.environment)

    async def bundles(self, name: str) -> str:
        """Return the refs that a snapshot has brought."""
        return (await self.run("-C", name, "for-each-ref", "refs/bundles")).out

    async def looks(self, name: str) -> Looks:
        """Return how a repository looks, which must be sound."""
        await self.run("-C", name, "fsck", "--strict")
        said = [await self._out(name, *words) for words in _ASKED]
        head, refs, config, objects, form, bare = said
        status = "" if bare == "true" else await self._out(name, "status", "--porcelain=v2", "--branch")
        settings = [line for line in config.split("\n") if not line.partition("=")[0].endswith(_OURS)]
        return Looks(head, refs, sorted(settings), status, sorted(objects.split("\n")), form)

    async def _out(self, name: str, *words: str) -> str:
        return (await self.run("-C", name, *words)).out


_ASKED = (
    ("rev-parse", "--symbolic-full-name", "HEAD"),
    ("for-each-ref", "refs/heads", "refs/tags", "refs/remotes", "refs/pull"),
    ("config", "--local", "--list"),
    ("rev-list", "--objects", "--missing=print", "--exclude=refs/bundles/*", "--all"),
    ("rev-parse", "--show-object-format"),
    ("rev-parse", "--is-bare-repository"),
)
