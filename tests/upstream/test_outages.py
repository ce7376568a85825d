"""Upstreams that do not answer."""

from cachew.plumbing.errors import UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from cachew.upstream.listing import Listing
from cachew.upstream.outages import Outages
from tests.fakes.clock import FakeClock

URL = "https://git.example/org/repo"


def test_an_outage_lasts_from_the_first_failure_to_an_answer() -> None:
    """It is told since when, when it was asked last and what came of that; any answer ends it, also a refusal."""
    clock = FakeClock(1000)
    outages = Outages(clock=clock)
    outages.note("git.example", UpstreamTimeout(URL, "hangs"))
    clock.advance(60)
    outages.note("git.example", UpstreamUnreachable(URL, "refused"))
    outages.note("other.example", UpstreamUnreachable(URL, "refused"))
    first, second = outages.current()
    assert (first.host, first.since, first.asked) == ("git.example", 1000, 1060) and "refused" in first.reason
    assert second.host == "other.example"
    outages.note("git.example", UpstreamRefused(URL, status=401))
    outages.note("other.example", Listing(refs=()))
    assert outages.current() == []


def test_they_do_not_fill_the_memory() -> None:
    """However many names strangers make up, a thousand are remembered."""
    outages = Outages(clock=FakeClock())
    for number in range(1100):
        outages.note(f"{number}.example", UpstreamTimeout(URL, "hangs"))
    assert len(outages.current()) == 1000
