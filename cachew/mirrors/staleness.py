"""Whether mirrors are behind their upstreams, asked on behalf of nobody in particular."""

from collections.abc import Callable
from contextlib import suppress

from twisted.logger import Logger

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Answer, Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MIRRORED_KIND
from cachew.mirrors.mirroring import Mirroring
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError, UpstreamError, UpstreamRefused, UpstreamUnreachable
from cachew.plumbing.remembered import Expiring
from cachew.upstream.listing import Listing
from cachew.upstream.remotes import Remotes

_REMEMBERED = 10_000
"""Repositories of which it is remembered that their mirrors are level."""


class Staleness:
    """Compares mirrors with their upstreams on behalf of nobody in particular, with the server's own credentials.

    :param freshness: the ref gate.
    :param mirrors: the mirrors.
    :param mirroring: has them made that are missing.
    :param remotes: the ways to upstreams.
    :param background: where checks run.
    :param is_public: whether everybody may read a repository, as far as its upstream has said.
    :param clock: tells for how long what the upstream said is good.
    """

    log = Logger()

    def __init__(
        self,
        *,
        freshness: Freshness,
        mirrors: Mirrors,
        mirroring: Mirroring,
        remotes: Remotes,
        background: Background,
        is_public: Callable[[Identity], bool],
        clock: Clock,
    ) -> None:
        self._freshness = freshness
        self._clock = clock
        self._is_public = is_public
        self._mirrors = mirrors
        self._mirroring = mirroring
        self._remotes = remotes
        self._background = background
        self._checking: set[Identity] = set()
        self._level: Expiring[str, bool] = Expiring(clock=clock, capacity=_REMEMBERED)

    def check(self, identity: Identity) -> None:
        """See whether a repository whose snapshot was just sent is behind; a mirror that is missing is made.

        One that was seen not to be is not looked at again for as long as what the upstream said then is good.
        """
        if identity not in self._checking and not self._level.get(identity.name):
            self._checking.add(identity)
            self._background.start(self._check(identity), f"ref check of {identity.name}")

    async def _check(self, identity: Identity) -> None:
        try:
            mirror = self._mirrors.ready(identity)
            if mirror is None:
                self._mirroring.want(identity)
                return
            before = mirror.refs.listing
            answer = await self._ask(identity)
            if answer.stale:
                return
            if mirror.refs.behind(answer.listing) or mirror.refs.listing != before:
                self.log.info("refs stale for snapshot request, fetching in background", repository=identity.name)
            else:
                good_for = self._freshness.interval - (self._clock.seconds() - answer.started)
                self._level.put(identity.name, True, good_for)
        finally:
            self._checking.discard(identity)

    async def _ask(self, identity: Identity, interval: float | None = None) -> Answer:
        """Ask for the refs: as anybody where everybody may read, so that it is noticed when that is so no longer."""
        if self._is_public(identity):
            with suppress(UpstreamRefused):
                return await self._freshness.refs(identity, MIRRORED_KIND, None, interval=interval)
        authorization = await self._remotes.of(identity).authorization()
        return await self._freshness.refs(identity, MIRRORED_KIND, authorization, interval=interval)

    async def listing(self, identity: Identity) -> Listing:
        """Ask the upstream now for what a new mirror has to have.

        :raise UpstreamError: when it doesn't say; never a refusal, which clients would take for their own credential's.
        """
        url = self._remotes.of(identity).url
        try:
            answer = await self._ask(identity, interval=0)
        except UpstreamRefused as refused:
            reason = f"answered {refused.status} to this server's own credential; see [[credentials]] in its config"
            raise UpstreamUnreachable(url, reason) from refused
        if answer.stale:
            raise UpstreamUnreachable(url, "does not answer")
        return answer.listing

    async def refresh(self, identity: Identity) -> bool:
        """Bring a mirror to where its upstream is.

        :return: whether it is there; not so when the upstream fails.
        """
        mirror = self._mirrors.ready(identity)
        if mirror is None:
            return False
        try:
            answer = await self._ask(identity)
            if not answer.stale:
                await mirror.updates.sync(answer.listing, answer.started)
        except CachewError as error:
            self.log.warn("{repository} can't be brought up to date: {error}", repository=identity.name, error=error)
            return False
        return not answer.stale

    async def tip(self, identity: Identity, ref: str) -> str | None:
        """Ask the upstream now which commit a branch is at.

        :param ref: its full name; empty for HEAD's.
        :raise UpstreamError: when it doesn't say.
        """
        answer = await self._ask(identity, interval=0)
        if answer.stale:
            raise UpstreamError(self._remotes.of(identity).url, "does not answer")
        found = answer.listing.by_name.get(ref or "HEAD")
        return found.oid if found is not None else None

    async def fetch(self, identity: Identity) -> None:
        """Ask the upstream now for its refs and bring the mirror there, if there is one."""
        self._level.forget(identity.name)
        mirror = self._mirrors.ready(identity)
        if mirror is None:
            return
        answer = await self._ask(identity, interval=0)
        if not answer.stale:
            await mirror.updates.sync(answer.listing, answer.started)

    def pushed(self, identity: Identity) -> None:
        """Bring a mirror in the background to where a push has just brought its upstream."""
        self._background.start(self.fetch(identity), f"fetch of {identity.name}")
