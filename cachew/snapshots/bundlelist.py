"""What ``git clone --bundle-uri`` is told: one full bundle and the deltas after it (pure).

The format is git's bundle list with the ``creationToken`` heuristic, see "BUNDLE LISTS" in git's bundle-uri design
document (Documentation/technical/bundle-uri). Tokens are times, so that they grow even across a new full bundle: a
client remembers the largest it has seen.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MOST_DELTAS = 12
"""After so many deltas a new full bundle is cheaper for everybody."""


@dataclass(frozen=True)
class ListedBundle:
    """One bundle of a list.

    :param token: its creation token, larger than those before it.
    :param name: what its address and its key contain.
    """

    token: int
    name: str


@dataclass(frozen=True)
class BundleList:
    """The bundles of a repository, the full one first.

    :param bundles: oldest first.
    :param tips: the branches as they are when all bundles are applied.
    """

    bundles: tuple[ListedBundle, ...] = ()
    tips: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return it as JSON."""
        bundles = [[bundle.token, bundle.name] for bundle in self.bundles]
        return json.dumps({"bundles": bundles, "tips": dict(self.tips)}, sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> "BundleList":
        """Read what :meth:`encode` gave.

        :raise ValueError: when it didn't.
        """
        try:
            document = json.loads(data)
            bundles = tuple(ListedBundle(int(token), str(name)) for token, name in document["bundles"])
            return cls(bundles, {str(name): str(oid) for name, oid in document["tips"].items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a bundle list: {error}") from error


@dataclass(frozen=True)
class Step:
    """The bundle that a list needs next.

    :param listed: how it will be listed.
    :param revisions: what it holds: names of branches, and commits that are left out, each after a ``^``.
    :param after: the list with it.
    """

    listed: ListedBundle
    revisions: tuple[str, ...]
    after: BundleList


def next_step(present: BundleList, tips: Mapping[str, str], now: int, *, renew: bool = False) -> Step | None:
    """Compare a list with the branches of a mirror.

    :param tips: full names of the branches, to their commits in hex.
    :param now: seconds since the epoch.
    :param renew: whether a new full bundle is wanted.
    :return: None when the list is up to date, or there is nothing that could be listed.
    """
    changed = sorted(name for name, oid in tips.items() if present.tips.get(name) != oid) if present.bundles else []
    if not tips or (present.bundles and not changed and not renew):
        return None
    full = renew or not present.bundles or len(present.bundles) > MOST_DELTAS
    token = max([now, *(bundle.token + 1 for bundle in present.bundles)])
    listed = ListedBundle(token, f"{token}-{_digest(tips)}")
    if full:
        return Step(listed, tuple(sorted(tips)), BundleList((listed,), dict(tips)))
    left_out = tuple(f"^{oid}" for oid in sorted(set(present.tips.values())))
    return Step(listed, (*changed, *left_out), BundleList((*present.bundles, listed), dict(tips)))


def _digest(tips: Mapping[str, str]) -> str:
    text = "\n".join(f"{tips[name]} {name}" for name in sorted(tips))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def branches(refs: Mapping[str, str]) -> dict[str, str]:
    """Return the branches among refs: git takes nothing else from bundles that a URI names."""
    return {name: oid for name, oid in refs.items() if name.startswith("refs/heads/")}


def pairs(bundles: Iterable[ListedBundle], addresses: Mapping[str, str]) -> list[str]:
    """Return the list as lines of ``key=value``: the answer to the ``bundle-uri`` command (gitprotocol-v2(5)).

    Keys are in lower case, as git's own server sends them, because its client compares them letter by letter.

    :param addresses: as for :func:`render`.
    """
    lines = ["bundle.version=1", "bundle.mode=all", "bundle.heuristic=creationToken"]
    for bundle in bundles:
        lines.append(f"bundle.{bundle.name}.uri={addresses[bundle.name]}")
        lines.append(f"bundle.{bundle.name}.creationtoken={bundle.token}")
    return lines


def render(bundles: Iterable[ListedBundle], addresses: Mapping[str, str]) -> str:
    """Return the list as git reads it.

    :param addresses: of the bundles by their names; absolute, because git before 2.40 takes a relative one for a file
        of its own.
    """
    lines = ["[bundle]", "\tversion = 1", "\tmode = all", "\theuristic = creationToken"]
    for bundle in bundles:
        uri = addresses[bundle.name]
        lines += [f'[bundle "{bundle.name}"]', f"\turi = {uri}", f"\tcreationToken = {bundle.token}"]
    return "\n".join(lines) + "\n"
