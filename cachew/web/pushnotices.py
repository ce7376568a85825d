"""What a push elsewhere, that a forge tells of, means to the mirrors."""

from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import is_mirrored
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.background import Background
from cachew.plumbing.errors import StorageUnavailable, UnknownPath
from cachew.web.forgeevents import address_of

_IN_ONE_TURN = 1000
"""Mirrors that are looked at before others have their turn: a few milliseconds."""
_AGAIN_AFTER = (1.0, 2.0, 4.0, 8.0)
"""Seconds after which a host is asked again that doesn't list yet what it has told of."""


class PushNotices:
    """Finds the mirrors that a push concerns, and has them fetch.

    :param mirrors: the mirrors.
    :param freshness: the ref gate, which takes no older answer for fresh any more.
    :param background: where it is fetched.
    :param fetch: brings a repository's mirror to where its upstream is now.
    :param url_of: tells where a repository's upstream is by its name; raises ``UnknownPath`` when its host isn't
        admitted.
    :param reactor: gives others their turn while very many are looked at.
    """

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        freshness: Freshness,
        background: Background,
        fetch: Callable[[Identity], Coroutine[Any, Any, object]],
        url_of: Callable[[Identity], str],
        reactor: IReactorTime,
    ) -> None:
        self._mirrors = mirrors
        self._freshness = freshness
        self._background = background
        self._fetch = fetch
        self._url_of = url_of
        self._reactor = reactor

    async def mirrored_as(self, urls: Collection[str], paths: Collection[str]) -> Sequence[Identity]:
        """Return the mirrored repositories that have moved to one of the URLs, or have one of the paths."""
        addresses = {address_of(url).casefold() for url in urls} - {""}
        known = {path.casefold() for path in paths}
        ends = tuple({address.rpartition("/")[2] for address in addresses})

        def meant(identity: Identity, url: str) -> bool:
            if identity.path.casefold() in known:
                return True
            # Of tens of thousands nearly all are told apart by how they end, which costs little.
            ends_so = url.rstrip("/").removesuffix(".git").rstrip("/").casefold().endswith(ends)
            return ends_so and address_of(url).casefold() in addresses and bool(self._named(identity))

        found: list[Identity] = []
        for count, (identity, url) in enumerate(self._addresses(), 1):
            if meant(identity, url):
                found.append(identity)
            if count % _IN_ONE_TURN == 0:
                await deferLater(self._reactor, 0)
        return found

    def _addresses(self) -> Iterator[tuple[Identity, str]]:
        """Yield what is mirrored and where its upstream is, or has moved to; a mirror knows that itself."""
        unseen = list(self._mirrors.first_looks.unseen)
        for mirror in self._mirrors.known():
            yield mirror.identity, mirror.remote.address
        for identity in unseen:
            yield identity, self._named(identity)

    def _named(self, identity: Identity) -> str:
        """Return where a repository is by its name, empty when the config no longer names its host."""
        try:
            return self._url_of(identity)
        except UnknownPath:
            return ""

    async def pushed(self, identity: Identity, before: Mapping[str, str] = MappingProxyType({})) -> bool:
        """Take notice that something was pushed to a repository's upstream.

        :param before: where the refs were that were pushed to, as far as that is told.
        :return: whether its mirror fetches now; False when there is none, or the disk holds up the first look at it.
        """
        self._freshness.changed(identity)
        with suppress(StorageUnavailable):
            await self._mirrors.first_looks.look(identity)
        mirror = self._mirrors.find(identity)
        if mirror is None or not mirror.life.ready:
            return False
        self._background.start(self._follow(mirror, before), f"fetch of {identity.name}")
        return True

    async def _follow(self, mirror: Mirror, before: Mapping[str, str]) -> None:
        """Bring a mirror to where its upstream is, until that shows the push."""
        identity = mirror.identity
        await self._fetch(identity)
        for pause in _AGAIN_AFTER:
            if not any(_is_at(mirror, name, oid) for name, oid in before.items()):
                return
            await deferLater(self._reactor, pause)
            self._freshness.changed(identity)
            await self._fetch(identity)


def _is_at(mirror: Mirror, name: str, oid: str) -> bool:
    """Say whether a mirror has a ref where it was; empty for nowhere."""
    return is_mirrored(name) and mirror.refs.by_name.get(name, "") == oid
