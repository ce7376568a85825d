"""What objects one mirror has."""

from collections.abc import Collection, Iterable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cachew.mirrors.life import MirrorLife
from cachew.mirrors.listings import MirroredRefs
from cachew.mirrors.place import MirrorPlace
from cachew.upstream.listing import oid_width

_FEW = 100
"""Ids that are looked up without looking first whether refs have them."""
_STEPS = 16
"""Commits among which it is looked whether they follow on others."""
_AT_ONCE = 2000
"""Ids that are looked up in one turn, which takes some milliseconds."""


class MirroredObjects:
    """The objects of one mirror.

    :param life: what becomes of the mirror.
    :param place: where it lies.
    :param refs: its refs.
    :param reactor: lets others have their turn.
    """

    def __init__(self, *, life: MirrorLife, place: MirrorPlace, refs: MirroredRefs, reactor: IReactorTime) -> None:
        self._life = life
        self._place = place
        self._refs = refs
        self._reactor = reactor

    def missing(self, oids: Iterable[str]) -> list[str]:
        """Return those of the object ids that the mirror does not have; all of them while there is no mirror.

        A tip that is set aside is one of them: it may be here without what it reaches.
        """
        repository = self._place.found
        wanted = list(oids)
        if repository is None or self._life.comparing:
            return wanted
        if len(wanted) > _FEW and isinstance(tips := self._refs.state.oids, frozenset):
            # Of very many refs packs tell that sooner.
            wanted = [oid for oid in wanted if oid not in tips]
        absent = repository.objects.missing(wanted)
        if not self._refs.set_aside:
            return absent
        lacking = self._refs.set_aside.oids.union(absent)
        return [oid for oid in wanted if oid in lacking]

    def follow_soon(self, oids: Collection[str], others: Collection[str]) -> bool:
        """Say whether some commits follow on all others within a few steps, as far as packs tell it at once."""
        repository = self._place.found
        if repository is None or len(oids) >= _STEPS:
            return False
        return repository.objects.ancestors(oids, _STEPS, others).issuperset(others)

    def hopeful(self, oids: Iterable[str]) -> list[str]:
        """Return the object ids that are not known to be nowhere to be had; one of another format is of no object."""
        hopeless, width = self._refs.set_aside.oids, oid_width(self._refs.object_format)
        return [oid for oid in oids if len(oid) == width and oid not in hopeless]

    async def lacking(self, oids: Sequence[str]) -> list[str]:
        """Return the same as :meth:`missing`, and let others have their turn while very many are looked up."""
        found = self.missing(oids[:_AT_ONCE])
        for start in range(_AT_ONCE, len(oids), _AT_ONCE):
            await deferLater(self._reactor, 0)
            found += self.missing(oids[start : start + _AT_ONCE])
        return found
