"""No exception of ours, wherever it comes from, ends as 500 or with a traceback: every one through every route."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.logger import LogLevel, capturedLogs

import cachew
from cachew.http.site import make_site
from cachew.mirrors.identity import CASE_MATTERS
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.errors import CachewError, ProcessFailed
from cachew.plumbing.logs import EventLog
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.storewords import StoreWords
from cachew.web.access.login import AdminAccess
from cachew.web.actions import RepositoryActions
from cachew.web.admin import AdminRoutes
from cachew.web.app import App
from cachew.web.dashboard import DashboardRoutes
from cachew.web.forgeevents import ForgeHosts
from cachew.web.git import GitRoutes, Services
from cachew.web.loginroutes import LoginRoutes
from cachew.web.objects import ObjectRoutes
from cachew.web.pages import Pages
from cachew.web.passthrough import Pushes
from cachew.web.repositoriesapi import RepositoriesApi
from cachew.web.webhook import WebhookRoutes
from tests.fakes.clock import FakeClock
from tests.web.adminfront import Wire

NOT_SERVED = ("cachew.client", "cachew.cli", "cachew.tap")
REPOSITORY = "/git/git.example/org/repo"
TARGETS = (
    ("GET", f"{REPOSITORY}/info/refs?service=git-upload-pack"),
    ("GET", f"{REPOSITORY}/info/refs?service=git-receive-pack"),
    ("POST", f"{REPOSITORY}/git-upload-pack"),
    ("POST", f"{REPOSITORY}/git-receive-pack"),
    ("POST", f"{REPOSITORY}/ensure-refs"),
    ("GET", f"{REPOSITORY}/snapshot.tar.zst"),
    ("GET", f"{REPOSITORY}/snapshot.bundle?base={'1' * 40}"),
    ("HEAD", f"{REPOSITORY}/lfs-snapshot.tar.zst"),
    ("GET", f"{REPOSITORY}/bundle-list"),
    ("POST", f"{REPOSITORY}/info/lfs/objects/batch"),
    ("GET", "/admin/"),
    ("GET", "/admin/live"),
    ("GET", "/admin/overview"),
    ("GET", "/admin/repositories"),
    ("POST", "/admin/repositories/git.example/org/repo/fetch"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/object/space/key"),
    ("POST", "/api/v1/object/space/key"),
    ("DELETE", "/api/v1/object/space/key"),
    ("GET", "/api/v1/stats"),
    ("GET", "/api/v1/namespaces"),
    ("POST", "/webhook/gitlab"),
    ("GET", "/_readiness"),
)
ARGUMENTS: dict[str, Any] = {
    "failure": ProcessFailed("git fetch", 128, "fatal: early EOF"),
    "status": 418,
    "code": 1,
    "limit": 5,
    "size": 5,
    "retry_after": 3,
    "allowed": ["GET"],
    "headers": {},
    "validators": {},
    "said": StoreWords("slow down", "SlowDown", "SlowDown", 503),
}


def kinds(base: type[CachewError] = CachewError) -> Iterator[type[CachewError]]:
    """Give all exceptions that the server's modules define."""
    for kind in base.__subclasses__():
        if not kind.__module__.startswith(NOT_SERVED) and kind.__module__.startswith("cachew"):
            yield kind
            yield from kinds(kind)


for module in pkgutil.walk_packages(cachew.__path__, "cachew."):
    if not module.name.startswith(NOT_SERVED):
        importlib.import_module(module.name)
KINDS = [CachewError, *dict.fromkeys(kinds())]


def made(kind: type[CachewError]) -> CachewError:
    """Make an exception of a kind, whatever it is made of."""
    if kind.__init__ is Exception.__init__:
        return kind("what went wrong")
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return kind("what went wrong")
    given = {p.name: ARGUMENTS.get(p.name, "word") for p in parameters if p.default is p.empty}
    return kind(**given)


class Failing:
    """Whatever is asked of it fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*args: object, **kwargs: object) -> Any:
            raise self._error

        return fail


class FailingGit(Failing):
    """Parts of the way to a repository, of which one fails.

    :param fine: what does not fail.
    """

    def __init__(self, error: Exception, *fine: str) -> None:
        super().__init__(error)
        self._fine = fine

    def __getattr__(self, name: str) -> Any:
        if name not in self._fine:
            return super().__getattr__(name)

        async def admit(*args: object) -> Any:
            return None

        return admit if name == "admit" else lambda *args, **kwargs: None


def app_of(error: Exception, *, guarded: bool) -> App:
    """Make every route, each of whose parts fails."""
    failing: Any = Failing(error)
    clock = FakeClock()
    access = AdminAccess(token=lambda: "t", host_names=[], sessions=failing, clock=clock, trusted=lambda request: True)
    webhooks = WebhookRoutes(pushes=failing, secrets={"gitlab": "s"}, places=ForgeHosts({}), in_thread=failing.call)
    git = GitRoutes(
        remotes=cast(Any, FailingGit(error, *(["of"] if guarded else []))),
        guard=cast(Any, FailingGit(error, *([] if guarded else ["admit", "credential"]))),
        services=Services(
            listings=failing,
            upload_pack=failing,
            pushes=Pushes(passthrough=failing, changes=failing, pushed=failing.pushed),
            lfs=failing,
            snapshots=failing,
            bundles=failing,
            ensure_refs=failing,
            dumb_files=failing,
        ),
    )
    return App(
        routes=[
            AdminRoutes(access=access, status=failing, metrics=Metrics(), event_log=EventLog(), reload=failing.pushed),
            RepositoriesApi(
                access=access,
                statuses=failing,
                table=failing,
                actions=RepositoryActions(work=failing, grammar=CASE_MATTERS),
            ),
            DashboardRoutes(
                access=access,
                status=failing,
                table=failing,
                pages=Pages(version="1", reactor=FakeClock()),
                traffic=failing,
                outages=failing.pushed,
            ),
            LoginRoutes(
                access=access,
                pages=Pages(version="1", reactor=FakeClock()),
                attempts=Allowance(clock=FakeClock(), per_minute=10),
            ),
            webhooks,
            ObjectRoutes(cache=failing, redirects=failing, limit=None),
        ],
        git=git.handle,
        metrics=Metrics(),
        clock=clock,
        version="1",
    )


def ask(app: App, method: str, target: str) -> tuple[int, bytes]:
    """Send a request and return status and body of its answer."""
    wire, channel = Wire(), cast(Any, make_site(app, reactor=FakeClock()).buildProtocol(None))
    channel.makeConnection(wire)
    body = b'{"project": {"web_url": "https://git.example/o/r"}}'
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Gitlab-Token: s\r\n"
        f"X-Gitlab-Event: Push Hook\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    channel.dataReceived(head.encode() + body)
    answer = wire.value()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("kind", [*KINDS, OSError], ids=lambda kind: kind.__name__)
def test_every_failure_through_every_route(kind: type[Exception]) -> None:
    """Whatever fails below a route is told with a status of its own and in words, and is one line in the log."""
    error = made(kind) if issubclass(kind, CachewError) else kind(5, "Input/output error")
    for guarded in (True, False):
        app = app_of(error, guarded=guarded)
        for method, target in TARGETS:
            with capturedLogs() as logs:
                status, body = ask(app, method, target)
            assert status != 500 and b"Traceback" not in body, (target, status)
            assert not [event for event in logs if event["log_level"] >= LogLevel.critical], target


def test_they_are_all_found() -> None:
    """The walk knows the exceptions of all packages, not only those of one module."""
    names = {kind.__module__.split(".")[1] for kind in KINDS}
    assert {"plumbing", "replicas", "upstream", "web", "smarthttp"} <= names
