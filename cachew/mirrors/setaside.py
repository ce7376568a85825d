"""The refs that a mirror does not follow for now, because what they name can't be had.

An upstream may name an object that it lacks itself, or that no git can read. Such a tip keeps no other ref back: the
ref stays where the mirror has it, clients that want the tip are answered by the upstream, and it is tried again later,
more seldom each time. A tip is a name and an object id together: a ref that moves on is tried at once.

Behind one name hosts have several servers, which are not always in step: what one has just listed the next one may call
"not our ref" for a second (kubernetes/test-infra#15225, openshift/release#6110). So that is tried again soon.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from twisted.logger import Logger

from cachew.mirrors.gitfailures import says_not_here
from cachew.mirrors.identity import Identity
from cachew.mirrors.moved import Moved, with_refs
from cachew.mirrors.refs import Tip, printable
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.metrics import Metrics
from cachew.upstream.listing import Listing, RemoteRef
from cachew.upstream.manyrefs import ManyRefs

_FIRST_PAUSE = 60.0
_OUT_OF_STEP = 1.0
"""Seconds after which a tip is tried again that another server of the host may have already."""
_LAST_PAUSE = 3600.0
_MOST_TOLD = 20
"""Refs that the log names of those that are set aside together."""


@dataclass(frozen=True)
class _TipTrouble:
    reason: str
    pause: float
    again_at: float


class SetAside:
    """The tips of one mirror that are set aside.

    :param identity: the repository that is mirrored.
    :param clock: where pauses come from.
    :param metrics: where they are counted.
    """

    log = Logger()

    def __init__(self, *, identity: Identity, clock: Clock, metrics: Metrics) -> None:
        self._identity = identity
        self._clock = clock
        self._metrics = metrics
        self._troubles: dict[Tip, _TipTrouble] = {}

    def __len__(self) -> int:
        return len(self._troubles)

    @property
    def oids(self) -> frozenset[str]:
        """The object ids that can't be had."""
        return frozenset(oid for _, oid in self._troubles)

    def reasons(self, most: int = 20) -> dict[str, str]:
        """Return why refs are not followed, by their full names; of many some."""
        return {printable(name): trouble.reason for (name, _), trouble in islice(self._troubles.items(), most)}

    def waits(self, tip: Tip) -> bool:
        """Say whether a tip is not to be tried now."""
        trouble = self._troubles.get(tip)
        return trouble is not None and self._clock.seconds() < trouble.again_at

    def due(self, moved: Moved) -> Moved:
        """Return those of the refs that moved which are to be followed now."""
        return {
            name: ref for name, ref in moved.items() if ref is None or not (ref.oid and self.waits((name, ref.oid)))
        }

    def note(self, tips: Mapping[Tip, ProcessFailed]) -> None:
        """Set tips aside, longer than the time before."""
        now = self._clock.seconds()
        # Where all of very many have failed it is for one reason.
        reasons = {id(failure): str(failure) for failure in tips.values()}
        for tip, failure in tips.items():
            known = self._troubles.get(tip)
            pause = _first_pause(failure) if known is None else min(_LAST_PAUSE, 2 * known.pause)
            self._troubles[tip] = _TipTrouble(reasons[id(failure)], pause, now + pause)
        self._metrics.refs_set_aside.inc(len(tips))
        self._tell(tips)

    def _tell(self, tips: Mapping[Tip, ProcessFailed]) -> None:
        for (name, oid), failure in islice(tips.items(), _MOST_TOLD):
            self.log.warn(
                "{repository}: {name} is not followed to {oid} for now: {failure}",
                repository=self._identity.name,
                name=printable(name),
                oid=oid,
                failure=str(failure),
            )
        if len(tips) > _MOST_TOLD:
            self.log.warn(
                "{repository}: {count} more refs are not followed for now",
                repository=self._identity.name,
                count=len(tips) - _MOST_TOLD,
            )

    def there(self, tips: Iterable[Tip]) -> None:
        """Forget tips that could be had."""
        for tip in tips:
            self._troubles.pop(tip, None)

    def had(self, listing: Listing, failed: Collection[Tip]) -> None:
        """Forget the tips that could be had when a listing was followed, without a look at all that it tells.

        :param failed: those that could not.
        """
        if self._troubles:
            listed = listing.by_name
            tried = [tip for tip in self._troubles if (ref := listed.get(tip[0])) is not None and ref.oid == tip[1]]
            self.there(tip for tip in tried if tip not in failed)

    def clear(self) -> None:
        """Forget all."""
        self._troubles.clear()

    def keep_only(self, listing: Listing) -> None:
        """Forget the tips that the upstream has no more."""
        if self._troubles:
            listed = listing.by_name
            there = {tip for tip in self._troubles if (ref := listed.get(tip[0])) is not None and ref.oid == tip[1]}
            self._troubles = {tip: trouble for tip, trouble in self._troubles.items() if tip in there}

    def allowed(self, listing: Listing, before: Listing, *, also_due: bool) -> Listing:
        """Return what of a listing is to be followed.

        :param before: what the mirror has: a ref that is not followed stays as it is there.
        :param also_due: whether tips that are to be tried again now are among it.
        """
        now = self._clock.seconds()
        out = {tip for tip, trouble in self._troubles.items() if not (also_due and now >= trouble.again_at)}
        return without(listing, out, before) if out else listing


def _first_pause(failure: ProcessFailed) -> float:
    return _OUT_OF_STEP if says_not_here(failure) else _FIRST_PAUSE


def without(listing: Listing, tips: Iterable[Tip], before: Listing) -> Listing:
    """Return a listing in which certain tips are replaced by what was there before, or left out."""
    out = set(tips)
    if isinstance(listing.refs, ManyRefs):
        return with_refs(listing, _instead(listing, out, before))
    kept = []
    for ref in listing.refs:
        if ref.oid is None or (ref.name, ref.oid) not in out:
            kept.append(ref)
        elif (old := before.by_name.get(ref.name)) is not None and old.oid is not None:
            kept.append(old)
    names = {ref.name: ref for ref in kept}
    return replace(listing, refs=tuple(_head_of(ref, names, listing) for ref in kept))


def _instead(listing: Listing, out: Iterable[Tip], before: Listing) -> dict[str, RemoteRef | None]:
    """Return what takes the place of those tips that are listed; None for nothing."""
    listed = [name for name, oid in out if (ref := listing.by_name.get(name)) is not None and ref.oid == oid]
    former = {name: before.by_name.get(name) for name in listed}
    return {name: ref if ref is not None and ref.oid is not None else None for name, ref in former.items()}


def _head_of(ref: RemoteRef, names: Mapping[str, RemoteRef], listing: Listing) -> RemoteRef:
    """Let a symbolic HEAD have what its branch has now."""
    if ref.name != "HEAD" or ref.symref_target is None or ref.symref_target not in listing.by_name:
        return ref
    target = names.get(ref.symref_target)
    return replace(ref, oid=None if target is None else target.oid, peeled=None if target is None else target.peeled)
