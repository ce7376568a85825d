"""Packs of upstreams: what is taken for one, and what is told otherwise."""

from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import UpstreamBusy, UpstreamRefused, UpstreamUnreachable
from cachew.plumbing.streams import BytesSource, Source, read_all
from cachew.web.upstreampacks import UpstreamPacks
from tests.fakes.disturbance import FakeRequest, Steps
from tests.fakes.gitserving import IDENTITY, PACK, RESULT, FakeFreshness, FakeRemotes, FakeUpstream
from tests.fakes.instances import right
from tests.fakes.settled import failure_of, value_of


class Body:
    """The client's request."""

    size = 4

    def source(self) -> Source:
        """Return it."""
        return BytesSource(b"0000")


class Asking:
    """An upstream that is asked for a pack."""

    def __init__(self, *pieces: bytes, **more: Any) -> None:
        steps = Steps(slow=False)
        self.upstream = FakeUpstream(steps, *pieces, **more)
        self.packs = UpstreamPacks(
            client=cast(Any, self.upstream), remotes=cast(Any, FakeRemotes()), freshness=cast(Any, FakeFreshness(steps))
        )
        self.request: Any = FakeRequest(steps)

    def ask(self) -> Deferred[Source]:
        """Ask."""
        produced = self.packs.produce(
            self.request, right(IDENTITY), cast(Any, None), cast(Any, None), cast(Any, Body()), cast(Any, None)
        )
        return Deferred.fromCoroutine(produced)


@pytest.mark.parametrize("content_type", [RESULT, f"{RESULT}; charset=x", "application/octet-stream", "text/plain"])
@pytest.mark.parametrize("cut", [1, 3, 4, 100])
def test_a_pack_is_one_whatever_it_is_called(content_type: str, cut: int) -> None:
    """Its bytes are all there, in whatever pieces they come."""
    asking = Asking(PACK[:cut], PACK[cut:], content_type=content_type)
    source = value_of(asking.ask())
    assert value_of(Deferred.fromCoroutine(read_all(source, 1 << 20))) == PACK
    assert asking.upstream.sources.left() == []


@pytest.mark.parametrize(
    ("pieces", "content_type", "status", "kind"),
    [
        ((b"<html>",), "text/html", 200, UpstreamUnreachable),
        ((b"0000<html>",), "text/html", 200, UpstreamUnreachable),
        ((b"hello",), "text/plain", 200, UpstreamUnreachable),
        ((b"00",), "text/plain", 200, UpstreamUnreachable),
        ((), "text/plain", 200, UpstreamUnreachable),
        ((b"no",), "text/plain", 403, UpstreamRefused),
        ((), "text/plain", 404, UpstreamRefused),
        ((b"down",), "text/plain", 503, UpstreamBusy),
        ((), "text/plain", 302, UpstreamUnreachable),
        ((PACK,), RESULT, 206, UpstreamUnreachable),
    ],
)
def test_what_is_no_pack_is_told_and_closed(
    pieces: tuple[bytes, ...], content_type: str, status: int, kind: type[Exception]
) -> None:
    """A page, nothing, a refusal or trouble: each as what it is."""
    asking = Asking(*pieces, content_type=content_type, status=status)
    assert type(failure_of(asking.ask())) is kind
    assert asking.upstream.sources.left() == []


def test_a_refusal_has_the_upstreams_words() -> None:
    """As many as it has sent in its first pieces."""
    refused = failure_of(Asking(b"x" * 5000, content_type="text/plain", status=403).ask())
    assert isinstance(refused, UpstreamRefused) and refused.status == 403 and 0 < len(refused.body) <= 5000
