"""Where a mirror is to be brought."""

from cachew.mirrors.target import Target
from cachew.upstream.listing import RemoteRef
from tests.fakes.mirrorgit import listing, oid

MAIN = "refs/heads/main"


def test_an_older_listing_never_undoes_a_newer() -> None:
    """What was asked for earlier counts no more, whenever its answer comes."""
    target, newer = Target(), listing(main="2")
    assert target.all(newer, 20.0)
    assert not target.all(listing(main="1"), 10.0)
    assert not target.some({MAIN: RemoteRef(MAIN, oid("1"))}, 10.0)
    taken = target.take()
    assert taken is not None and taken.by_name[MAIN].oid == oid("2")
    assert target.take() is None


def test_what_was_listed_of_some_since_counts_in_a_listing_of_all() -> None:
    """A ref that was listed alone after all were asked for is taken as it was then."""
    target = Target()
    assert target.some({MAIN: RemoteRef(MAIN, oid("3"))}, 30.0)
    assert target.all(listing(main="2", other="1"), 20.0)
    taken = target.take()
    assert taken is not None and taken.by_name[MAIN].oid == oid("3")
    assert target.all(listing(main="4"), 40.0) and not target.has_parts


def test_only_what_the_mirror_lacks_is_pending() -> None:
    """Refs that are where they were listed, or gone as they were listed, are not fetched again."""
    target, present = Target(), listing(main="1", gone="2")
    refs = {MAIN: oid("1"), "refs/heads/gone": oid("2")}
    moved = {MAIN: RemoteRef(MAIN, oid("1")), "refs/heads/gone": None, "refs/heads/never": None}
    assert target.some(moved, 10.0)
    assert target.pending(present, refs) == {"refs/heads/gone": None}


def test_head_is_compared_as_what_it_is() -> None:
    """By its branch where it names one, by its commit where it is detached."""
    present = listing(main="1")
    for head, there in (
        (RemoteRef("HEAD", oid("9"), MAIN), True),
        (RemoteRef("HEAD", oid("1"), "refs/heads/other"), False),
        (RemoteRef("HEAD", oid("1")), False),
        (None, False),
    ):
        target = Target()
        target.some({"HEAD": head}, 10.0)
        assert target.pending(present, {}) == ({} if there else {"HEAD": head})


def test_a_mirror_that_was_made_has_reached_its_listing() -> None:
    """What was listed before it counts no more."""
    target = Target()
    target.all(listing(main="1"), 10.0)
    target.reached(15.0)
    assert target.take() is None and not target.all(listing(main="1"), 12.0)
