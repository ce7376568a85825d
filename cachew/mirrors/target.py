"""Where a mirror is to be brought: the newest listing of all refs, and what was listed of some since (pure)."""

from collections.abc import Mapping

from cachew.mirrors.moved import HEAD, Moved, overlaid
from cachew.upstream.listing import Listing, RemoteRef


class Target:
    """Keeps an older listing from undoing a newer one."""

    def __init__(self) -> None:
        self._listing: Listing | None = None
        self._listed_at = float("-inf")
        self._parts: dict[str, tuple[RemoteRef | None, float]] = {}

    def reached(self, listed_at: float) -> None:
        """Take note that a mirror was made of a listing: what was listed before it counts no more."""
        if self._listed_at < listed_at:
            self._listed_at, self._listing = listed_at, None

    def all(self, listing: Listing, listed_at: float) -> bool:
        """Aim at a listing of all refs, but for what was listed of some since.

        :param listed_at: when it was asked for.
        :return: whether it counts: False for one that is older than the newest.
        """
        if listed_at < self._listed_at:
            return False
        self._parts = {name: part for name, part in self._parts.items() if part[1] > listed_at}
        newer = {name: ref for name, (ref, _) in self._parts.items()}
        self._listed_at, self._listing = listed_at, overlaid(listing, newer)
        return True

    def some(self, moved: Moved, listed_at: float) -> bool:
        """Aim at what was listed of some refs.

        :param moved: these, None for what is no more.
        :param listed_at: when they were asked for.
        :return: whether it counts: False for what is older than the newest listing of all.
        """
        if listed_at < self._listed_at:
            return False
        for name, ref in moved.items():
            if name not in self._parts or self._parts[name][1] <= listed_at:
                self._parts[name] = ref, listed_at
        return True

    def take(self) -> Listing | None:
        """Return the listing that is aimed at, once."""
        listing, self._listing = self._listing, None
        return listing

    @property
    def has_parts(self) -> bool:
        """Whether some refs were listed alone since all were."""
        return bool(self._parts)

    def pending(self, present: Listing, refs: Mapping[str, str]) -> dict[str, RemoteRef | None]:
        """Return which refs that were listed alone a mirror does not have yet.

        :param present: what it has.
        :param refs: its heads and tags, full name to object id.
        """
        head = present.by_name.get(HEAD)
        return {
            name: ref
            for name, (ref, _) in self._parts.items()
            if not (_same_head(head, ref) if name == HEAD else refs.get(name) == (None if ref is None else ref.oid))
        }


def _same_head(head: RemoteRef | None, listed: RemoteRef | None) -> bool:
    """Say whether HEAD is what was listed: a branch by its name, a commit by its id."""
    if head is None or listed is None or head.symref_target != listed.symref_target:
        return False
    return listed.symref_target is not None or head.oid == listed.oid
