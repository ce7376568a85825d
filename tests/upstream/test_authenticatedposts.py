"""What the server itself posts to upstreams."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import UpstreamBusy
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.client import UpstreamResponse
from cachew.upstream.listing import Capabilities
from cachew.upstream.remotes import Remote
from tests.fakes.closable import ClosableBytes
from tests.fakes.settled import value_of
from tests.upstream.test_remotes import ELSEWHERE, OWN, URL, Own

PACK = "application/x-git-upload-pack-result"


@dataclass
class PostedTo:
    """Answers whatever is posted, by the credential that comes with it."""

    statuses: dict[str | None, int] = field(default_factory=dict)
    media_type: str = PACK
    retry_after: str = ""
    shown: list[str | None] = field(default_factory=list)
    bodies: list[ClosableBytes] = field(default_factory=list)

    async def forward(
        self, method: bytes, url: str, headers: Any, body: Any, length: int, *, credential: str | None, written: str
    ) -> UpstreamResponse:
        """Answer it."""
        assert (method, written, length) == (b"POST", ".git", len(b"question"))
        self.shown.append(credential)
        self.bodies.append(ClosableBytes(b"answer"))
        said = [(b"Content-Type", self.media_type.encode()), (b"Retry-After", self.retry_after.encode())]
        return UpstreamResponse(self.statuses.get(credential, 200), said, self.bodies[-1], 6, url)


def posted(client: PostedTo, own: Own) -> tuple[UpstreamResponse, str | None]:
    """Return what a post brings."""
    posts = AuthenticatedPosts(client=cast(Any, client), credentials=cast(Any, own))
    remote = Remote(url=URL, client=cast(Any, client), credentials=cast(Any, own))
    return value_of(Deferred.fromCoroutine(posts.post(remote, "info/lfs/objects/batch", [], b"question")))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_credential_is_renewed_once(status: int) -> None:
    """The refusal's body is closed, and the answer comes with the credential that it was given to."""
    client = PostedTo({OWN: status})
    answer, credential = posted(client, Own(next="Basic renewed"))
    assert (answer.status, credential) == (200, "Basic renewed") and client.shown == [OWN, "Basic renewed"]
    assert [body.closed for body in client.bodies] == [True, False]


@pytest.mark.parametrize(("own", "status"), [(OWN, 404), (OWN, 500), (None, 401)])
def test_what_can_not_be_renewed_is_the_answer(own: str | None, status: int) -> None:
    """Where there is nothing else to show, or that isn't why it fails, the upstream is asked once."""
    client = PostedTo({own: status})
    answer, credential = posted(client, Own(own))
    assert (answer.status, credential, client.shown) == (status, own, [own]) and not client.bodies[0].closed


def fetched(client: PostedTo, known: Capabilities | None) -> Any:
    """Return what a fetch brings from an upstream that has said what it speaks."""
    remote = Remote(url=URL, client=cast(Any, client), credentials=cast(Any, Own()))
    if known is not None:
        remote.speaks(known)
    posts = AuthenticatedPosts(client=cast(Any, client), credentials=cast(Any, Own()))
    return value_of(Deferred.fromCoroutine(posts.fetch(remote, b"question")))


SPEAKS_V2 = Capabilities({"ls-refs": None, "fetch": None}, 2, URL)


def test_a_fetch_is_a_post() -> None:
    """Its answer is whoever's has asked, to read and to close."""
    client = PostedTo()
    assert fetched(client, SPEAKS_V2) is client.bodies[0] and client.shown == [OWN] and not client.bodies[0].closed


@pytest.mark.parametrize(
    "known", [None, Capabilities({"ls-refs": None}, 2, URL), Capabilities({"fetch": None}, 1, URL),
              Capabilities({"fetch": None}, 2, ELSEWHERE)],
)  # fmt: skip
def test_what_only_git_can_ask_is_not_asked(known: Capabilities | None) -> None:
    """Nor is an upstream of which it isn't known what it speaks, or that speaks it somewhere else."""
    client = PostedTo()
    assert fetched(client, known) is None and client.shown == []


@pytest.mark.parametrize(("status", "media_type"), [(500, PACK), (200, "text/html")])
def test_what_is_no_pack_is_left_to_git(status: int, media_type: str) -> None:
    """Such an answer is closed."""
    client = PostedTo({OWN: status}, media_type)
    assert fetched(client, SPEAKS_V2) is None and client.bodies[0].closed


@pytest.mark.parametrize(("status", "said", "asked"), [(429, "", None), (503, "90", 90.0), (403, "7", 7.0)])
def test_an_upstream_that_wants_to_be_left_alone(status: int, said: str, asked: float | None) -> None:
    """It is not left to git to ask once more."""
    client = PostedTo({OWN: status}, retry_after=said)
    with pytest.raises(UpstreamBusy) as caught:
        fetched(client, SPEAKS_V2)
    assert (caught.value.status, caught.value.retry_after) == (status, asked) and client.bodies[0].closed
