"""The guard, with real verdicts and the real ref gate behind it: who is let in, and how often upstreams are asked."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from cachew.mirrors.freshness import Freshness, ref_gate
from cachew.mirrors.gatelisteners import GateListeners
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MIRRORED_KIND, Kind
from cachew.mirrors.listings import Listings
from cachew.mirrors.refknowledge import MirroredListings
from cachew.plumbing.background import Background
from cachew.plumbing.errors import UpstreamRefused, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.upstream.listing import Listing, RemoteRef
from cachew.upstream.presented_credential import ClientsOwn, ServersOwn, Shown, ShownCredentials
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.verdictmemory import UpstreamChanges
from cachew.upstream.verdicts import Verdicts
from cachew.web.access.guard import TrustedNetworkGuard, UpstreamGuard
from tests.fakes.clock import FakeClock
from tests.fakes.hearing import HearsNothing
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.instances import OneInstance
from tests.fakes.mirrors import mirror_of
from tests.fakes.sightings import alone

PRIVATE = Identity("git.example", "org/private")
PUBLIC = Identity("git.example", "org/public")
MIRRORED = Listing((RemoteRef("refs/heads/main", "1" * 40),))


class Upstreams:
    """Answer at once: the public repository to everybody, the private one to whom it is opened."""

    def __init__(self) -> None:
        self.readers: set[str | None] = set()
        self.asked: list[tuple[Identity, str | None]] = []
        self.down = False

    def of(self, identity: Identity) -> Any:
        async def list_(kind: Kind, authorization: str | None, before: Listing | None = None) -> Listing:
            self.asked.append((identity, authorization))
            if self.down:
                raise UpstreamUnreachable("https://git.example/", "is down")
            if identity == PUBLIC or authorization in self.readers:
                return Listing(refs=())
            raise UpstreamRefused("https://git.example/", status=403 if authorization else 401)

        return SimpleNamespace(list=list_)


class World:
    """A guard and a ref gate with one clock, in front of those upstreams."""

    def __init__(self, directory: Path, own: str | None = None) -> None:
        self.clock, self.upstreams, self.own = FakeClock(), Upstreams(), own
        self.probes: Counter[tuple[Identity, str | None]] = Counter()
        public = PublicRecord(
            path=directory / "public.json",
            clock=self.clock,
            grace=3600,
            in_thread=InlineThreads(),
            background=Background(),
            elsewhere=alone(self.clock),
        )
        self.verdicts = Verdicts(
            reactor=self.clock, clock=self.clock, probe=self.probe, public=public, changes=UpstreamChanges()
        )
        self.guard: UpstreamGuard | TrustedNetworkGuard = UpstreamGuard(
            verdicts=self.verdicts, instances=cast(Any, OneInstance()), background=Background()
        )
        self.freshness = self.gate(ClientsOwn(own=self.own_credential, mirrored=lambda identity: True).to_check)

    def gate(self, shown: Shown) -> Freshness:
        """Make a ref gate."""
        return ref_gate(
            remotes=self.upstreams,  # type: ignore[arg-type]
            clock=self.clock,
            interval=10,
            metrics=Metrics(),
            mirrored=MirroredListings(
                ready=lambda identity: mirror_of(Listing((RemoteRef("refs/heads/main", "1" * 40),)))
            ),
            listings=Listings(limit=1_000_000),
            listeners=GateListeners(instances=cast(Any, HearsNothing()), verdict=self.verdicts.memory.record),
            presented=ShownCredentials(to_check=shown),
        )

    async def own_credential(self, identity: Identity) -> str | None:
        if self.own == "unknown":
            raise UpstreamUnreachable("https://git.example/", "no token is to be had")
        return self.own

    async def probe(self, identity: Identity, authorization: str | None) -> bool:
        self.probes[identity, authorization] += 1
        return await self.freshness.probe(identity, authorization)

    def fetch(self, identity: Identity, authorization: str | None) -> str:
        """Do what a fetch does before any object is looked at; return how it ended."""
        return ended(self._fetch(identity, authorization))

    async def _fetch(self, identity: Identity, authorization: str | None) -> str:
        request = request_with(authorization)
        shown = (await self.guard.admit(request, identity)).authorization
        answer = await self.freshness.refs(identity, MIRRORED_KIND, shown)
        return "stale" if answer.stale else "served"

    def shown(self, identity: Identity, authorization: str | None) -> str | None:
        """Return what of a client's credential its upstream may be shown."""
        found: list[str | None] = []
        admitted = Deferred.fromCoroutine(self.guard.admit(request_with(authorization), identity))
        admitted.addCallback(lambda right: found.append(right.authorization))
        return found[0]

    def admit(self, identity: Identity, authorization: str | None) -> str:
        """Do what a request for a cached snapshot does."""
        return ended(self._admit(identity, authorization))

    async def _admit(self, identity: Identity, authorization: str | None) -> str:
        await self.guard.admit(request_with(authorization), identity)
        return "served"


def request_with(authorization: str | None) -> Any:
    headers = Headers()
    if authorization is not None:
        headers.addRawHeader("Authorization", authorization)
    return SimpleNamespace(requestHeaders=headers)


def ended(work: Any) -> str:
    """Return the result of work that ends at once, or the status or name of its failure."""
    outcome: list[Any] = []
    deferred: Deferred[Any] = Deferred.fromCoroutine(work)
    deferred.addErrback(how_it_failed)
    deferred.addCallback(outcome.append)
    return str(outcome[0])


def how_it_failed(failure: Failure) -> str:
    return str(getattr(failure.value, "status", type(failure.value).__name__))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class NothingListed(OneInstance):
    """Knows no repository yet."""

    def readable(self, identity: Identity) -> None:
        return None


def test_a_credential_may_be_needed_before_anything_was_listed(tmp_path: Path) -> None:
    """That everybody is let in is certain only when everybody has been told refs; then it is shown no more."""
    world = World(tmp_path)
    assert world.admit(PUBLIC, None) == "served"
    assert world.shown(PUBLIC, "Bearer one") is None
    world.guard = UpstreamGuard(verdicts=world.verdicts, instances=cast(Any, NothingListed()), background=Background())
    assert world.shown(PUBLIC, "Bearer one") == "Bearer one"


@pytest.mark.parametrize("own", [None, "Bearer server"])
def test_ten_thousand_requests(tmp_path: Path, own: str | None) -> None:
    """Ten thousand fetches in a minute by 50 credentials ask the upstream once about each.

    The refs' due come on top: six questions for all of them, with the server's own credential where it has one.
    """
    world = World(tmp_path, own)
    credentials = [f"Bearer {number}" for number in range(50)]
    world.upstreams.readers |= {*credentials, own} - {None}
    for number in range(10_000):
        assert world.fetch(PRIVATE, credentials[number % 50]) == "served"
        world.clock.advance(60 / 10_001)
    assert world.probes == Counter({(PRIVATE, credential): 1 for credential in (*credentials, None)})
    shown = Counter(authorization for _, authorization in world.upstreams.asked)
    if own is not None:
        assert shown == Counter({**dict.fromkeys([*credentials, None], 1), own: shown[own]}) and shown[own] <= 6
    assert shown.total() <= 51 + 6


def test_busy_credentials_are_renewed_by_ref_checks(world: World) -> None:
    """A ref check with a credential is a verdict on it: a busy client is asked about for its own sake but once."""
    world.upstreams.readers.add("Bearer a")
    for _ in range(600):
        assert world.fetch(PRIVATE, "Bearer a") == "served"
        world.clock.advance(1)
    assert world.probes[PRIVATE, "Bearer a"] == 1


def test_revoked_credentials_are_refused_when_the_refs_are_asked(world: World) -> None:
    """What the ref gate learns counts for everything: a cached snapshot goes to nobody whose ref check was refused."""
    world.upstreams.readers.add("Bearer a")
    assert world.fetch(PRIVATE, "Bearer a") == world.admit(PRIVATE, "Bearer a") == "served"
    world.upstreams.readers.clear()
    world.clock.advance(11)
    assert world.admit(PRIVATE, "Bearer a") == "served", "the upstream's word holds for a minute"
    assert world.fetch(PRIVATE, "Bearer a") == "403"
    assert world.admit(PRIVATE, "Bearer a") == "403"


def test_public_repositories_are_recognised_by_one_question(world: World) -> None:
    """Clients that always show credentials are asked about once in all where everybody may read."""
    for number in range(100):
        assert world.fetch(PUBLIC, f"Bearer {number}") == "served"
    assert world.upstreams.asked == [(PUBLIC, "Bearer 0"), (PUBLIC, None)]
    world.upstreams.down = True
    world.clock.advance(120)
    assert world.admit(PUBLIC, "Bearer x") == "served", "and it is served while its upstream is down"


def test_fails_closed(world: World) -> None:
    """With the upstream down a private repository is served to valid verdicts only."""
    world.upstreams.readers.add("Bearer a")
    world.fetch(PRIVATE, "Bearer a")
    world.upstreams.down = True
    world.clock.advance(30)
    assert world.fetch(PRIVATE, "Bearer a") == "stale"
    assert world.fetch(PRIVATE, "Bearer b") == world.admit(PRIVATE, None) == "UpstreamUnreachable"
    world.clock.advance(61)
    assert world.admit(PRIVATE, "Bearer a") == "UpstreamUnreachable"


@pytest.mark.parametrize("own", ["Bearer refused", "unknown"])
def test_a_servers_credential_that_is_of_no_use(tmp_path: Path, own: str) -> None:
    """Where the server's own credential is refused or can't be had, ref checks show the client's."""
    world = World(tmp_path, own)
    world.upstreams.readers.add("Bearer a")
    assert world.fetch(PRIVATE, "Bearer a") == "served"
    world.clock.advance(11)
    assert world.fetch(PRIVATE, "Bearer a") == "served"
    assert [shown for _, shown in world.upstreams.asked if shown not in (own, None)] == ["Bearer a"] * 2


def test_the_servers_credential_lets_nobody_in(tmp_path: Path) -> None:
    """Ref checks with the server's credential say nothing about a client's, and public ones are made with none."""
    world = World(tmp_path, "Bearer server")
    world.upstreams.readers |= {"Bearer a", "Bearer server"}
    assert world.fetch(PRIVATE, "Bearer a") == "served"
    world.upstreams.readers.discard("Bearer a")
    for _ in range(5):
        world.clock.advance(11)
        assert world.fetch(PRIVATE, "Bearer a") == "served", "its minute is not over"
    world.clock.advance(11)
    assert world.fetch(PRIVATE, "Bearer a") == "403"
    world.fetch(PUBLIC, "Bearer a")
    assert (PUBLIC, "Bearer server") not in world.upstreams.asked


def test_a_trusted_network_waits_for_no_credential_of_the_server(tmp_path: Path) -> None:
    """What is kept is served on a trusted network although the server's credential can't be had."""
    asked: list[str] = []

    async def own(identity: Identity) -> str | None:
        asked.append(identity.name)
        raise UpstreamUnreachable("https://git.example/", "the token can't be renewed")

    world = World(tmp_path)
    world.upstreams.readers.add(None)
    world.guard, shown = TrustedNetworkGuard(instances=cast(Any, OneInstance())), ServersOwn(own=own)
    assert world.fetch(PRIVATE, "Bearer a") == "served"
    freshness = world.gate(shown.to_check)
    outcomes: list[Any] = []
    for _ in range(2):
        answer = Deferred.fromCoroutine(freshness.refs(PRIVATE, MIRRORED_KIND, None))
        answer.addBoth(outcomes.append)
    assert [outcome.stale for outcome in outcomes] == [True, True], "the mirror's refs"
    assert asked == [PRIVATE.name], "and not asked again before it is due"
    assert ended(shown.to_read(PRIVATE, None)) == "UpstreamUnreachable"


@pytest.mark.parametrize("trusted", [False, True])
def test_what_other_replicas_know_is_seen_before_a_right_is_given(tmp_path: Path, trusted: bool) -> None:
    """A name may stand for another repository since another replica has asked."""
    world, seen, asked = World(tmp_path), Deferred[None](), list[Identity]()
    world.upstreams.readers.add(None)

    async def look(identity: Identity) -> None:
        asked.append(identity)
        await seen

    present = cast(Any, OneInstance())
    world.guard = (
        TrustedNetworkGuard(instances=present, look=look)
        if trusted
        else UpstreamGuard(verdicts=world.verdicts, instances=present, background=Background(), look=look)
    )
    given = Deferred.fromCoroutine(world.guard.admit(request_with(None), PUBLIC))
    assert asked == [PUBLIC] and not given.called
    seen.callback(None)
    assert given.called
