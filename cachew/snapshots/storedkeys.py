"""What was stored here lately, by the repository that it was made of."""

from collections import OrderedDict

from cachew.mirrors.instance import Instance

_REMEMBERED = 100


def of_instance(key: str, instance: Instance) -> bool:
    """Say whether what has a key in the cache is made of an instance."""
    return f":{instance.name}" in key


class StoredKeys:
    """Remembers the last keys of each repository, and when the making of each was begun."""

    def __init__(self) -> None:
        self._stored: dict[str, OrderedDict[str, float]] = {}

    def note(self, owner: str, key: str, started: float) -> None:
        """Remember what was made of which repository, and when that was begun (monotonic seconds)."""
        made = self._stored.setdefault(owner, OrderedDict())
        made[key] = started
        made.move_to_end(key)
        if len(made) > _REMEMBERED:
            made.popitem(last=False)

    def taken_since(self, owner: str, since: float) -> list[str]:
        """Forget everything of a repository, and return what was begun since a moment (monotonic seconds)."""
        return [key for key, started in self._stored.pop(owner, OrderedDict()).items() if started >= since]

    def taken_of(self, instance: Instance) -> list[str]:
        """Forget what was made of an instance, and return it."""
        made = self._stored.get(instance.identity.name, OrderedDict())
        keys = [key for key in made if of_instance(key, instance)]
        for key in keys:
            del made[key]
        return keys
