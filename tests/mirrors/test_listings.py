"""How much memory listings take, and what goes first."""

import sys

import pytest

from cachew.mirrors.identity import Identity
from cachew.mirrors.listings import Listings, OwnListing
from cachew.mirrors.packedlistings import pack, unpack
from cachew.mirrors.refs import of_listing, weight_of
from cachew.upstream.listing import Listing, RemoteRef

ONE, TWO = Identity("git.example", "one"), Identity("git.example", "two")


def large(count: int = 1000) -> Listing:
    """Make a listing of branches."""
    return Listing(tuple(RemoteRef(f"refs/heads/some/branch-{number}", f"{number:040x}") for number in range(count)))


def test_the_least_recently_used_goes_first() -> None:
    """Whoever's it is; what was asked for lately stays."""
    listings = Listings(limit=10_000)
    gone: list[str] = []
    for identity, key in ((ONE, "a"), (TWO, "b"), (ONE, "c")):
        listings.put(identity, key, key, 3000, let_go=lambda key=key: gone.append(key))  # type: ignore[misc]
    assert listings.get(ONE, "a") == "a"
    listings.put(TWO, "d", "d", 3000, made_up=True)
    assert gone == ["b"] and listings.get(TWO, "b") is None and listings.size == 9000
    listings.put(TWO, "e", "e", 20_000)
    assert gone == ["b", "c", "a"] and (len(listings), listings.size) == (1, 20_000)


def test_what_clients_make_up_takes_half() -> None:
    """However much of it there is, the other half is left to what everybody asks for."""
    listings = Listings(limit=10_000)
    listings.put(ONE, "heads", "heads", 5000)
    for number in range(100):
        listings.put(TWO, number, number, 1000, made_up=True)
    assert listings.get(ONE, "heads") == "heads" and listings.size == 10_000
    assert listings.get(TWO, 99) == 99 and listings.get(TWO, 94) is None
    assert sorted(listings.keys(TWO)) == [95, 96, 97, 98, 99]


def test_what_is_dropped_weighs_nothing() -> None:
    """A value in the place of another one, and one that is dropped, leave nothing behind."""
    listings = Listings(limit=10_000)
    for weight in (4000, 2000):
        listings.put(ONE, "a", weight, weight)
    assert listings.size == 2000
    listings.drop(ONE, "a")
    listings.drop(ONE, "a")
    assert (listings.size, len(listings), listings.keys(ONE)) == (0, 0, [])


@pytest.mark.parametrize("listing", [
    large(3),
    Listing(()),
    Listing((
        RemoteRef("HEAD", None, "refs/heads/main"), RemoteRef("refs/tags/v\udcff\u2028", "a" * 64, None, "b" * 64),
    ), "sha256", 0),
])  # fmt: skip
def test_packed_and_unpacked(listing: Listing) -> None:
    """A listing comes out as it went in, whatever its names are."""
    again = unpack(pack(listing))
    assert again == listing and of_listing(again) == of_listing(listing)


def test_a_mirrors_own_refs_are_packed_when_they_are_not_used() -> None:
    """They are there all the same, in a tenth of the memory."""
    listings = Listings(limit=weight_of(large()) + 10)
    one, two = (OwnListing(identity=identity, listings=listings) for identity in (ONE, TWO))
    assert one.get().refs == ()
    one.set(large())
    assert one.get() is one.get()
    two.set(large(999))
    assert len(listings) == 1
    assert one.get() == large() and len(listings) == 1
    assert two.get() == large(999)
    assert sys.getsizeof(pack(large())) < weight_of(large()) / 10
    one.clear()
    two.clear()
    assert one.get().refs == () and two.get().refs == () and listings.size == 0


def test_refs_that_change_while_they_are_packed() -> None:
    """What is packed is what was there last."""
    listings = Listings(limit=1)
    one, two = (OwnListing(identity=identity, listings=listings) for identity in (ONE, TWO))
    for count in (5, 6, 7):
        one.set(large(count))
        two.set(large(1))
        assert one.get() == large(count)
