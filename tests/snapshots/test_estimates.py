"""What work is taken for long."""

from cachew.plumbing.jobs import LONG
from cachew.snapshots.estimates import LARGE, Estimates


def test_a_large_mirror_is_long_work_until_it_is_known_better() -> None:
    """At first the mirror's size counts, afterwards how long the same took last time, whatever the size."""
    estimates = Estimates(size={"huge": LARGE, "tiny": LARGE - 1}.__getitem__)
    assert estimates.is_long("huge", "snapshot") and not estimates.is_long("tiny", "snapshot")
    estimates.took("huge", "snapshot", LONG - 1)
    estimates.took("tiny", "snapshot", LONG)
    assert not estimates.is_long("huge", "snapshot") and estimates.is_long("tiny", "snapshot")
    assert estimates.is_long("huge", "mirror") and not estimates.is_long("tiny", "mirror"), "of each kind by itself"


def test_lfs_objects_are_long_work_until_it_is_known_better() -> None:
    """How many there are is not seen in the mirror."""
    estimates = Estimates()
    assert estimates.is_long("tiny", "lfs-snapshot")
    estimates.took("tiny", "lfs-snapshot", 0.1)
    assert not estimates.is_long("tiny", "lfs-snapshot")


def test_what_is_remembered_is_bounded() -> None:
    """Names without end don't fill the memory: what was done longest ago is judged by size again."""
    estimates = Estimates()
    for number in range(30_000):
        estimates.took(f"{number}", "bundle", LONG)
    assert not estimates.is_long("0", "bundle") and estimates.is_long("29999", "bundle")
