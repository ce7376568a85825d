"""How repositories are spelled: what is tried, what is remembered, what replicas tell each other."""

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.background import Background
from cachew.plumbing.errors import StorageUnavailable, UpstreamRefused
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import BytesSource, read_all
from cachew.upstream.backoff import Backoff
from cachew.upstream.client import UpstreamClient
from cachew.upstream.hosts import Hosts
from cachew.upstream.redirects import Redirects
from cachew.upstream.spellings import Spellings
from tests.fakes.clock import FakeClock
from tests.fakes.settled import value_of
from tests.fakes.spellings import Unshared
from tests.fakes.spellings import spellings as nothing_known

URL = "https://git.example/org/repo"
A = "a" * 40


async def at_once(function: Any, *args: Any) -> Any:
    return function(*args)


class Store(Unshared):
    """What replicas share."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, str]] = {}
        self.fails = False

    async def read(self, name: str) -> dict[str, Any]:
        if self.fails:
            raise StorageUnavailable("no")
        return dict(self.found.get(name, {}))

    async def write(self, name: str, found: dict[str, str]) -> None:
        self.found[name] = {**self.found.get(name, {}), **found}


def kept(path: Path, store: Unshared | None = None) -> Spellings:
    found = Spellings(
        fixed=lambda url: None,
        path=path,
        shared=store or Unshared(),
        reactor=FakeClock(),
        clock=FakeClock(),
        in_thread=at_once,
        background=Background(),
    )
    found.load()
    return found


@pytest.fixture
def spellings(clock: FakeClock) -> Spellings:
    return nothing_known(clock)


def test_what_is_tried_first(tmp_path: Path) -> None:
    """As the client wrote it, until something is known; LFS is like git until it is known to differ."""
    found = kept(tmp_path / "spellings.json")
    assert found.of(URL) == ("", ".git") and found.of(URL, "lfs", ".git") == (".git", "")
    found.learn(URL, "git", "")
    assert found.of(URL, "git", ".git") == ("", ".git") and found.of(URL, "lfs", ".git") == (".git", "")
    found.learn(URL, "lfs", ".git")
    assert found.of(URL, "lfs") == (".git", "") and found.knows(URL, "lfs")
    assert not found.knows(URL + "-other")


def test_what_is_known_outlives_a_restart(tmp_path: Path) -> None:
    """A file that can't be read, or holds nonsense, is as good as none."""
    path = tmp_path / "spellings.json"
    kept(path).learn(URL, "git", ".git")
    assert kept(path).of(URL) == (".git", "")
    for text in ("", "[]", '{"spellings": 1}', '{"spellings": {"x": 3, "y": {"git": "../.."}}}'):
        path.write_text(text)
        assert kept(path).of("y") == ("", ".git")


def test_replicas_tell_each_other(tmp_path: Path) -> None:
    """What one found out the others needn't; a store that fails is no obstacle."""
    store = Store()
    kept(tmp_path / "one", store).learn(URL, "git", ".git")
    other = kept(tmp_path / "two", store)
    value_of(Deferred.fromCoroutine(other.look(URL)))
    assert other.of(URL) == (".git", "")
    store.fails = True
    third = kept(tmp_path / "three", store)
    value_of(Deferred.fromCoroutine(third.look(URL)))
    assert third.of(URL) == ("", ".git")


def test_a_listing_is_asked_for_in_both_spellings(upstream: Any, client: UpstreamClient, spellings: Spellings) -> None:
    """What isn't there in the one may be in the other, which is then known."""
    upstream.say(404)
    upstream.git(f"{A} refs/heads/main\0agent=git/1".encode())
    upstream.git(f"{A} refs/heads/main\0agent=git/1".encode())
    for _ in range(2):
        value_of(Deferred.fromCoroutine(client.list_refs(URL)))
    paths = [seen.url.removeprefix("git.example/org/").partition("/")[0] for seen in upstream.seen]
    assert paths == ["repo", "repo.git", "repo.git"] and spellings.knows(URL)


@pytest.mark.parametrize(
    ("first", "second", "told"), [(404, 404, 404), (404, 401, 401), (404, 500, 404), (410, 404, 410)]
)
def test_the_better_of_two_refusals_is_told(
    upstream: Any, client: UpstreamClient, first: int, second: int, told: int
) -> None:
    """Where a name is in neither spelling, the first answer counts, but for one that says that it exists."""
    upstream.say(first)
    upstream.say(second)
    with pytest.raises(UpstreamRefused) as caught:
        value_of(Deferred.fromCoroutine(client.list_refs(URL)))
    assert caught.value.status == told


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_refused_is_not_asked_again(upstream: Any, client: UpstreamClient, status: int) -> None:
    """A refusal of a credential has nothing to do with spelling."""
    upstream.say(status)
    with pytest.raises(UpstreamRefused):
        value_of(Deferred.fromCoroutine(client.list_refs(URL)))
    assert len(upstream.seen) == 1


def forward(client: UpstreamClient, operation: str, body: bytes, *, chunked: bool = False, written: str = "") -> Any:
    length = None if chunked else len(body)
    sending = client.forward(b"POST", f"{URL}/{operation}", [], BytesSource(body), length, written=written)
    return value_of(Deferred.fromCoroutine(sending))


@pytest.mark.parametrize("answer", [{"status": 404}, {"status": 405}, {"status": 302, "Location": "/login"}])
def test_a_small_body_is_sent_again(
    upstream: Any, client: UpstreamClient, spellings: Spellings, answer: dict[str, Any]
) -> None:
    """The same request in the other spelling, once; the next ones go there at once."""
    upstream.say(**answer)
    upstream.say(200, b"done", Content_Type="x/y")
    upstream.say(404)
    response = forward(client, "git-receive-pack", b"commands")
    assert value_of(Deferred.fromCoroutine(read_all(response.source, 10))) == b"done"
    assert forward(client, "git-receive-pack", b"more").status == 404, "what is known is not tried again"
    assert [seen.body for seen in upstream.seen] == [b"commands", b"commands", b"more"]
    assert [".git/" in seen.url for seen in upstream.seen] == [False, True, True]


def test_before_a_large_body_refs_are_asked_for(upstream: Any, client: UpstreamClient) -> None:
    """A body that can't be held is sent once, to where the refs were found."""
    upstream.say(404)
    upstream.say(200, b"refs", Content_Type="x/y")
    upstream.say(200, b"done", Content_Type="x/y")
    assert forward(client, "git-receive-pack", b"x" * 100, chunked=True).status == 200
    asked = [(seen.method, seen.url.removeprefix("git.example/org/")) for seen in upstream.seen]
    assert asked == [
        ("GET", "repo/info/refs?service=git-receive-pack"),
        ("GET", "repo.git/info/refs?service=git-receive-pack"),
        ("POST", "repo.git/git-receive-pack"),
    ]


def test_a_request_begins_as_its_client_has_spelled_it(upstream: Any, client: UpstreamClient) -> None:
    """git-lfs writes .git, and most hosts want it."""
    upstream.say(200, Content_Type="x/y")
    forward(client, "info/lfs/objects/batch", b"{}", written=".git")
    assert upstream.seen[0].url == "git.example/org/repo.git/info/lfs/objects/batch"


def test_what_the_config_says_is_found_out_once_until_it_changes(tmp_path: Path) -> None:
    """The config is asked once about a URL; another config counts at once."""
    asked: list[str] = []

    def fixed(url: str) -> str:
        asked.append(url)
        return ".git"

    found = kept(tmp_path / "spellings.json")
    found.replace(fixed=fixed)
    assert found.of(URL) == (".git",) and found.knows(URL, "lfs") and asked == [URL]
    found.replace(fixed=lambda url: None)
    assert found.of(URL) == ("", ".git") and not found.knows(URL)


def test_who_leaves_while_replicas_are_asked_leaves_nothing(clock: FakeClock) -> None:
    """A body that was handed over is closed, also when the request is given up before it is sent."""

    class Silent(Unshared):
        async def read(self, name: str) -> dict[str, Any]:
            await Deferred()
            raise AssertionError

    spellings = Spellings(
        fixed=lambda url: None,
        path=None,
        shared=Silent(),
        reactor=clock,
        clock=clock,
        in_thread=cast(Any, None),
        background=Background(),
    )
    closed: list[bool] = []

    class Body(BytesSource):
        def close(self) -> None:
            closed.append(True)

    client = client_with(clock, spellings)
    asked = Deferred.fromCoroutine(client.forward(b"POST", f"{URL}/git-receive-pack", [], Body(b"x"), 1))
    asked.addErrback(lambda failure: None)
    asked.cancel()
    assert closed


def client_with(clock: FakeClock, spellings: Spellings) -> UpstreamClient:
    """Return a client that sends nothing."""
    return UpstreamClient(
        reactor=clock,
        agents=cast(Any, None),
        redirects=Redirects(Hosts(upstreams={"git.example": None})),
        spellings=spellings,
        backoff=Backoff(clock=clock, random=lambda: 0.0),
        metrics=Metrics(),
    )
