"""Instances: what a repository's name stands for, as long as it stands for the same repository (pure).

A name is not a repository for ever: repositories are deleted and made again, transferred, published after their history
was amended. Everything that is kept of a repository belongs to one instance and is found under its unguessable id only,
so that it can't be reached any more once the instance has ended. Whether one goes on is decided here, out of what the
upstream has said to whom; doubts are decided against serving what is kept.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from cachew.mirrors.identity import Identity
from cachew.upstream.listing import Listing
from cachew.upstream.refviews import OidsOfRefs

MOST_TIPS = 48
"""Object ids by which an instance is recognised where there is no mirror."""
_ENOUGH_TIPS = 4


@dataclass(frozen=True, order=True, slots=True)
class Instance:
    """One instance of a repository.

    :param identity: the repository.
    :param id: 32 hex digits that nobody can guess; empty for what belongs to no instance and is never served.
    """

    identity: Identity
    id: str
    name: str = field(init=False, repr=False, compare=False)
    """What keys and shared records call it; no two instances have one name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.identity.name} {self.id}")


class Voice(Enum):
    """As whom an upstream was asked."""

    ANONYMOUS = "anonymous"
    OWN = "own"
    """With the server's own credential."""
    CLIENT = "client"


class Trouble(Enum):
    """Whether one who used to be served by the upstream was refused since."""

    NONE = ""
    REFUSED = "refused"
    HOST = "host"
    """Many repositories of its host were, all at a time: that says little about this one."""


@dataclass(frozen=True)
class InstanceState:
    """What is known of the present instance of a repository.

    :param id: its id; empty when the last one has ended and none has begun since.
    :param voices: whom the upstream has served, ``CLIENT`` excepted: an instance is public when it is anybody.
    :param object_format: ``sha1`` or ``sha256``.
    :param tips: some of the object ids that were listed last.
    :param trouble: whether one of the voices was refused since.
    :param base: where the repository was found when it was listed last; empty for its own address.
    :param began: when it began, in epoch seconds.
    """

    id: str = ""
    voices: frozenset[Voice] = frozenset()
    object_format: str = "sha1"
    tips: tuple[str, ...] = ()
    trouble: Trouble = Trouble.NONE
    base: str = ""
    began: float = 0.0

    @property
    def public(self) -> bool:
        """Whether the upstream serves it to everybody, as far as it has said."""
        return Voice.ANONYMOUS in self.voices

    def fields(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return {
            "id": self.id,
            "voices": sorted(voice.value for voice in self.voices),
            "object-format": self.object_format,
            "tips": list(self.tips),
            "trouble": self.trouble.value,
            "base": self.base,
            "began": self.began,
        }

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "InstanceState | None":
        """Read what :meth:`fields` gave; None when it is something else."""
        try:
            return cls(
                str(fields["id"]),
                frozenset(map(Voice, fields["voices"])),
                str(fields["object-format"]),
                tuple(map(str, fields["tips"])),
                Trouble(fields["trouble"]),
                str(fields["base"]),
                float(fields["began"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


class Verdict(Enum):
    """What an upstream's answer means for what is kept."""

    GOES_ON = "goes on"
    """It is the same instance, and the listing is everybody's who may read it."""
    ASIDE = "aside"
    """It says nothing about the instance; the answer is for its asker alone, who gets nothing that is kept."""
    PRIVATELY = "privately"
    """The asker may have what is kept, but what was listed to him may not be everybody's."""
    DOUBT = "doubt"
    """Only a fetch can tell whether it is the same repository."""
    BEGINS = "begins"
    """It is another instance."""
    LATE = "late"
    """It answers a question from before the present instance began; only a new one tells anything."""


def judge(state: InstanceState | None, voice: Voice, related: bool | None) -> Verdict:
    """Decide what a listing means.

    :param state: what is known; None when nothing ever was.
    :param voice: whom the upstream has served.
    :param related: whether the listing shares history with the instance; None when that can't be told yet.
    """
    if state is None or not state.id or (voice is Voice.ANONYMOUS and not state.public):
        return Verdict.BEGINS
    if state.public and voice is not Voice.ANONYMOUS:
        return _to_somebody(state, related)
    if related is False or state.trouble is Trouble.REFUSED:
        return Verdict.BEGINS
    return Verdict.DOUBT if related is None else Verdict.GOES_ON


def _to_somebody(state: InstanceState, related: bool | None) -> Verdict:
    """Decide what it means that the upstream serves somebody what everybody could have until now."""
    if state.trouble is Trouble.REFUSED:
        return Verdict.BEGINS
    return Verdict.PRIVATELY if related and state.trouble is Trouble.NONE else Verdict.ASIDE


def gone_on(state: InstanceState, voice: Voice, listing: Listing) -> InstanceState:
    """Return what is known of an instance that goes on with a listing."""
    # Where a client is redirected to is its own matter.
    personal = voice is Voice.CLIENT
    voices, base = (state.voices, state.base) if personal else (state.voices | {voice}, listing.base)
    oids = listing.oids()
    # The first listing may have been one of a few refs.
    enough = len(state.tips) >= _ENOUGH_TIPS or len(state.tips) >= len(tips_of(listing))
    tips = state.tips if enough and overlap(state.tips, oids) * 2 > len(state.tips) else tips_of(listing)
    return replace(state, voices=voices, tips=tips, trouble=Trouble.NONE, base=base)


def begun(id: str, voice: Voice, listing: Listing, now: float) -> InstanceState:
    """Return what is known of an instance that begins with a listing."""
    voices = frozenset({voice} - {Voice.CLIENT})
    base = listing.base if voices else ""
    return InstanceState(id, voices, listing.object_format, tips_of(listing), Trouble.NONE, base, now)


def refused(state: InstanceState, voice: Voice, trouble: Trouble) -> InstanceState | None:
    """Return what is known after a voice was refused; None when that says nothing of the instance.

    :param trouble: what to make of it.
    """
    tells = voice in state.voices and (voice is Voice.ANONYMOUS or not state.public)
    return replace(state, trouble=trouble) if state.id and tells and state.trouble is not trouble else None


def merged(own: InstanceState, told: InstanceState) -> InstanceState:
    """Return what is known of an instance of which another replica knows something else.

    That somebody was refused is never forgotten but for the finding that it was the host's trouble.
    """
    troubles = {own.trouble, told.trouble}
    trouble = told.trouble if Trouble.REFUSED not in troubles else Trouble.REFUSED
    if troubles == {Trouble.REFUSED, Trouble.HOST}:
        trouble = Trouble.HOST
    return replace(own, voices=own.voices | told.voices, trouble=trouble)


def tips_of(listing: Listing) -> tuple[str, ...]:
    """Return object ids by which a later listing is recognised: HEAD's, and of the others those that sort first.

    What sorts first is the same in another listing of nearly the same refs.
    """
    head = listing.head_oid
    oids = listing.oids()
    others = oids.first(MOST_TIPS - 1) if isinstance(oids, OidsOfRefs) else sorted(oids)[: MOST_TIPS - 1]
    return tuple(dict.fromkeys([*([head] if head else []), *others]))


def overlap(tips: Iterable[str], oids: Set[str]) -> int:
    """Return how many of the tips are among the ids."""
    return sum(tip in oids for tip in tips)
