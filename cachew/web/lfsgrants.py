"""Grants for LFS objects over HTTP: who asks, what he is given leave for, and what a grant that he shows is good for.

The upstream's answer to a batch is the client's leave. A grant holds it, for the one it was given to, of one instance
of a repository, as long as it would be given still (:mod:`cachew.web.lfsleave`).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from cachew.http.requests import StreamingRequest
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.instances import Instances
from cachew.mirrors.kinds import LEAST
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Forbidden, UpstreamError
from cachew.smarthttp.lfsgrant import Grant, holder_of, seal, unseal
from cachew.smarthttp.lfsobjects import LfsOrder
from cachew.upstream.client import UpstreamClient
from cachew.upstream.headers import of_credential
from cachew.upstream.lfsbatch import Address, LfsDownload
from cachew.upstream.redirects import same_origin
from cachew.upstream.remotes import Remotes
from cachew.upstream.verdicts import Verdicts
from cachew.web.access.guard import ClientCredentials
from cachew.web.lfsleave import LfsLeave

GRANT_HEADER = "X-Cachew-Grant"
OBJECTS = "info/lfs/cachew/"
"""Below which objects are fetched that there is a grant for."""
_DOUBT = 2.0
"""Seconds that a request waits until it is certain that a repository is still the same."""


@dataclass(frozen=True)
class LfsAsker:
    """Somebody who asks for objects of a repository.

    :param instance: the id of the repository's instance, empty when none is known though one was looked for.
    :param credential: what he shows, None for nothing.
    """

    identity: Identity
    instance: str
    credential: str | None


class LfsAskers:
    """Tells who asks.

    :param instances: know which instance each repository is of.
    :param verdicts: ask upstreams who may read.
    :param freshness: asks upstreams what there is to read.
    :param credentials: say what of a request is its client's credential.
    """

    def __init__(
        self, *, instances: Instances, verdicts: Verdicts, freshness: Freshness, credentials: ClientCredentials
    ) -> None:
        self._instances = instances
        self._verdicts = verdicts
        self._freshness = freshness
        self._credentials = credentials

    async def of(self, request: StreamingRequest, identity: Identity) -> LfsAsker:
        """Return who asks for objects of a repository, which is looked for if it is not known."""
        credential = self._credentials.of(request, identity.host)
        await self._instances.look(identity)
        if self._instances.current(identity) is None:
            # Leave is for one instance, which has begun once something was listed.
            with suppress(UpstreamError):
                if await self._verdicts.admit(identity, credential) and self._instances.current(identity) is None:
                    await self._freshness.refs(identity, LEAST, credential)
        await self._instances.settled(identity, _DOUBT)
        found = self._instances.readable(identity)
        return LfsAsker(identity, "" if found is None else found.id, credential)


@dataclass(frozen=True, kw_only=True)
class GrantDesk:
    """Issues the grants for one batch.

    :param asker: whom they are for.
    :param holder: what tells him, when he shows one, from others.
    :param origin: this server's address.
    :param home: the repository's URL at the upstream.
    :param now: when they are issued.
    :param key: what they are made with.
    :param may_hold: whether an object may be fetched from an address that the upstream names.
    """

    asker: LfsAsker
    holder: str
    origin: str
    home: str
    now: float
    key: bytes
    may_hold: Callable[..., bool]

    def address_of(self, download: LfsDownload) -> Address | None:
        """Return where a client is to fetch an object, None when it may be fetched from nowhere."""
        if not self.may_hold(download.href, home=self.home):
            return None
        granted = Grant(
            self.asker.identity.name,
            self.asker.instance,
            self.holder,
            download.wanted,
            self.now + download.seconds,
            download.href,
            download.headers,
        )
        grant = seal(granted, self.key)
        if grant is None:
            return None
        # A grant that was given to a credential is of use with it alone, and the storage may want to see it too.
        href = f"{self.origin}/git/{self.asker.identity.name}/{OBJECTS}{download.wanted.oid}"
        return Address(href, {GRANT_HEADER: grant}, not self.holder)


class LfsGrants:
    """Issues grants, and tells what they are good for.

    :param client: says where objects may be fetched from.
    :param remotes: where upstreams are.
    :param leave: says whether leave that was given would be given still.
    :param clock: what time it is.
    :param key: gives the secret with which grants are made.
    """

    def __init__(
        self, *, client: UpstreamClient, remotes: Remotes, leave: LfsLeave, clock: Clock, key: Callable[[], bytes]
    ) -> None:
        self._client = client
        self._remotes = remotes
        self._clock = clock
        self._key = key
        self.leave = leave

    def desk(self, asker: LfsAsker, origin: str) -> GrantDesk:
        """Return what issues the grants for a batch.

        :param origin: this server's address, as the client has it.
        """
        key = self._key()
        return GrantDesk(
            asker=asker,
            holder=holder_of(asker.credential, key),
            origin=origin,
            home=self._remotes.of(asker.identity).url,
            now=self._clock.now(),
            key=key,
            may_hold=self._client.may_hold,
        )

    async def order(self, shown: str, asker: LfsAsker, oid: str) -> LfsOrder:
        """Return where an object is to be had that a client shows a grant for.

        :raise CachewError: when the grant is none, or of no use to him, or the upstream gives no leave any more.
        """
        grant = unseal(
            shown,
            self._key(),
            repository=asker.identity.name,
            instance=asker.instance,
            credential=asker.credential,
            oid=oid,
            now=self._clock.now(),
        )
        await self.leave.require(asker.identity, asker.instance, asker.credential, grant.wanted)
        home = self._remotes.of(asker.identity).url
        if not self._client.may_hold(grant.href, home=home):
            raise Forbidden("what the grant is for is no longer fetched from where it is")
        headers = [(name.encode(), value.encode()) for name, value in grant.headers]
        named = {name.lower() for name, _ in headers}
        if same_origin(grant.href, home):
            headers += [(name, value) for name, value in of_credential(asker.credential) if name.lower() not in named]
        return LfsOrder(asker.identity.host, grant.wanted, grant.href, tuple(headers), home)
