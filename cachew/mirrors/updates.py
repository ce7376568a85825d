"""How one mirror is brought to where its upstream is: the one fetch in flight towards the refs that everyone joins.

Nobody waits for it to learn the refs. Who comes while a fetch is under way joins the next one, which takes up all that
was listed meanwhile; an older listing never undoes a newer one.
"""

from collections.abc import Coroutine
from typing import Any

from twisted.logger import Logger

from cachew.mirrors.coalescing import Rounds
from cachew.mirrors.fetches import Fetches
from cachew.mirrors.instances import Instances
from cachew.mirrors.life import MirrorLife
from cachew.mirrors.listings import MirroredRefs
from cachew.mirrors.locks import MirrorLocks
from cachew.mirrors.machine import MirrorEvent
from cachew.mirrors.moved import Moved
from cachew.mirrors.packanswer import MOST_HAVES
from cachew.mirrors.place import MirrorPlace
from cachew.mirrors.refs import of_listing
from cachew.mirrors.target import Target
from cachew.mirrors.transfer import Transfer
from cachew.plumbing.errors import CachewError, Superseded
from cachew.upstream.listing import Listing


class Updates:
    """Brings one mirror to where its upstream is.

    :param life: what becomes of the mirror.
    :param place: where it lies.
    :param refs: its refs.
    :param transfer: fetches from its upstream.
    :param standing: knows the repository's present instance.
    :param fetches: runs its fetches.
    :param locks: its locks.
    :ivar fetches: how many fetches have brought it there so far.
    """

    log = Logger()

    def __init__(
        self,
        *,
        life: MirrorLife,
        place: MirrorPlace,
        refs: MirroredRefs,
        transfer: Transfer,
        standing: Instances,
        fetches: Fetches,
        locks: MirrorLocks,
    ) -> None:
        self._life = life
        self._place = place
        self._refs = refs
        self._transfer = transfer
        self._standing = standing
        self._fetches = fetches
        self._rounds = Rounds(lock=locks.refs, work=self._round)
        self._target = Target()
        self.fetches = 0

    @property
    def under_way(self) -> bool:
        """Whether a fetch towards the upstream's refs is under way."""
        return self._rounds.under_way

    def made_of(self, listed_at: float) -> None:
        """Take note that the mirror was made of a listing: what was listed before it counts no more."""
        self._target.reached(listed_at)

    async def sync(self, listing: Listing, listed_at: float) -> None:
        """Bring the mirror to what the upstream listed.

        :param listed_at: when the listing was asked for, by the mirror's clock; an older one never undoes a newer.
        :raise CachewError: when the fetch fails.
        """
        if self._target.all(listing, listed_at):
            await self._rounds.run()

    async def sync_part(self, moved: Moved, listed_at: float) -> None:
        """Bring some refs to where the upstream has them.

        :param moved: these, None for what is no more.
        :param listed_at: when they were asked for, by the mirror's clock; an older listing never undoes a newer.
        :raise CachewError: when the fetch fails.
        """
        if self._target.some(moved, listed_at):
            await self._rounds.run()

    async def followed(self) -> None:
        """Wait for the fetch under way, if there is one; its failure is that of others."""
        if self._rounds.under_way:
            try:
                await self._rounds.run()
            except CachewError as error:
                message = "fetch for wanted objects of {repository} failed: {error}"
                self.log.info(message, repository=self._life.identity.name, error=str(error))

    async def stop(self) -> None:
        """Break off the fetch under way, which no waiter's end breaks off."""
        await self._rounds.stop()

    async def _round(self) -> None:
        target = self._target.take()
        if target is not None and self._life.ready and self._refs.behind(target):
            await self._fetch(self._follow(target))
        if moved := self._pending():
            await self._fetch(self._follow_part(moved))

    def _pending(self) -> Moved:
        """Return which refs that were listed alone the mirror does not have yet."""
        if not self._target.has_parts or not self._life.ready:
            return {}
        return self._refs.set_aside.due(self._target.pending(self._refs.listing, self._refs.by_name))

    async def _fetch(self, work: Coroutine[Any, Any, None]) -> None:
        self._life.step(MirrorEvent.FETCH)
        done = False
        try:
            await self._fetches.of_refs(work)
            self.fetches, done = self.fetches + 1, True
        finally:
            self._life.step(MirrorEvent.DONE if done else MirrorEvent.FAILED)

    async def _follow(self, listing: Listing) -> None:
        refs = self._refs
        brought = frozenset[str]() if refs.recognises(listing) else await self._compare(listing)
        allowed, before = refs.wanted(listing), refs.state
        failed = await self._transfer.follow(self._place.repository, of_listing(allowed), brought=brought, known=before)
        refs.set_aside.had(allowed, failed)
        refs.set_aside.note(failed)
        refs.become(listing)
        if failed and not before.differs_from(refs.state):
            raise next(iter(failed.values()))

    async def _follow_part(self, moved: Moved) -> None:
        refs = self._refs
        failed = await self._transfer.follow_part(self._place.repository, refs.state, moved)
        tips = ((name, ref.oid) for name, ref in moved.items() if ref is not None and ref.oid is not None)
        refs.set_aside.there(tip for tip in tips if tip not in failed)
        refs.set_aside.note(failed)
        done = {name: ref for name, ref in moved.items() if ref is None or (name, ref.oid) not in failed}
        if done:
            refs.move(done)
        elif failed:
            raise next(iter(failed.values()))

    async def _compare(self, listing: Listing) -> frozenset[str]:
        """Fetch what is listed and see whether it is of the same repository; nothing is served of it before.

        :return: what has come.
        :raise Superseded: when it is of another one.
        """
        repository = self._place.repository
        self._life.comparing = True
        try:
            wanted = await repository.work.in_thread(set, of_listing(self._refs.wanted(listing)).oids)
            absent = await repository.work.missing(repository.objects, wanted)
            present = self._refs.state
            haves = present.oids if len(present.refs) <= MOST_HAVES else ()
            bad = await self._transfer.bring(repository, absent, haves=haves)
            self._refs.set_aside.note({(ref.name, ref.oid): bad[ref.oid] for ref in listing.refs if ref.oid in bad})
            if bad and wanted.issubset(bad):
                raise next(iter(bad.values()))
            related = await repository.history.shared(wanted.difference(bad), self._refs.state.oids)
            await self._standing.compared(self._life.instance, listing, related=related)
        except BaseException:
            self._standing.undecided(self._life.instance)
            raise
        finally:
            self._life.comparing = False
        if not related:
            raise Superseded(f"{self._life.identity.name} lists another history than before")
        return frozenset(absent).difference(bad)
