"""The commands of git clients, as requests are read into them (pure).

What many clients ask in the same words is read once, and what is told of a command here is found out once, too.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import overload
from urllib.parse import unquote

from cachew.plumbing.logs import in_one_word

_LONGEST = 32
_RECORD = 1 + _LONGEST
_MOST_NESTED = 3
"""How deep filters are combined in filters, each level of which is percent-encoded once more."""
_NAMED = 3
"""Names that are told in the log."""
_SHALLOW_DIGITS = 3
"""Digits of a depth up to which it is of few commits: who names a million to be served like those has all of them."""
_LESS = frozenset({"shallow", "deepen", "deepen-relative", "deepen-since", "deepen-not", "filter", "packfile-uris"})
_OWN = frozenset({"shallow", "want-ref", "packfile-uris"})
"""Arguments that say what one client has, or is answered with."""
_KNOWN = frozenset({"deepen-relative", "deepen-since", "deepen-not"})


class Oids(Sequence[str]):
    """Object ids in hex, in lower case and in their order, many of them in little memory.

    A mirror of a large repository wants a million refs; as strings their ids take three times what they took on the
    wire.

    :param oids: the first ones, SHA-1 or SHA-256.
    """

    def __init__(self, oids: Iterable[str] = ()) -> None:
        self._records = bytearray()
        for oid in oids:
            self.append(oid)

    def append(self, oid: str) -> None:
        """Add one.

        :raise ValueError: when it is not hex.
        """
        binary = bytes.fromhex(oid)
        self._records += bytes((len(binary),)) + binary.ljust(_LONGEST, b"\0")

    def __len__(self) -> int:
        return len(self._records) // _RECORD

    def _at(self, index: int) -> str:
        start = index * _RECORD
        return self._records[start + 1 : start + 1 + self._records[start]].hex()

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self._at(number) for number in range(*index.indices(len(self)))]
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[str]:
        return map(self._at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} object ids>"

    def digest(self) -> str:
        """Return a digest that depends neither on their order nor on how often one is there."""
        records = (self._records[start : start + _RECORD] for start in range(0, len(self._records), _RECORD))
        digest, before = sha256(), b""
        for record in sorted(map(bytes, records)):
            if record != before:
                digest.update(record)
            before = record
        return digest.hexdigest()


@dataclass(frozen=True)
class Probe:
    """A lone flush packet, which git sends ahead of a large request; its answer is empty."""

    @cached_property
    def in_words(self) -> str:
        """What is asked for, for the log."""
        return "probe"


@dataclass(frozen=True)
class V2LsRefs:
    """``ls-refs``: the ref listing, hence the gate of freshness.

    :param prefixes: ``ref-prefix`` arguments; empty means every ref.
    :param unknown: arguments that are not known here.
    """

    prefixes: tuple[str, ...] = ()
    symrefs: bool = False
    peel: bool = False
    unborn: bool = False
    agent: str | None = None
    object_format: str = "sha1"
    unknown: tuple[str, ...] = ()

    @cached_property
    def in_words(self) -> str:
        """What is asked for, for the log."""
        return " ".join(["ls-refs", *_some(self.prefixes)])


@dataclass(frozen=True)
class _Objects:
    """What a request for objects says in every protocol.

    :param wants: object ids, in the client's order.
    :param haves: how many objects the client says it has; such a request without ``done`` is a round of negotiation,
        and is answered with a pack only when the server is ready.
    :param features: names of all arguments but ``want``, ``have`` and ``done``; in v0 of the capabilities, too.
    :param not_after: the refs of ``deepen-not``.
    :param wanted: a digest of the wants, whatever their order.
    :param shape: a digest of the capabilities and arguments that shape the answer, as they came, without ``want``
        lines.
    :param limits: filter and depth as they came, for the log.
    :param had: the ids of what the client says it has, where they are so few that it has no others to name.
    """

    wants: Sequence[str]
    haves: int
    done: bool
    features: frozenset[str]
    object_format: str
    not_after: tuple[str, ...]
    wanted: str = field(repr=False)
    shape: str = field(repr=False)
    limits: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    had: tuple[str, ...] = field(default=(), compare=False, repr=False)

    version = 0

    @cached_property
    def in_words(self) -> str:
        """What is asked for, for the log."""
        words = ["fetch", f"v{self.version}", f"wants={len(self.wants)}", f"haves={self.haves}"]
        words += [f"want-ref={name}" for name in _some(getattr(self, "want_refs", ()))]
        words += [f"{name}={in_one_word(value)}" for name, value in self.limits]
        return " ".join(words if self.done else [*words, "negotiates"])

    @cached_property
    def is_whole(self) -> bool:
        """Whether it is answered with all that its wants reach, as far as can be told.

        Clients of v0 say that they know how to deepen by date, whether they do it or not.
        """
        return self.done and not self.haves and not self._left_out

    @cached_property
    def filter_of_all(self) -> str:
        """The filter of a clone for which nothing else is left out; empty for anything else."""
        alone = self.done and not self.haves and self._left_out == {"filter"}
        return dict(self.limits).get("filter", "") if alone else ""

    @property
    def _left_out(self) -> frozenset[str]:
        return _LESS & self.features

    @cached_property
    def filters_by_object(self) -> bool:
        """Whether what is left out depends on an object that the filter names, by whatever name (``sparse:oid``)."""
        chosen = dict(self.limits).get("filter", "")
        for _ in range(_MOST_NESTED):
            chosen = unquote(chosen)
        return "sparse:" in chosen or unquote(chosen) != chosen

    @cached_property
    def may_have_shape(self) -> bool:
        """Whether it may come again for the next tip, from whoever (:mod:`cachew.smarthttp.requestshapes`)."""
        return bool(self.wants) and self.done and not self.haves and _OWN.isdisjoint(self.features)

    @property
    def has_cut_off(self) -> bool:
        """Whether the client says that it has commits without those before them, as a workspace of CI does."""
        return "shallow" in self.features

    @property
    def is_cheap(self) -> bool:
        """Whether it costs little whatever the repository's size: one of a few commits, with nothing to find."""
        return not self.haves and self.is_of_few

    @cached_property
    def is_of_few(self) -> bool:
        """Whether no more than some hundred commits one behind the other are asked for."""
        return "deepen" in self.features and len(dict(self.limits).get("deepen", "").lstrip("0")) <= _SHALLOW_DIGITS

    @cached_property
    def looks_at(self) -> tuple[str, ...]:
        """The prefixes of the refs that its answer depends on."""
        if self.not_after or self.filters_by_object:
            return ("refs/",)
        return ("refs/tags/",) if "include-tag" in self.features else ()


@dataclass(frozen=True)
class V2Fetch(_Objects):
    """``fetch``: objects.

    :param want_refs: the refs that are wanted by their names, whatever they are (``ref-in-want``).
    """

    want_refs: tuple[str, ...] = field(default=(), repr=False)

    version = 2


@dataclass(frozen=True)
class V2Other:
    """A command that is not read any further (``object-info``, ``bundle-uri``, or one yet to be invented)."""

    name: str

    @cached_property
    def in_words(self) -> str:
        """What is asked for, for the log."""
        return in_one_word(self.name)


@dataclass(frozen=True)
class V0Request(_Objects):
    """Wants and haves of protocol v0 or v1.

    :param capabilities: those on the first ``want`` line.
    """

    capabilities: frozenset[str] = frozenset()

    @property
    def _left_out(self) -> frozenset[str]:
        return _LESS & (self.features - (self.capabilities & _KNOWN))


Fetch = V2Fetch | V0Request
GitCommand = Probe | V2LsRefs | V2Fetch | V2Other | V0Request


def _some(names: Iterable[str]) -> list[str]:
    """Return the first names for the log, and how many there are besides."""
    known = list(names)
    more = [f"+{len(known) - _NAMED}"] if len(known) > _NAMED else []
    return [*map(in_one_word, known[:_NAMED]), *more]
