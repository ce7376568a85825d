"""What is at hand of upstreams' refs: found without asking anybody."""

from collections.abc import Iterable, Iterator

from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import NOTHING, holds, is_part
from cachew.mirrors.refknowledge import OF_ALL, KeptOutcomes, RefOutcome
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import UpstreamError
from cachew.upstream.listing import Listing


class KnownRefs:
    """What is at hand of upstreams' refs, however old it is.

    :param kept: what upstreams have said.
    :param clock: tells how old it is.
    """

    def __init__(self, *, kept: KeptOutcomes, clock: Clock) -> None:
        self._kept = kept
        self._clock = clock

    def listing(self, identity: Identity, below: str | None = None) -> Listing | None:
        """Return the newest listing of heads and tags.

        :param below: a prefix whose refs are enough, where there is none.
        """
        kept = self._newest(identity)
        if kept is None and below is not None:
            kept = self._newest_part(identity, below)
        return None if kept is None else kept.listing

    def unlisted(self, identity: Identity, oids: Iterable[str]) -> Iterator[str]:
        """Find those of the object ids that no listing has which is at hand, whatever it is of.

        They are looked for one by one: a stranger chooses how many there are, and few are enough to refuse him.
        """
        listings = [self._kept.listing(question) for question in self._kept.questions(identity)]
        listed = [listing.oids() for listing in listings if listing is not None]
        return (oid for oid in oids if not any(oid in some for some in listed))

    def checked(self, identity: Identity, now: float) -> float | None:
        """Return when the upstream last said what its heads and tags are, on the scale of ``now``; None for never."""
        kept = self._newest(identity)
        if kept is None:
            return None
        return now - (self._clock.seconds() - kept.started)

    def asked_within(self, identity: Identity, seconds: float) -> bool:
        """Whether the upstream has been asked for any of its heads and tags within so many seconds."""
        kinds = (*OF_ALL, NOTHING)
        questions = [asked for asked in self._kept.questions(identity) if asked[1] in kinds or is_part(asked[1])]
        kept = [self._kept.get(asked) for asked in questions]
        return any(one is not None and self._clock.seconds() - one.started <= seconds for one in kept)

    def failure(self, identity: Identity) -> UpstreamError | None:
        """Return why the upstream could not say what its heads and tags are when last asked; None if it could."""
        newest = _last_of(self._of_all(identity))
        return newest.result if newest is not None and isinstance(newest.result, UpstreamError) else None

    def _newest(self, identity: Identity) -> RefOutcome | None:
        return _last_of(one for one in self._of_all(identity) if one.listing is not None)

    def _of_all(self, identity: Identity) -> list[RefOutcome]:
        return [one for kind in OF_ALL if (one := self._kept.get((identity, kind))) is not None]

    def _newest_part(self, identity: Identity, below: str) -> RefOutcome | None:
        questions = [asked for asked in self._kept.questions(identity) if asked[1] and holds(asked[1], below)]
        return _last_of(one for asked in questions if (one := self._kept.get(asked)) is not None)


def _last_of(outcomes: Iterable[RefOutcome]) -> RefOutcome | None:
    return max(outcomes, key=lambda one: one.number, default=None)
