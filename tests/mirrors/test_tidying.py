"""Which mirrors are used is remembered, from the first clone on."""

from pathlib import Path
from typing import Any, cast

from cachew.mirrors.tidying import Tidying
from tests.fakes.mirrorgit import REPOSITORY, InlineThreads, MirrorHouse
from tests.fakes.settled import value_of


def test_those_who_come_while_it_is_made_use_it(tmp_path: Path) -> None:
    """Clients of a mirror that is still being made count, those of a repository that nobody mirrors don't."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = Tidying(
        mirrors=house.mirrors,
        file=tmp_path / "used.json",
        threads=cast(Any, InlineThreads()),
        now=house.clock.seconds,
        limit=0,
        forget_after=0,
    )
    house.mirrors.obtain(REPOSITORY)
    tidying.used(REPOSITORY)
    assert tidying.requests(REPOSITORY) == 0
    house.git.holding = {"fetch"}
    making = house.made()
    tidying.used(REPOSITORY)
    house.git.release()
    assert value_of(making).ready
    assert tidying.requests(REPOSITORY) == 1
    assert tidying.last_used(REPOSITORY) == house.clock.seconds()


def test_what_is_forgotten_is_not_counted_any_more(tmp_path: Path) -> None:
    """Of a repository that is forgotten nothing is known: neither its last use nor how often it was asked for."""
    house = MirrorHouse(tmp_path / "mirrors")
    value_of(house.made())
    tidying = Tidying(
        mirrors=house.mirrors,
        file=tmp_path / "used.json",
        threads=cast(Any, InlineThreads()),
        now=house.clock.seconds,
        limit=0,
        forget_after=0,
    )
    tidying.used(REPOSITORY)
    tidying.forget(REPOSITORY)
    assert tidying.last_used(REPOSITORY) is None and tidying.requests(REPOSITORY) == 0
