"""How objects and refs come from one upstream into a repository.

By id wherever the upstream allows it, because then git asks for no listing: cachew has one already.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.logger import Logger

from cachew.mirrors.refs import RefState, change, of_listing
from cachew.mirrors.repository import Repository, worth_another_way
from cachew.plumbing.errors import ProcessFailed
from cachew.upstream.listing import Listing

_MOST_TRIES = 64
"""Fetches that the ids of one client may take: one more for each that the upstream doesn't have and names."""
_ANY_OID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b")
_REFUSAL = "not our ref"


class Remote(Protocol):
    """How a mirror reaches its upstream, with the server's own credentials."""

    url: str

    async def list_refs(self) -> Listing:
        """List HEAD, heads and tags."""

    async def fetch_url(self) -> str:
        """Return the URL to fetch from, after whatever redirect was allowed."""

    async def git_environment(self) -> Mapping[str, str]:
        """Return what a git child needs in its environment to be let in there."""


class Transfer:
    """Fetches from one upstream.

    :param remote: the upstream.
    :param now: the time of day in epoch seconds.
    """

    log = Logger()

    def __init__(self, *, remote: Remote, now: Callable[[], float]) -> None:
        self._remote, self._now = remote, now

    async def bring(self, repository: Repository, wanted: RefState) -> None:
        """Fetch what the refs need; the repository's own refs stay as they are.

        :raise CachewError: when not all of it came.
        """
        oids = {*wanted.refs.values(), *filter(None, [wanted.head_commit])}
        missing = repository.objects.missing(oids)
        if not missing:
            return
        url, extra = await self._remote.fetch_url(), await self._remote.git_environment()
        try:
            await repository.fetch_objects(url, missing, extra)
        except ProcessFailed as error:
            if not worth_another_way(error):
                raise
            # An upstream that gives nothing by id alone, or tips that moved meanwhile: by name, then what is listed.
            await repository.fetch_refs(url, extra)
            if absent := repository.objects.missing(missing):
                await repository.fetch_objects(url, absent, extra)

    async def follow(self, repository: Repository, wanted: RefState) -> None:
        """Bring the repository's refs to where they should be, and first the objects.

        :raise CachewError: when that fails; the refs are then as they were, or nearer to it.
        """
        await self.bring(repository, wanted)
        present = await repository.read_listing()
        await repository.apply(change(of_listing(present), wanted), self._now())

    async def fetch_ids(self, repository: Repository, oids: list[str]) -> None:
        """Fetch objects that no ref of the repository leads to, and keep them alive.

        :raise CachewError: when that fails as a whole.
        """
        url, extra = await self._remote.fetch_url(), await self._remote.git_environment()
        try:
            await self._fetch_in_parts(repository, url, oids, extra)
        finally:
            absent = set(repository.objects.missing(oids))
            if came := [oid for oid in oids if oid not in absent]:
                await repository.keep(came, self._now())

    async def _fetch_in_parts(
        self, repository: Repository, url: str, oids: list[str], extra: Mapping[str, str]
    ) -> None:
        """Fetch all ids at once; those that the upstream does not have must not keep the others from coming."""
        parts, tries = deque([oids]), _MOST_TRIES
        while parts and tries:
            part, tries = parts.popleft(), tries - 1
            try:
                await repository.fetch_objects(url, part, extra)
            except ProcessFailed as error:
                # What somebody asked for and nobody has is no failure of the mirror's.
                if not worth_another_way(error) or (len(oids) == 1 and _REFUSAL not in error.stderr):
                    raise
                self.log.debug("{upstream}: {error}", upstream=url, error=str(error))
                parts.extend(_without_the_bad(part, error.stderr))


def _without_the_bad(oids: list[str], complaint: str) -> list[list[str]]:
    """Return in which parts ids are tried again: all that git did not name, or else halves."""
    named = set(_ANY_OID.findall(complaint))
    rest = [oid for oid in oids if oid not in named]
    middle = len(rest) // 2
    parts = [rest] if len(rest) < len(oids) else [rest[:middle], rest[middle:]]
    return [part for part in parts if part] if len(oids) > 1 else []
