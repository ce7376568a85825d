"""What becomes of one mirror, and when requests may be answered from it."""

from typing import Any, cast

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.life import MirrorLife
from cachew.mirrors.machine import MirrorEvent, MirrorState
from tests.fakes.instances import OneInstance, only
from tests.fakes.mirrorgit import REPOSITORY


def living() -> tuple[MirrorLife, list[Identity]]:
    """Return the life of a mirror that serves, and who was told of changes."""
    told: list[Identity] = []
    life = MirrorLife(identity=REPOSITORY, standing=cast(Any, OneInstance()), on_changed=told.append)
    life.instance = only(REPOSITORY)
    life.step(MirrorEvent.FOUND)
    return life, told


def test_only_the_mirror_of_the_present_instance_serves() -> None:
    """One of another instance, of one that has ended, or of nobody does not."""
    life, _ = living()
    assert life.ready and life.condition == "ready"
    life.instance = Instance(REPOSITORY, "another")
    assert not life.ready
    life.instance = only(REPOSITORY)
    life.end()
    assert life.ended and not life.ready
    other, _ = living()
    other.leave()
    assert not other.ready and other.state is MirrorState.READY


def test_a_doubt_is_told_and_withholds_everything() -> None:
    """While it is in doubt nothing is served, people are told, and what comes meanwhile is kept under another name."""
    life, told = living()
    source, before = life.pack_source, len(told)
    life.in_doubt = True
    assert (life.ready, life.condition, len(told)) == (False, "suspect", before + 1)
    assert life.pack_source != source
    life.in_doubt = False
    assert (life.ready, life.pack_source, len(told)) == (True, source, before + 2)


def test_a_mirror_that_is_mended_is_another_one() -> None:
    """What was kept of it under its name before is found no more; it is of the same instance."""
    life, _ = living()
    before = life.generation
    life.renew()
    assert life.generation != before and life.instance == only(REPOSITORY)
