"""The admin routes on connections in memory, over operations that only remember what they were asked."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.testing import StringTransport

from cachew.config.inforce import Reloaded
from cachew.http.site import make_site
from cachew.mirrors.identity import CASE_MATTERS, Identity
from cachew.mirrors.usage import ClientUse
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import NotFound
from cachew.plumbing.happenings import Happening
from cachew.plumbing.logs import EventLog
from cachew.plumbing.metrics import Metrics
from cachew.replicas.fleet import Fleet
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import Records
from cachew.upstream.outages import Outage
from cachew.web.access.login import AdminAccess
from cachew.web.access.sessions import Sessions
from cachew.web.actions import RepositoryActions
from cachew.web.admin import AdminRoutes
from cachew.web.app import App
from cachew.web.archivestatus import ArtefactStatus
from cachew.web.currentwork import WorkStatus
from cachew.web.dashboard import DashboardRoutes
from cachew.web.fleetpage import FleetPage
from cachew.web.forgeevents import ForgeHosts
from cachew.web.loginroutes import LOGINS_PER_MINUTE, LoginRoutes
from cachew.web.pages import Pages
from cachew.web.repositoriesapi import RepositoriesApi
from cachew.web.repositorylist import Choice
from cachew.web.repositorypage import RepositoryFacts, RepositoryPage
from cachew.web.repositorytable import PAGE, Page
from cachew.web.status import Overview
from cachew.web.statuses import RepositoryStatus
from cachew.web.storecounts import CacheStatus
from cachew.web.traffic import Counts, TrafficWindow
from cachew.web.webhook import WebhookRoutes
from tests.fakes.clock import FakeClock

TOKEN = "the-admin-token-of-the-tests"
PLACES = {
    "git.example": ["git.example", "http://10.0.0.5:3000/", "git.internal:3000"],
    "code.example": ["code.example", "https://code.example/git/"],
    "mirror.example": ["mirror.example", "https://twice.example/"],
    "other.example": ["other.example", "https://twice.example/"],
}
NOW = 1_800_000_000.0
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Wire(StringTransport):
    """A transport in memory that, like a socket's, may be told twice that nobody produces any more."""

    def unregisterProducer(self) -> None:
        self.producer = self.streaming = None

    def loseWriteConnection(self) -> None:
        self.loseConnection()


class FakeOperations:
    """A server with nothing behind it."""

    def __init__(self) -> None:
        self.reason, self.time = "", NOW
        self.acts: list[tuple[str, str]] = []
        self.pushes: list[str] = []
        self.unmirrored = False
        self.mirrored: list[str] | None = None
        self.others: dict[str, str] = {}
        self.known: list[RepositoryStatus] = []
        self.failing: list[str] = []
        self.looks: list[Choice] = []
        self.until: Deferred[None] = succeed(None)
        self.counts = {"mirror": 4210, "pack cache": 2930, "upstream": 184, "memory": 9120}

    def unready(self) -> str:
        return self.reason

    def troubles(self) -> Sequence[str]:
        return self.failing

    def served(self) -> dict[str, int]:
        return self.counts

    async def one(self, identity: Identity) -> RepositoryStatus:
        found = next((one for one in self.known if one.name == identity.name), None)
        if found is None:
            raise NotFound(f"{identity.name} is not mirrored")
        return found

    async def overview(self) -> Overview:
        return Overview(
            now=self.time,
            started=NOW - 93_000,
            served=self.counts,
            troubles=self.failing,
            caches=[
                CacheStatus(name="disk", objects=212, size=81_200_000_000, capacity=250_000_000_000),
                CacheStatus(name="s3 cachew", objects=640, size=412_000_000_000, capacity=0),
                CacheStatus(name="pack cache", objects=1893, size=17_900_000_000, capacity=20_000_000_000),
            ],
            work=self.pieces(),
            waiting=3,
        )

    async def all(self) -> Sequence[RepositoryStatus]:
        return self.known

    async def each(self, shown: Callable[[RepositoryStatus], Any]) -> Sequence[Any]:
        return [shown(one) for one in self.known]

    def now(self) -> float:
        return self.time

    def pieces(self) -> Sequence[WorkStatus]:
        found = [
            WorkStatus(kind="snapshot", repository="gitlab.com/gitlab-org/gitlab", began=NOW - 75),
            WorkStatus(kind="serve", repository="github.com/python/cpython", began=NOW - 20, count=3),
            WorkStatus(kind="fetch", repository="github.com/torvalds/linux", began=NOW - 14),
            WorkStatus(kind="make", repository="codeberg.org/forgejo/forgejo", began=NOW - 3, waits=True),
        ]
        known = [one.name for one in self.known]
        return [work for work in found if not known or work.repository in known]

    async def artefacts(self, identity: Identity) -> Sequence[ArtefactStatus]:
        return [
            ArtefactStatus(kind="snapshot", size=1_930_000_000, made=NOW - 1800),
            ArtefactStatus(kind="mirror", size=5_610_000_000, made=NOW - 5400),
            ArtefactStatus(kind="packs", size=2_070_000_000),
        ]

    async def page(self, choice: Choice, count: int = PAGE) -> Page:
        self.looks.append(choice)
        await self.until

        def is_meant(one: RepositoryStatus) -> bool:
            kinds = {one.state, *(["error"] if one.error else []), *(["stale"] if one.stale else [])}
            host = one.name.partition("/")[0]
            named = choice.matching.casefold() in one.name
            return named and choice.state in ("", *kinds) and choice.host in ("", host)

        meant = sorted(filter(is_meant, self.known), key=lambda one: not one.error)
        first = choice.first
        return Page(
            rows=meant[first : first + count],
            choice=choice,
            matching=len(meant),
            known=len(self.known),
            ready=sum(one.state in ("ready", "fetching") for one in self.known),
            states=Counter(
                [*("error" for one in self.known if one.error), *("stale" for one in self.known if one.stale)]
            ),
            hosts=sorted({one.name.partition("/")[0] for one in self.known}),
            mirrored=sum(one.size or 0 for one in self.known),
        )

    async def act(self, identity: Identity, action: str) -> None:
        if identity.name not in [repository.name for repository in self.known]:
            raise NotFound(f"{identity.name} is not mirrored")
        self.acts.append((identity.name, action))

    async def mirrored_as(self, urls: Collection[str], paths: Collection[str]) -> Sequence[Identity]:
        return [Identity.from_name(name) for known, name in self.others.items() if known in (*urls, *paths)]

    async def pushed(self, identity: Identity, before: Mapping[str, str]) -> bool:
        self.pushes.append(identity.name)
        return not self.unmirrored and (self.mirrored is None or identity.name in self.mirrored)


class FakeTraffic:
    """A day of which only what is asked for is made up."""

    def __init__(self) -> None:
        self.busy = False

    def steps(self, span: TrafficWindow) -> list[Counts]:
        count = span.minutes // span.step
        return [_step(number, span.step) for number in range(count)] if self.busy else [Counts()] * count


def _step(number: int, minutes: int) -> Counts:
    """Return a step with more in the middle than at its ends, and nothing at one time."""
    if number in (20, 21):
        return Counts()
    asked = minutes * (40 + 3 * (number % 7) + (90 if 30 < number < 48 else 0))
    return Counts(
        requests=asked,
        hits=asked * 19 // 20,
        misses=asked // 20,
        cached=asked * 2_400_000,
        relayed=asked * 310_000,
        durations=(asked // 2, asked // 4, asked // 8, 0, asked // 16, 0, number % 5, 0, 0, 0, 0, 0, 0, 0, 0),
    )


@dataclass
class Response:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def json(self) -> Any:
        return json.loads(self.body)


def response_of(wire: Wire) -> Response:
    """Return what came back."""
    head, _, content = wire.value().partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    pairs = [(name, value) for name, _, value in (line.partition(": ") for line in rest)]
    if ("Transfer-Encoding", "chunked") in pairs:
        content = _unchunked(content)
    return Response(int(first.split(" ")[1]), pairs, content)


class Sent(TypedDict, total=False):
    """What a request may have besides its target, as :meth:`AdminFront.send` takes it."""

    headers: dict[str, str] | None
    body: bytes
    encoding: str


class AdminFront:
    """The routes and what they act on."""

    def __init__(
        self,
        *,
        trusted: bool = False,
        secrets: dict[str, str | None] | None = None,
        reactor: IReactorTime | None = None,
    ) -> None:
        self.clock, self.metrics, self.levels = FakeClock(), Metrics(), EventLog()
        self.operations = FakeOperations()
        self.threaded = 0
        operations = cast(Any, self.operations)
        self.outages: list[Outage] = []
        self.records = MemoryRecords()
        self.traffic = FakeTraffic()
        pages = Pages(version="1.2", reactor=reactor or self.clock)
        self.access = AdminAccess(
            token=lambda: TOKEN,
            host_names=["cachew.example"],
            sessions=sessions_of(self.clock),
            clock=self.clock,
            trusted=lambda request: trusted,
        )
        self.dashboard = DashboardRoutes(
            access=self.access,
            status=operations,
            table=operations,
            pages=pages,
            traffic=cast(Any, self.traffic),
            outages=lambda: self.outages,
        )
        login = LoginRoutes(
            access=self.access,
            pages=pages,
            attempts=Allowance(clock=self.clock, per_minute=LOGINS_PER_MINUTE),
        )
        actions = RepositoryActions(work=operations, grammar=CASE_MATTERS)
        self.reloaded = Reloaded()
        admin = AdminRoutes(
            access=self.access,
            status=operations,
            metrics=self.metrics,
            event_log=self.levels,
            reload=self._reload,
        )
        api = RepositoriesApi(access=self.access, statuses=operations, table=operations, actions=actions)
        webhooks = WebhookRoutes(
            pushes=operations, secrets=secrets or {}, places=ForgeHosts(PLACES), in_thread=self._in_thread
        )
        self.events: dict[str, list[Happening]] = {}
        self.clients: dict[str, list[ClientUse]] = {}
        page = RepositoryPage(
            access=self.access,
            facts=RepositoryFacts(
                statuses=operations,
                current=operations,
                events=lambda name: self.events.get(name, []),
                clients=lambda name: self.clients.get(name, []),
                clock=operations,
            ),
            actions=actions,
            pages=pages,
        )
        self.report: dict[str, Any] = {"version": "1.2", "started": NOW - 93_000, "numbers": {"mirrors ready": 4}}
        self.fleet = Fleet(
            records=self.records, name="host-1:/state", report=self._report, clock=self.clock, reactor=self.clock
        )
        fleet = FleetPage(access=self.access, fleet=self.fleet, shared=True, pages=pages)
        self.app = App(
            routes=[admin, api, self.dashboard, login, page, fleet, webhooks],
            git=lambda request: b"",
            metrics=self.metrics,
            clock=self.clock,
            version="1.2",
        )
        self.site = make_site(self.app, reactor=self.clock)

    async def _report(self) -> dict[str, Any]:
        return self.report

    async def _reload(self) -> Reloaded:
        return self.reloaded

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        self.threaded += 1
        return function(*args)

    def ask(self, target: str, method: str = "GET", **rest: Unpack[Sent]) -> Response:
        """Send a request and return its response."""
        return response_of(self.send(target, method, **rest))

    def send(
        self,
        target: str,
        method: str = "GET",
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        encoding: str = "utf-8",
    ) -> Wire:
        """Send a request and return where its response will be."""
        self.clock.advance(0)
        transport = Wire()
        channel: Any = self.site.buildProtocol(None)
        channel.makeConnection(transport)
        fields = {"Host": "localhost:8080", "Connection": "close", "Content-Length": str(len(body))} | (headers or {})
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        channel.dataReceived("\r\n".join(lines).encode(encoding) + body)
        return transport

    def log_in(self) -> dict[str, str]:
        """Log a browser in and return the headers that it sends from then on."""
        response = self.ask(f"/admin/login?code={self.access.new_login_code()}")
        return {"Cookie": response.header("Set-Cookie").partition(";")[0]}


def sessions_of(clock: Clock, *, records: Records | None = None, lifetime: float = 3600) -> Sessions:
    """Return the sessions of a replica that shares a secret with all others."""

    async def find() -> None:
        """Find nothing."""

    return Sessions(
        key=lambda: b"what replicas share",
        find_key=find,
        lifetime=lifetime,
        clock=clock,
        records=records or MemoryRecords(),
        background=Background(),
    )


def _unchunked(content: bytes) -> bytes:
    whole = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        whole, content = whole + content[:length], content[length + 2 :]
    return whole


def repositories() -> list[RepositoryStatus]:
    """Return repositories in every state that there is to show."""
    return [
        RepositoryStatus(
            name="codeberg.org/forgejo/forgejo", state="ready", size=412_000_000, refs=1240, head="9f2c41d07aa1" * 3,
            checked=NOW - 41, fetched=NOW - 320, snapshot=NOW - 2900, snapshot_size=96_000_000, used=NOW - 15,
            requests=412,
        ),
        RepositoryStatus(
            name="github.com/torvalds/linux", state="fetching", size=5_820_000_000, refs=934, head="e8f897f4afef" * 3,
            checked=NOW - 3, fetched=NOW - 61, snapshot=NOW - 1800, snapshot_size=1_930_000_000, used=NOW - 1,
            requests=11_876, stale=True,
        ),
        RepositoryStatus(
            name="git.example:8443/infra/tools/deploy", state="ready", size=88_000_000, refs=61, checked=NOW - 7000,
            fetched=NOW - 9000, used=NOW - 200, requests=19,
            error="upstream https://git.example:8443/infra/tools/deploy: connection refused; served from the mirror",
        ),
        RepositoryStatus(name="gitlab.com/gitlab-org/gitlab", state="cloning", used=NOW - 4, requests=3),
        RepositoryStatus(
            name="github.com/python/cpython", state="ready", size=1_240_000_000, refs=2210, head="c0ffee254729" * 3,
            checked=NOW - 8, fetched=NOW - 640, snapshot=NOW - 700, snapshot_size=412_000_000, used=NOW - 9,
            requests=4134,
        ),
    ]  # fmt: skip


def front_for_browsers() -> AdminFront:
    """Return a front whose pages have the turns of the reactor that runs."""
    from twisted.internet import reactor

    return AdminFront(reactor=cast(IReactorTime, reactor))
