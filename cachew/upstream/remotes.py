"""The way to one repository's upstream, and what is known of it.

What the upstream can do, and where a redirect has led, is learned once and remembered, so that a ref check is one
request.
"""

from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Protocol
from weakref import WeakKeyDictionary

from cachew.plumbing.errors import (
    CredentialUnavailable,
    UnknownPath,
    UpstreamError,
    UpstreamNotGit,
    UpstreamRefused,
    UpstreamUnreachable,
)
from cachew.upstream.client import UpstreamClient
from cachew.upstream.credentials import Credentials
from cachew.upstream.gitenvironment import joined, of_request
from cachew.upstream.listing import Capabilities, Listing
from cachew.upstream.proxies import Pinned

_REMEMBERED = 10_000
ABOUT_CREDENTIALS = (401, 403, 404)
"""How upstreams refuse whoever shows a credential that isn't good, or none."""
_MIRRORED = ("HEAD", "refs/heads/", "refs/tags/")


class Remote:
    """One repository's upstream.

    :param url: where it is.
    :param client: the HTTP client.
    :param credentials: the server's own; used for mirrors, never for clients.
    :param pins: where git may connect to; None for wherever a name leads.
    """

    def __init__(
        self, *, url: str, client: UpstreamClient, credentials: Credentials, pins: Pinned | None = None
    ) -> None:
        self.url = url
        self._client = client
        self._credentials = credentials
        self._pins = pins
        self._capabilities: Capabilities | None = None
        self._was_smart = False
        self._base = url

    def relocate(self, url: str) -> None:
        """Take notice of where it is; what was known of another place counts no more."""
        if url != self.url:
            self.url = self._base = url
            self._capabilities = None
            self._was_smart = False

    @property
    def address(self) -> str:
        """Where it was found last, after redirects."""
        return self._base

    @property
    def capabilities(self) -> Capabilities | None:
        """What it was found to speak last; None when it has to be asked."""
        return self._capabilities

    def speaks(self, capabilities: Capabilities) -> None:
        """Take notice of what it speaks, as it has just told a client, unless it was found elsewhere."""
        if capabilities.base_url.removesuffix(".git") == self.url.removesuffix(".git"):
            self._capabilities = capabilities

    async def list(
        self, prefixes: tuple[str, ...] | None, authorization: str | None, before: Listing | None = None
    ) -> Listing:
        """List refs with the given credential.

        :param prefixes: which; None for all, and no prefix for none, just to see whether it lets them be read; an
            upstream that doesn't speak protocol v2 lists all of them then.
        :param before: the listing of the time before, if there is one.
        :raise UpstreamError: as :meth:`cachew.upstream.client.UpstreamClient.list_refs`.
        """
        return (await self._ask(prefixes, authorization, before))[0]

    async def _ask(
        self, prefixes: tuple[str, ...] | None, authorization: str | None, before: Listing | None = None
    ) -> tuple[Listing, Capabilities]:
        try:
            return await self._ask_once(prefixes, authorization, before)
        except UpstreamRefused as refused:
            # A token that was revoked, a password that was changed: what is kept of the server's own is renewed once.
            if authorization is None or refused.status not in ABOUT_CREDENTIALS:
                raise
            renewed = await self._credentials.renewed(self.url, authorization)
            if renewed is None:
                raise
        return await self._ask_once(prefixes, renewed, before)

    async def _ask_once(
        self, prefixes: tuple[str, ...] | None, authorization: str | None, before: Listing | None
    ) -> tuple[Listing, Capabilities]:
        known = self._capabilities
        try:
            listing, capabilities = await self._client.list_refs(
                self.url, prefixes=prefixes, authorization=authorization, known=known, before=before
            )
        except UpstreamUnreachable:
            self._capabilities = None
            raise
        except UpstreamRefused as refused:
            if refused.status not in (401, 403):
                self._capabilities = None
            raise
        if capabilities.dumb and self._was_smart and listing.empty and (not prefixes or "HEAD" in prefixes):
            # What lies there as a file was perhaps never kept up to date; that nothing is left is not believed.
            self._capabilities = None
            raise UpstreamNotGit(self.url, "it spoke git's own protocol, and now shows files that name no refs")
        self._capabilities = capabilities
        self._was_smart |= not capabilities.dumb
        base = capabilities.base_url or self.url
        if base.removesuffix(".git") != self.url.removesuffix(".git"):
            listing = replace(listing, base=base)
        return listing, capabilities

    async def authorization(self) -> str | None:
        """Return the server's own credential for this repository, None when it has none or none is needed.

        :raise CredentialUnavailable: when it can't be had at present and the upstream doesn't serve everybody.
        """
        try:
            return await self._credentials.header_for(self.url)
        except CredentialUnavailable:
            if await self._serves_everybody():
                return None
            raise

    async def _serves_everybody(self) -> bool:
        try:
            await self._ask_once(("HEAD",), None, None)
        except UpstreamError:
            return False
        return True

    async def list_refs(self) -> Listing:
        """List HEAD, heads and tags with the server's own credential.

        :raise UpstreamUnreachable: also when that is refused: a refusal is relayed to clients, who would take it for
            their own credential's.
        """
        own = await self.authorization()
        try:
            listing, capabilities = await self._ask(_MIRRORED, own)
        except UpstreamRefused as refused:
            whose = "to this server's own credential" if own else "and this server has no credential for it"
            reason = f"answered {refused.status} {whose}; see [[credentials]] in its config"
            raise UpstreamUnreachable(self.url, reason) from refused
        self._base = capabilities.base_url or self.url
        return listing

    async def fetch_url(self) -> str:
        """Return the URL that git fetches from, after redirects that were allowed.

        Where a client was redirected is its own matter; it is only a reason to ask with the server's credential.

        :raise UpstreamError: when that is refused or fails.
        """
        known = self._capabilities
        if known is not None and (known.base_url or self.url) != self._base:
            await self.list_refs()
        return self._base

    async def git_environment(self) -> Mapping[str, str]:
        """Return the server's credential for a git child's environment, and where :meth:`fetch_url` led last.

        :raise UpstreamError: when either can't be had, or the upstream's name leads to no public address.
        """
        pins = {} if self._pins is None else await self._pins.git_environment(self._base)
        # What is for one address replaces what was said before it for all of them, unless that comes first.
        return joined(of_request(), joined(pins, await self._own_environment()))

    async def _own_environment(self) -> Mapping[str, str]:
        try:
            return await self._credentials.git_environment(self._base)
        except CredentialUnavailable:
            if await self._serves_everybody():
                return {}
            raise


class Remotes:
    """The ways to all upstreams, by repository.

    :param url_for: host and path to URL; raises ``UnknownPath`` for a host that isn't admitted.
    :param pins: where git may connect to; None for wherever a name leads.
    """

    def __init__(
        self,
        *,
        url_for: Callable[[str, str], str],
        client: UpstreamClient,
        credentials: Credentials,
        pins: Pinned | None = None,
    ) -> None:
        self._url_for = url_for
        self._client = client
        self._credentials = credentials
        self._pins = pins
        self.of = lru_cache(maxsize=_REMEMBERED)(self._way_to)
        """Returns the way to a repository's upstream; raises ``UnknownPath`` when its host isn't admitted."""
        self._held: WeakKeyDictionary[Remote, tuple[str, str]] = WeakKeyDictionary()

    def home(self, repository: "LocatedRepository") -> str:
        """Return where a repository's upstream is, as far as its name says.

        :raise UnknownPath: when its host isn't admitted.
        """
        return self._url_for(repository.host, repository.path)

    def relocate(self) -> None:
        """Look again where everything is, for those too who hold a way already; hosts may have come, moved or gone."""
        self.of.cache_clear()
        for remote, key in list(self._held.items()):
            with suppress(UnknownPath):
                remote.relocate(self._url_for(*key))

    def _way_to(self, repository: "LocatedRepository") -> Remote:
        key = (repository.host, repository.path)
        remote = Remote(url=self._url_for(*key), client=self._client, credentials=self._credentials, pins=self._pins)
        self._held[remote] = key
        return remote

    async def authorization(self, repository: "LocatedRepository") -> str | None:
        """Return the server's own credential at a repository's upstream, None where it needs none or has none.

        :raise UpstreamError: when it can't be had at present.
        """
        return await self.of(repository).authorization()


class LocatedRepository(Hashable, Protocol):
    """A repository's identity, as far as its upstream matters."""

    @property
    def host(self) -> str:
        """Its host."""

    @property
    def path(self) -> str:
        """Its path."""
