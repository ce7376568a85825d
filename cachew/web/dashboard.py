"""The dashboard: one page, rendered here, that keeps itself fresh and offers what can be done about a repository.

The way to it begins at ``/``, where whoever opens the server's address is told what this is, and nothing else.
"""

import gzip
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from klein import Klein
from werkzeug.http import parse_accept_header

from cachew.http.conditional import evaluate
from cachew.http.requests import StreamingRequest, allow_methods
from cachew.plumbing.shared import Shared
from cachew.upstream.outages import Outage
from cachew.web.access.login import AdminAccess
from cachew.web.access.sessions import Session
from cachew.web.forms import header, query_field
from cachew.web.pages import Pages
from cachew.web.repositorylist import BUSY_STATES, STATES, Choice
from cachew.web.repositorytable import PAGE, RepositoryTable
from cachew.web.status import ServerStatus
from cachew.web.traffic import HOUR, SPANS, TrafficWindow
from cachew.web.trafficcharts import view
from cachew.web.trafficcounts import TrafficHistory

_ENTRANCE = b"""This is cachew, a git caching server. Point git at it:

    git config --global url."http://THIS-SERVER/git/github.com/".insteadOf https://github.com/

The dashboard is at /admin/, health at /_liveness and /_readiness.
"""
_GZIP_LEVEL = 1


class DashboardRoutes:
    """The pages below ``/admin/``, and ``/``.

    :param access: who may see them.
    :param status: the server.
    :param table: the repositories.
    :param pages: renders them.
    :param traffic: what clients were answered in the last day.
    :param outages: returns which upstreams do not answer.
    """

    def __init__(
        self,
        *,
        access: AdminAccess,
        status: ServerStatus,
        table: RepositoryTable,
        pages: Pages,
        traffic: TrafficHistory,
        outages: Callable[[], Sequence[Outage]],
    ) -> None:
        self._access = access
        self._status = status
        self._table = table
        self._pages = pages
        self._traffic = traffic
        self._outages = outages
        self._looks: Shared[tuple[Choice, str], dict[str, Any]] = Shared()

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/")(self.entrance)
        app.route("/admin")(self.page)
        app.route("/admin/")(self.page)
        app.route("/admin/live")(self.live)

    async def entrance(self, request: StreamingRequest) -> bytes:
        """Tell whoever opens the server's address what this is and where to go."""
        allow_methods(request, "GET")
        if "text/html" in header(request, "Accept"):
            return await self._pages.render(request, "entrance.html", None)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return _ENTRANCE

    async def page(self, request: StreamingRequest) -> bytes:
        """Show the dashboard, or the way to it."""
        allow_methods(request, "GET")
        return await self._access.or_login(request, self._shown)

    async def _shown(self, request: StreamingRequest, session: Session | None) -> bytes:
        return await self._pages.render(request, "dashboard.html", session, ages=True, **await self._facts(request))

    async def live(self, request: StreamingRequest) -> bytes:
        """Return the part of the page that changes, unless the browser shows it already.

        Ages are left to the browser, so that it is the same until something happens. It may be compressed, because
        there is no secret in it whose length could tell what it is; the whole page, which has the CSRF token, is not.
        """
        allow_methods(request, "GET")
        session = self._access.require(request)
        part = await self._pages.render(request, "live.html", session, ages=False, **await self._facts(request))
        request.setHeader(b"Vary", b"Accept-Encoding")
        if parse_accept_header(header(request, "Accept-Encoding"))["gzip"]:
            request.setHeader(b"Content-Encoding", b"gzip")
            part = gzip.compress(part, _GZIP_LEVEL, mtime=0)
        return _unless_known(request, part)

    async def _facts(self, request: StreamingRequest) -> dict[str, Any]:
        """Return what is shown to everybody who may see it at all, and asks for the same meanwhile."""
        choice, span = chosen(request), SPANS.get(query_field(request, "span"), HOUR)
        return await self._looks.run((choice, span.name), lambda: self._look(choice, span))

    async def _look(self, choice: Choice, span: TrafficWindow) -> dict[str, Any]:
        overview = await self._status.overview()
        page = await self._table.page(choice)
        served = sorted(overview.served.items(), key=lambda item: -item[1])
        return {
            "overview": overview,
            "page": page,
            "link": Link(page.choice, span).to,
            "step": PAGE,
            "states": STATES,
            "unready": self._status.unready(),
            "outages": [outage for outage in self._outages() if outage.host in page.hosts],
            "served": shares(served),
            "traffic": view(span, self._traffic.steps(span)),
            "spans": SPANS.values(),
            "busy_states": BUSY_STATES,
        }


@dataclass(frozen=True)
class Link:
    """Makes the addresses of the same page with something else chosen.

    :param choice: which repositories are shown.
    :param span: which time.
    """

    choice: Choice
    span: TrafficWindow

    def to(self, **changed: object) -> str:
        """Return an address; whatever is chosen anew begins with the first page."""
        first = self.choice.first if "span" in changed else 0
        fields: dict[str, object] = {**asdict(self.choice), "first": first, "span": self.span.name} | changed
        fields["name"] = fields.pop("matching")
        if fields["span"] == HOUR.name:
            del fields["span"]
        words = urlencode({name: value for name, value in fields.items() if value})
        return f"/admin/?{words}" if words else "/admin/"


def chosen(request: StreamingRequest) -> Choice:
    """Return which repositories a request wants to see."""
    first, state = query_field(request, "first"), query_field(request, "state")
    return Choice(
        matching=query_field(request, "name"),
        state=state if state in STATES else "",
        host=query_field(request, "host"),
        sort=query_field(request, "sort"),
        first=int(first) if first.isascii() and first.isdecimal() and len(first) < 10 else 0,
    )


def _unless_known(request: StreamingRequest, body: bytes) -> bytes:
    """Return a body, or nothing with 304 when the client says that it has it."""
    condition = {"If-None-Match": header(request, "If-None-Match")}
    decision = evaluate("GET", condition, etag=hashlib.sha256(body).hexdigest(), modified=None, size=len(body))
    request.setResponseCode(decision.status)
    request.setHeader(b"ETag", decision.headers["ETag"].encode())
    if decision.status == 304:
        for name in (b"Content-Type", b"Content-Encoding"):
            request.responseHeaders.removeHeader(name)
    return body[: decision.length]


def shares(served: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return each source with its part of the whole, as the segments of a bar 100 wide."""
    total = sum(count for _, count in served) or 1
    segments, start = [], 0.0
    for source, count in served:
        width = 100 * count / total
        segments.append({"source": source, "count": count, "start": round(start, 3), "width": round(width, 3)})
        start += width
    return segments
