"""What is left of a mirror that could not be made."""

import hashlib
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from tests.fakes.mirrorgit import MirrorHouse, oid, refused, unreachable
from tests.fakes.settled import failure_of, value_of


def summed(content: bytes) -> bytes:
    """Return content with its checksum, as git's files end."""
    return content + hashlib.sha1(content).digest()


def bring_pack(house: MirrorHouse) -> None:
    """Have a pack be there, as a fetch that goes on leaves one."""
    (place,) = (house.root / ".aside").glob("*/objects/pack")
    pack = summed(b"PACK\0\0\0\2\0\0\0\0")
    (place / f"pack-{oid('c')}.pack").write_bytes(pack)
    (place / f"pack-{oid('c')}.idx").write_bytes(summed(b"\xfftOc\0\0\0\2" + bytes(1024) + pack[-20:]))


@pytest.fixture
def house(tmp_path: Path) -> MirrorHouse:
    return MirrorHouse(tmp_path / "mirrors")


@pytest.mark.parametrize("stops", [True, False])
def test_nothing_of_a_clone_that_failed_stays_open(house: MirrorHouse, stops: bool) -> None:
    """What it had read of its packs is let go of: open files take up a disk though they are removed."""
    house.git.holding = {"fetch"}
    making = house.made()
    bring_pack(house)
    house.git.release(refused(oid("1")))
    house.git.release()
    assert house.indexes.size > 0 and not making.called
    if stops:
        value_of(Deferred.fromCoroutine(house.mirroring.stop()))
    else:
        house.git.release(unreachable())
    assert failure_of(making) and house.indexes.size == 0 and not house.left()
