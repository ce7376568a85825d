"""Packs that are made before anybody asks: which, when, and what ends that."""

from collections.abc import Callable, Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from cachew.http.incoming import Body, HeldBody
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.background import Background
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from cachew.plumbing.streams import PushSource, Source, read_all
from cachew.smarthttp.clientcommands import Fetch
from cachew.smarthttp.mirrorpacks import MirrorPacks
from cachew.smarthttp.preparation import Preparation
from cachew.smarthttp.request import read_command
from tests.fakes.gitserving import IDENTITY, PACK, FakeMirror
from tests.fakes.packcaches import make_pack_cache
from tests.fakes.settled import value_of

T = TypeVar("T")
TIPS = [letter * 40 for letter in "abcdef"]


async def at_once(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Threads that don't wait."""
    return function(*args, **kwargs)


def done(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of work that doesn't wait."""
    return value_of(Deferred.fromCoroutine(work))


class FakeMirrorPacks(MirrorPacks):
    """Answers that come when the test says so."""

    def __init__(self) -> None:
        super().__init__(backend=cast(Any, None))
        self.sources: list[PushSource] = []
        self.fails = False

    async def produce(self, mirror: Any, command: Fetch, body: Body, protocol: str | None) -> Source:
        """Begin one."""
        if self.fails:
            raise ProcessFailed("git-http-backend", 1, "it failed")
        self.sources.append(PushSource(stop=lambda: None))
        return self.sources[-1]


def fetch(tip: str, depth: int = 1) -> bytes:
    return encode_all([b"command=fetch", DELIM, f"deepen {depth}".encode(), b"want " + tip.encode(), b"done", FLUSH])


class Repository:
    """A mirror whose tip moves, and clients that fetch it."""

    def __init__(self, directory: Path, most: int = 4) -> None:
        self.clock, self.background, self.packs = Clock(), Background(), FakeMirrorPacks()
        self.mirror: Any = FakeMirror(directory, by_name={"refs/heads/main": TIPS[0]})
        self.busy, self.serves = False, True
        self.cache = make_pack_cache(directory / "packs", threads=at_once)
        done(self.cache.kept.open())
        self.preparation = Preparation(
            cache=self.cache,
            mirrored=self.packs,
            find=lambda identity: self.mirror if self.serves else None,
            most=most,
            busy=lambda: self.busy,
            reactor=self.clock,
            background=self.background,
        )

    def ask(self, *depths: int) -> None:
        """Have clients fetch the tip in some depths."""
        for depth in depths:
            body = fetch(self.mirror.by_name["refs/heads/main"], depth)
            command: Any = read_command([body], "version=2")
            held = HeldBody(body, digest=sha256(body).hexdigest())
            self.preparation.asked(self.mirror, command, held, "version=2")

    def push(self, tip: str) -> None:
        """Move the tip, and have the mirror fetch it."""
        self.mirror.by_name = {"refs/heads/main": tip}
        self.preparation.grown(IDENTITY)

    def become_usual(self, *depths: int) -> None:
        """Have clients fetch twice for each of three tips."""
        for tip in TIPS[:3]:
            self.push(tip)
            self.ask(*depths, *depths)

    def key(self, tip: str, depth: int = 1) -> str:
        """Return the key of what a client of a tip fetches."""
        return self.packs.key(self.mirror, cast(Any, read_command([fetch(tip, depth)], "version=2")))

    def serve(self, tip: str = "", depth: int = 1) -> str:
        """Serve a client who fetches a commit, the tip by default, and return the key of what is kept of that."""
        tip = tip or self.mirror.by_name["refs/heads/main"]
        command: Any = read_command([fetch(tip, depth)], "version=2")
        body = HeldBody(fetch(tip, depth), digest=sha256(fetch(tip, depth)).hexdigest())
        key = self.key(tip, depth)

        async def produce() -> Source:
            return await self.packs.produce(self.mirror, command, body, "version=2")

        self.packs.of_tips.note(self.mirror, command, key)
        response = done(self.cache.response(key, produce))
        if response.origin == "produced":
            self.finish()
        response.source.close()
        return key

    def kept_after(self, turns: int, key: str) -> bool:
        """Say whether a pack is kept after some turns of the look for those that were given up."""
        for _ in range(turns):
            done(self.cache.kept.drop_given_up())
        return done(self.cache.kept.has(key))

    def finish(self) -> None:
        """End the last answer that was begun."""
        self.packs.sources[-1].data(PACK)
        self.packs.sources[-1].finish()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_made_before_anybody_asks(repository: Repository) -> None:
    """A while after a new tip, what clients of the last three have asked for is made, and kept."""
    repository.become_usual(1)
    repository.push(TIPS[3])
    assert repository.packs.sources == []
    repository.clock.advance(1)
    repository.finish()
    assert done(repository.cache.kept.has(repository.key(TIPS[3])))
    assert repository.background.under_way == []


def test_what_somebody_has_asked_for_already(repository: Repository) -> None:
    """What the first client of the new tip is being sent isn't made twice."""
    repository.become_usual(1)
    repository.push(TIPS[3])
    mine = PushSource(stop=lambda: None)

    async def produce() -> Source:
        return mine

    response = done(repository.cache.response(repository.key(TIPS[3]), produce))
    repository.clock.advance(1)
    assert repository.packs.sources == [] and repository.background.under_way == []
    response.source.close()


@pytest.mark.parametrize("there", [b"", PACK[:100]])
def test_asked_for_while_it_is_made(repository: Repository, there: bytes) -> None:
    """A client follows what is being made once there is something of it, and has his own made otherwise."""
    repository.become_usual(1)
    repository.push(TIPS[3])
    repository.clock.advance(1)
    (ahead,) = repository.packs.sources
    ahead.data(there)
    mine = PushSource(stop=lambda: None)

    async def produce() -> Source:
        return mine

    response = done(repository.cache.response(repository.key(TIPS[3]), produce))
    assert response.origin == ("followed" if there else "produced")
    assert ahead.closed == (not there)
    body = Deferred.fromCoroutine(read_all(response.source, 1 << 20))
    (ahead if there else mine).data(PACK[len(there) :])
    (ahead if there else mine).finish()
    assert value_of(body) == PACK
    assert done(repository.cache.kept.has(repository.key(TIPS[3]))) and repository.background.under_way == []


def test_one_after_the_other_and_bounded(tmp_path: Path) -> None:
    """So many shapes are made for a tip, one at a time."""
    repository = Repository(tmp_path, most=2)
    repository.become_usual(1, 2, 3)
    repository.push(TIPS[3])
    repository.clock.advance(1)
    assert len(repository.packs.sources) == 1
    repository.finish()
    assert len(repository.packs.sources) == 2
    repository.finish()
    assert repository.background.under_way == []


def test_none_at_all(tmp_path: Path) -> None:
    """With 0 nothing is remembered or made."""
    repository = Repository(tmp_path, most=0)
    repository.become_usual(1)
    repository.push(TIPS[3])
    repository.clock.advance(1)
    assert len(repository.preparation) == 0 and repository.packs.sources == []


def test_a_newer_tip(repository: Repository) -> None:
    """What is being made of a tip that isn't the newest any more is given up for the newest."""
    repository.become_usual(1)
    repository.push(TIPS[3])
    repository.clock.advance(1)
    repository.ask(1, 1)
    repository.push(TIPS[4])
    assert repository.packs.sources[0].closed
    repository.clock.advance(1)
    repository.finish()
    assert len(repository.packs.sources) == 2 and done(repository.cache.kept.has(repository.key(TIPS[4])))


def test_clients_wait(repository: Repository) -> None:
    """Nothing is made while clients wait for places."""
    repository.become_usual(1)
    repository.busy = True
    repository.push(TIPS[3])
    repository.clock.advance(1)
    assert repository.packs.sources == [] and repository.background.under_way == []


def test_a_failure(repository: Repository) -> None:
    """One that fails keeps the next tip's from nothing."""
    repository.become_usual(1)
    repository.packs.fails = True
    repository.push(TIPS[3])
    repository.clock.advance(1)
    assert repository.background.under_way == []
    repository.packs.fails = False
    repository.ask(1, 1)
    repository.push(TIPS[4])
    repository.clock.advance(1)
    assert len(repository.packs.sources) == 1
    repository.finish()


@pytest.mark.parametrize("when", ["waiting", "making"])
def test_the_end_of_its_instance(repository: Repository, when: str) -> None:
    """With the instance goes what was remembered of it, and what is being made."""
    repository.become_usual(1)
    repository.push(TIPS[3])
    if when == "making":
        repository.clock.advance(1)
    repository.preparation.forget(Instance(Identity("git.example", "org/other"), repository.mirror.instance.id))
    assert len(repository.preparation) == 1
    repository.preparation.forget(repository.mirror.instance)
    repository.clock.advance(1)
    assert [source.closed for source in repository.packs.sources] == [True] * (when == "making")
    assert len(repository.preparation) == 0 and repository.background.under_way == []


@pytest.mark.parametrize("asked", [True, False])
def test_never_across_instances(repository: Repository, asked: bool) -> None:
    """What clients of one instance have asked for, a private one perhaps, says nothing of the next one."""
    repository.become_usual(1)
    repository.mirror.instance = Instance(IDENTITY, "another")
    if asked:
        repository.ask(1)
    repository.push(TIPS[3])
    repository.clock.advance(1)
    assert repository.packs.sources == [] and len(repository.preparation) == asked


@pytest.mark.parametrize("how", ["serves", "generation"])
def test_a_mirror_that_serves_no_more(repository: Repository, how: str) -> None:
    """Nothing is made of a mirror in doubt, nor of one that has become another instance's meanwhile."""
    repository.become_usual(1)
    repository.push(TIPS[3])
    if how == "serves":
        repository.serves = False
    else:
        repository.mirror.instance = Instance(IDENTITY, "another")
    repository.clock.advance(1)
    assert repository.packs.sources == [] and repository.background.under_way == []


def test_the_end_of_the_server(repository: Repository) -> None:
    """What is being made is given up when the server stops, and nothing is begun any more."""
    repository.become_usual(1, 2)
    repository.push(TIPS[3])
    repository.clock.advance(1)
    done(repository.background.stop())
    assert [source.closed for source in repository.packs.sources] == [True]
    done(repository.cache.stop())
    assert repository.cache.producing == 0


def test_so_many_repositories(repository: Repository) -> None:
    """The longest unused are forgotten."""
    for number in range(1100):
        repository.mirror.identity = Identity("git.example", f"org/r{number}")
        repository.ask(1)
    assert len(repository.preparation) == 1000


@pytest.mark.parametrize("most", [0, 4])
def test_packs_of_former_tips_go(tmp_path: Path, most: int) -> None:
    """When the ref has moved on, a while after the last who asked for one; those of the present tip stay."""
    repository = Repository(tmp_path, most=most)
    former = repository.serve()
    repository.mirror.by_name = {"refs/heads/main": TIPS[1]}
    present = repository.serve()
    repository.preparation.grown(IDENTITY)
    assert repository.kept_after(2, former) and done(repository.cache.kept.get(former)) is not None
    assert repository.kept_after(2, former)
    assert not repository.kept_after(1, former) and repository.kept_after(9, present)


def test_what_was_never_a_tip_stays(repository: Repository) -> None:
    """Objects that are fetched by their ids are asked for whatever refs do; what becomes a tip goes when it was one."""
    key = repository.serve(TIPS[4])
    repository.preparation.grown(IDENTITY)
    assert repository.kept_after(9, key)
    repository.push(TIPS[4])
    assert repository.kept_after(9, key)
    repository.push(TIPS[5])
    assert not repository.kept_after(3, key)


def test_packs_of_an_ended_instance_go(repository: Repository) -> None:
    """Nothing of it is sent to anyone any more."""
    key = repository.serve()
    repository.preparation.forget(repository.mirror.instance)
    assert not repository.kept_after(3, key)
