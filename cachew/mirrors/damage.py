"""Damage of one mirror, and how it is healed: mended in its place where that can be done, else made anew."""

from collections.abc import Callable

from twisted.logger import Logger

from cachew.mirrors.examination import DamagedFiles
from cachew.mirrors.life import MirrorLife
from cachew.mirrors.listings import MirroredRefs
from cachew.mirrors.machine import MirrorEvent
from cachew.mirrors.maintenance import Maintenance
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.mirrors.place import MirrorPlace
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.metrics import Metrics


class Damage:
    """Finds and heals the damage of one mirror. Whoever has it do so holds the mirror's locks.

    :param life: what becomes of the mirror.
    :param place: where it lies.
    :param refs: its refs.
    :param maintenance: makes again what git derives from packs.
    :param clock: what time it is.
    :param metrics: where damage is counted.
    :param on_damage: told of the moment, in monotonic seconds, from which on what was made of it may be damaged too.
    :ivar place: where the mirror lies.
    :ivar what: what was damaged last, None for nothing.
    :ivar at: when that was found, in epoch seconds.
    :ivar sound_at: since when nothing is known to have been damaged, in monotonic seconds.
    """

    log = Logger()

    def __init__(
        self,
        *,
        life: MirrorLife,
        place: MirrorPlace,
        refs: MirroredRefs,
        maintenance: Maintenance,
        clock: Clock,
        metrics: Metrics,
        on_damage: Callable[[float], object],
    ) -> None:
        self._life = life
        self.place = place
        self._refs = refs
        self._maintenance = maintenance
        self._clock = clock
        self._metrics = metrics
        self._on_damage = on_damage
        self.what: str | None = None
        self.at: float | None = None
        self.sound_at = 0.0

    async def examine(self, *, contents: bool) -> DamagedFiles:
        """Look for damage.

        :param contents: whether files are read through, or only what is written in their inodes.
        """
        started = self._clock.seconds()
        found = await self.place.repository.examine(self.place.upstream_url, contents=contents)
        if contents and not found:
            self.sound_at = started
        return found

    async def mend(self, found: DamagedFiles) -> bool:
        """Mend what can be mended in its place; what was made of it meanwhile is withdrawn.

        :return: whether that could be done: where not, nothing is known of the mirror any more.
        """
        self._note(str(found), "the mirror of {repository} was damaged and is mended: {damage}")
        life, refs = self._life, self._refs
        try:
            await self.place.repository.mend(found, refs.listing, self.place.upstream_url)
            # What could not be followed was not the upstream's fault.
            refs.set_aside.clear()
            life.renew()
            record = MirrorRecord(life.identity, refs.object_format, life.instance.id, life.generation)
            record.write(self.place.directory)
        except (OSError, ProcessFailed) as error:
            self.log.warn(
                "the mirror of {repository} can't be mended: {error}", repository=life.identity.name, error=str(error)
            )
            return False
        self._on_damage(self.sound_at)
        if found.derived:
            self._maintenance.index_behind()
        return True

    async def lose(self, reason: str) -> None:
        """Give a damaged mirror up, so that a new one is made.

        :raise OSError: when it can't be removed.
        """
        self._note(reason, "the mirror of {repository} is damaged and is made anew: {damage}")
        self._life.last_error = f"it was damaged and is made anew: {reason}"
        try:
            await discard(self._life, self.place, self._refs)
        except OSError:
            self._on_damage(self.sound_at)
            raise
        self._on_damage(self.sound_at)

    def _note(self, damage: str, message: str) -> None:
        self.what = damage
        self.at = self._clock.now()
        self._metrics.damage.labels("mirror").inc()
        self.log.error(message, repository=self._life.identity.name, damage=damage)


async def discard(life: MirrorLife, place: MirrorPlace, refs: MirroredRefs) -> None:
    """Remove a mirror from the disk, and know nothing of it any more."""
    life.step(MirrorEvent.FORGOTTEN)
    place.close()
    place.let_go()
    life.leave()
    refs.set_aside.clear()
    refs.clear()
    await place.discard()
