"""What a push elsewhere, that a forge tells of, means to the mirrors."""

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.plumbing.background import Background
from cachew.plumbing.errors import UnknownPath
from cachew.web.forgeevents import address_of


class PushNotices:
    """Finds the mirrors that a push concerns, and has them fetch.

    :param mirrors: the mirrors.
    :param freshness: the ref gate, which takes no older answer for fresh any more.
    :param background: where it is fetched.
    :param fetch: brings a repository's mirror to where its upstream is now.
    :param url_of: tells where a repository's upstream is, or has moved to; raises ``UnknownPath`` when its host isn't
        admitted.
    """

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        freshness: Freshness,
        background: Background,
        fetch: Callable[[Identity], Coroutine[Any, Any, object]],
        url_of: Callable[[Identity], str],
    ) -> None:
        self._mirrors = mirrors
        self._freshness = freshness
        self._background = background
        self._fetch = fetch
        self._url_of = url_of

    def mirrored_as(self, urls: Collection[str], paths: Collection[str]) -> Sequence[Identity]:
        """Return the mirrored repositories that have moved to one of the URLs, or have one of the paths."""
        addresses = {address_of(url).casefold() for url in urls} - {""}
        known = {path.casefold() for path in paths}
        ends = tuple({address.rpartition("/")[2] for address in addresses})

        def meant(identity: Identity) -> bool:
            if identity.path.casefold() in known:
                return True
            # Of tens of thousands nearly all are told apart by how they end, which costs little.
            try:
                url = self._url_of(identity)
            except UnknownPath:
                # It is of a host that the config no longer names.
                return False
            ends_so = url.rstrip("/").removesuffix(".git").rstrip("/").casefold().endswith(ends)
            return ends_so and address_of(url).casefold() in addresses

        mirrored = [*(mirror.identity for mirror in self._mirrors.known()), *self._mirrors.first_looks.unseen]
        return list(filter(meant, mirrored))

    async def pushed(self, identity: Identity) -> bool:
        """Take notice that something was pushed to a repository's upstream.

        :return: whether its mirror fetches now; False when there is none.
        """
        self._freshness.changed(identity)
        await self._mirrors.first_looks.look(identity)
        mirror = self._mirrors.find(identity)
        if mirror is None or not mirror.life.ready:
            return False
        self._background.start(self._fetch(identity), f"fetch of {identity.name}")
        return True
