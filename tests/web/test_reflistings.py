"""Long listings are rendered elsewhere, and once for all who ask."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from cachew.smarthttp.advertise import ls_refs_response
from cachew.smarthttp.clientcommands import V2LsRefs
from cachew.upstream.listing import Listing, RemoteRef
from cachew.web.reflistings import Renderings
from tests.fakes.settled import value_of


def listing_of(count: int) -> Listing:
    return Listing(refs=tuple(RemoteRef(f"refs/heads/b{number:06d}", f"{number:040x}") for number in range(count)))


class Elsewhere:
    """A thread that works when a test lets it."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[None], Callable[[], Any]]] = []

    async def __call__(self, function: Callable[[], Any]) -> Any:
        """Wait to be let go."""
        turn: Deferred[None] = Deferred()
        self.waiting.append((turn, function))
        await turn
        return function()

    def go_on(self) -> None:
        """Let everything waiting be done."""
        waiting, self.waiting = self.waiting, []
        for turn, _ in waiting:
            turn.callback(None)


def test_a_short_listing_is_rendered_at_once() -> None:
    """What takes no time needs no thread."""
    threads, made = Elsewhere(), []
    renderings, listing = Renderings(in_thread=threads), listing_of(10)

    def make() -> bytes:
        made.append(1)
        return b"text"

    for _ in range(2):
        assert value_of(Deferred.fromCoroutine(renderings.of(listing, "form", make))) == b"text"
    assert len(made) == 1 and not threads.waiting


def test_a_long_listing_is_rendered_once_elsewhere() -> None:
    """All who ask at the same time, or later, get the one rendering, and nobody's reactor waits for it."""
    threads = Elsewhere()
    renderings, listing = Renderings(in_thread=threads), listing_of(5000)
    asked = [Deferred.fromCoroutine(renderings.of(listing, "form", lambda: b"text")) for _ in range(3)]
    assert len(threads.waiting) == 1
    threads.go_on()
    assert [value_of(one) for one in asked] == [b"text"] * 3
    assert value_of(Deferred.fromCoroutine(renderings.of(listing, "form", lambda: b"new"))) == b"text"


def test_a_form_of_ones_own_is_not_kept() -> None:
    """A command as long as no other client's is answered elsewhere and forgotten."""
    threads = Elsewhere()
    renderings, listing = Renderings(in_thread=threads), listing_of(10)
    for number in range(2):
        asked = Deferred.fromCoroutine(renderings.of(listing, None, partial(b"%d".__mod__, number)))
        threads.go_on()
        assert value_of(asked) == b"%d" % number


def test_very_many_prefixes_are_matched_in_one_pass() -> None:
    """As many prefixes as count at all, against as many refs, choose the refs that each alone would choose."""
    listing, command = listing_of(20_000), V2LsRefs(prefixes=tuple(f"refs/heads/b{n:06d}" for n in range(0, 65_000, 2)))
    text = ls_refs_response(listing.refs, command)
    assert text.count(b"refs/heads/") == 10_000
    assert text == ls_refs_response(listing.refs[::2], replace(command, prefixes=()))
