"""What was stored here lately, by the repository that it was made of."""

from collections import OrderedDict

from cachew.mirrors.instance import Instance

_REMEMBERED = 100
_OWNERS = 10_000
"""Repositories remembered; that of which nothing was made for longest goes first."""


def of_instance(key: str, instance: Instance) -> bool:
    """Say whether what has a key in the cache is made of an instance."""
    return f":{instance.name}" in key


class StoredKeys:
    """Remembers the last keys of each repository, and when the making of each was begun."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()

    def note(self, owner: str, key: str, started: float) -> None:
        """Remember what was made of which repository, and when that was begun (monotonic seconds)."""
        made = self._stored.setdefault(owner, OrderedDict())
        self._stored.move_to_end(owner)
        if len(self._stored) > _OWNERS:
            self._stored.popitem(last=False)
        made[key] = started
        made.move_to_end(key)
        if len(made) > _REMEMBERED:
            made.popitem(last=False)

    def has(self, owner: str, key: str) -> bool:
        """Say whether something was made that was not taken yet."""
        return key in self._stored.get(owner, ())

    def taken_since(self, owner: str, since: float) -> list[str]:
        """Forget everything of a repository, and return what was begun since a moment (monotonic seconds)."""
        return [key for key, started in self._stored.pop(owner, OrderedDict()).items() if started >= since]

    def taken_of(self, instance: Instance) -> list[str]:
        """Forget what was made of an instance, and return it."""
        made = self._stored.get(instance.identity.name, OrderedDict())
        keys = [key for key in made if of_instance(key, instance)]
        for key in keys:
            del made[key]
        if not made:
            self._stored.pop(instance.identity.name, None)
        return keys
