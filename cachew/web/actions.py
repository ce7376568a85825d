"""What can be done with a repository, whoever asks for it: the admin API, its page, the shell, the prefetching."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.logger import Logger

from cachew.mirrors.collection import Mirrors, examine
from cachew.mirrors.identity import Grammar, Identity
from cachew.mirrors.mirroring import Mirroring
from cachew.plumbing.background import Background
from cachew.plumbing.errors import BadRequest, NotFound
from cachew.snapshots.variants import Variant

ACTIONS = ("fetch", "snapshot", "repack", "scrub", "forget")
"""What can be asked for a repository."""


class RepositoryWork:
    """Begins work on repositories that somebody wants done now.

    :param mirrors: the mirrors.
    :param mirroring: has them made that are missing.
    :param background: where it is done, since nobody waits for it.
    :param fetch: brings a repository's mirror to where its upstream is now.
    :param make: makes an archive of a repository now.
    :param forget: gives up all that is kept of a repository.
    :param keeps: whether anything may be kept of one.
    """

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        mirroring: Mirroring,
        background: Background,
        fetch: Callable[[Identity], Coroutine[Any, Any, object]],
        make: Callable[[Identity, Variant], Coroutine[Any, Any, object]],
        forget: Callable[[Identity], Coroutine[Any, Any, object]],
        keeps: Callable[[Identity], Awaitable[bool]],
    ) -> None:
        self._mirrors = mirrors
        self._mirroring = mirroring
        self._background = background
        self._fetch = fetch
        self._make = make
        self._forget = forget
        self._keeps = keeps

    async def act(self, identity: Identity, action: str) -> None:
        """Begin an action on a repository; its end is not waited for.

        A fetch of one that is not mirrored mirrors it, so that it is there before anybody asks.

        :raise NotFound: when no such repository is mirrored, or nothing is there to be forgotten.
        :raise UnknownPath: when its host isn't admitted.
        """
        await self._mirrors.first_looks.look(identity)
        mirror = self._mirrors.find(identity)
        if action == "fetch" and (mirror is None or not mirror.life.ready):
            self._mirroring.try_again(identity)
            self._mirroring.want(identity)
            return
        if action == "forget":
            # LFS objects, snapshots and leave for them may be kept of what has no mirror.
            if mirror is None and not await self._keeps(identity):
                raise NotFound(f"nothing is kept of {identity.name}")
            self._background.start(self._forget(identity), f"forget of {identity.name}")
            return
        if mirror is None or not mirror.life.ready:
            raise NotFound(f"{identity.name} is not mirrored")
        actions: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "fetch": lambda: self._fetch(identity),
            "snapshot": lambda: self._make(identity, Variant()),
            "repack": mirror.maintenance.repack,
            "scrub": lambda: examine(mirror),
        }
        self._background.start(actions[action](), f"{action} of {identity.name}")

    async def bring(self, identity: Identity) -> None:
        """Have a repository mirrored, or its mirror fetched into, and wait for that.

        :raise CachewError: when it can't be done.
        """
        await self._mirrors.first_looks.look(identity)
        mirror = self._mirrors.find(identity)
        if mirror is not None and mirror.life.ready:
            await self._fetch(identity)
        else:
            self._mirroring.try_again(identity)
            await self._mirroring.made(identity)


class RepositoryActions:
    """Begins what people ask for, by the names that they write.

    :param work: what is begun.
    :param grammar: how repositories are named.
    """

    log = Logger()

    def __init__(self, *, work: RepositoryWork, grammar: Grammar) -> None:
        self._work = work
        self._grammar = grammar

    async def begin(self, name: str, action: str, *, sure: bool = True) -> Identity:
        """Begin a fetch, snapshot, repack or scrub of a repository, or forget it.

        :param name: as people write it.
        :param sure: whether who asks has said that he knows what is lost.
        :return: the repository.
        :raise NotFound: when there is no such action.
        :raise BadRequest: when it has to be said that one is sure.
        """
        if action not in ACTIONS:
            raise NotFound(f"no such action; there are {', '.join(ACTIONS)}")
        if action == "forget" and not sure:
            raise BadRequest("forget removes all that is kept of a repository; say that you are sure")
        identity = self._grammar.from_decoded(name)
        await self._work.act(identity, action)
        self.log.info("{action} of {repository} asked for", action=action, repository=identity.name)
        return identity
