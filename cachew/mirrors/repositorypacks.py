"""The packs of one repository on disk: indexed, joined and counted."""

import os
from collections.abc import Iterable
from pathlib import Path

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.gitwork import LISTING_LIMIT, GitWork
from cachew.mirrors.leftovers import remove_graph
from cachew.plumbing.child import Command


class RepositoryPacks:
    """The packs of one repository.

    :param directory: the bare repository.
    :param git: how to run git.
    :param work: git at work on it.
    """

    def __init__(self, *, directory: Path, git: GitRunner, work: GitWork) -> None:
        self._directory = directory
        self._git = git
        self._work = work
        self._graph_fits = True

    async def index(self, *, bitmaps: bool = True) -> None:
        """Write the commit-graph, and bitmaps if they are asked for."""
        await self._maintain(
            self._git.commands.upkeep.index_packs(self._directory, bitmaps=bitmaps, graph=self._graph_fits)
        )
        await self._check_graph()

    async def repack(self, *, full: bool) -> None:
        """Join packs: all of them, dropping what no ref reaches (``full``), or only the small ones."""
        await self._maintain(self._git.commands.upkeep.repack(self._directory, full=full, graph=self._graph_fits))
        if full:
            await self._check_graph()

    async def _check_graph(self) -> None:
        """Do without a commit-graph where it would lie: dates beyond 2**34 or negative have no room in it."""
        if not self._graph_fits:
            return
        command = self._git.commands.upkeep.check_graph(self._directory)
        done = await self._git.processes.run(
            command, timeout=self._git.maintenance_timeout, limit=LISTING_LIMIT, check=False
        )
        if done.code:
            self._graph_fits = False
            await self._git.threads(remove_graph, self._directory)

    async def _maintain(self, commands: Iterable[Command]) -> None:
        for command in commands:
            await self._work.write(command, seconds=self._git.maintenance_timeout, replaced=True)

    def count(self) -> int:
        """Return how many packs there are."""
        return sum(name.endswith(".pack") for name in os.listdir(self._directory / "objects" / "pack"))

    def size(self) -> int:
        """Return the bytes that the packs take."""
        return sum(filter(None, map(size_of, (self._directory / "objects" / "pack").iterdir())))


def size_of(path: Path) -> int | None:
    """Return a file's size; None when it is not there, or has just gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def pack_indexes(directory: Path) -> list[Path]:
    """Return the indexes of a repository's packs."""
    return sorted((directory / "objects" / "pack").glob("*.idx"))
