"""The way from one mirror to its upstream."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from cachew.plumbing.streams import Source
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.listing import Listing
from cachew.upstream.remotes import Remote


class MirrorRemote(Protocol):
    """How a mirror reaches its upstream, with the server's own credentials."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""

    async def list_refs(self) -> Listing:
        """List HEAD, heads and tags."""

    async def fetch_url(self) -> str:
        """Return the URL to fetch from, after whatever redirect was allowed."""

    async def git_environment(self) -> Mapping[str, str]:
        """Return what a git child needs in its environment to be let in there."""

    async def pull(self, question: bytes) -> Source | None:
        """Return the answer to a ``fetch`` of protocol v2, None where only git can ask."""


class GatedRemote:
    """An upstream whose refs are asked for through the ref gate, so that what it lists is taken notice of.

    :param remote: the upstream.
    :param posts: ask it, with the server's own credentials.
    :param list_refs: asks for heads and tags there.
    """

    def __init__(
        self, *, remote: Remote, posts: AuthenticatedPosts, list_refs: Callable[[], Awaitable[Listing]]
    ) -> None:
        self._remote = remote
        self._posts = posts
        self._list_refs = list_refs

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        return self._remote.url

    async def list_refs(self) -> Listing:
        """List HEAD, heads and tags."""
        return await self._list_refs()

    async def fetch_url(self) -> str:
        """Return the URL to fetch from."""
        return await self._remote.fetch_url()

    async def git_environment(self) -> Mapping[str, str]:
        """Return what a git child needs in its environment to be let in there."""
        return await self._remote.git_environment()

    async def pull(self, question: bytes) -> Source | None:
        """Return the answer to a ``fetch`` of protocol v2, None where only git can ask."""
        return await self._posts.fetch(self._remote, question)
