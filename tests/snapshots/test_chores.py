"""What is done to repositories besides making archives of them."""

from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.snapshots.chores import Chores
from tests.fakes.settled import value_of

REPOSITORY = Identity("git.example", "org/repo")


class FakeMirror:
    """A mirror that has so many packs."""

    def __init__(self, packs: int) -> None:
        self.there = packs
        self.place = self.repository = self.packs = self.maintenance = self

    def count(self) -> int:
        """Say how many."""
        return self.there

    async def repack(self) -> None:
        """Join them."""
        self.there = 1


@pytest.mark.parametrize(("packs", "done"), [(None, False), (0, False), (1, False), (2, True)])
def test_a_repack_counts_where_something_was_joined(packs: int | None, done: bool) -> None:
    """A mirror of one pack, or none, is left as it is, and nothing counts as made."""
    mirror = None if packs is None else FakeMirror(packs)
    chores = Chores(find_mirror=lambda _: cast(Any, mirror), refresh=cast(Any, None), bundles=cast(Any, None))
    assert value_of(Deferred.fromCoroutine(chores.repack(REPOSITORY))) == done
    assert mirror is None or mirror.there <= 1
