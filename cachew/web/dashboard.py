"""The dashboard: one page, rendered here, that keeps itself fresh and offers what can be done about a repository.

The way to it begins at ``/``, where whoever opens the server's address is told what this is, and nothing else.
"""

import gzip
import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from klein import Klein
from werkzeug.http import parse_accept_header

from cachew.http.conditional import evaluate
from cachew.http.requests import StreamingRequest
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.errors import Forbidden, TooOften, Unauthorized
from cachew.plumbing.units import format_size
from cachew.web.access.login import AdminAccess, Session
from cachew.web.app import allow_methods
from cachew.web.forms import form_field, header, query_field
from cachew.web.history import History, polyline
from cachew.web.status import ACTIONS, Operations
from cachew.web.statuses import PAGE

_ENTRANCE = b"""This is cachew, a git caching server. Point git at it:

    git config --global url."http://THIS-SERVER/git/github.com/".insteadOf https://github.com/

The dashboard is at /admin/, health at /_liveness and /_readiness.
"""
LOGINS_PER_MINUTE = 10
"""How often one client address may send a token to log in."""
_GZIP_LEVEL = 1
_BUSY_STATES = frozenset({"cloning", "restoring", "fetching", "suspect"})


class DashboardRoutes:
    """The pages below ``/admin/``, and ``/``.

    :param access: who may see them.
    :param operations: the server.
    :param version: cachew's, to show.
    :param attempts: how often each client may try to log in.
    :param client_of: tells a request's client.
    :param nonce: makes the unguessable word that allows a page's own script and style.
    """

    def __init__(
        self,
        *,
        access: AdminAccess,
        operations: Operations,
        version: str,
        attempts: Allowance,
        client_of: Callable[[Any], str] = lambda request: request.remote_address,
        nonce: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        self._access = access
        self._operations = operations
        self._version = version
        self._attempts, self._client_of = attempts, client_of
        self._nonce = nonce
        self._history = History()
        self._templates = Environment(
            loader=PackageLoader("cachew.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters |= {"size": _size, "ago": ago, "number": "{:,}".format}

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/")(self.entrance)
        app.route("/admin")(self.page)
        app.route("/admin/")(self.page)
        app.route("/admin/live")(self.live)
        app.route("/admin/login")(self.login)
        app.route("/admin/logout")(self.logout)

    async def sample(self) -> None:
        """End a step of the curves; to be run at equal intervals."""
        self._history.note(self._operations.served())

    async def entrance(self, request: StreamingRequest) -> bytes:
        """Tell whoever opens the server's address what this is and where to go."""
        allow_methods(request, "GET")
        if "text/html" in header(request, "Accept"):
            return self.render(request, "entrance.html", None)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return _ENTRANCE

    async def page(self, request: StreamingRequest) -> bytes:
        """Show the dashboard, or the way to it."""
        allow_methods(request, "GET")
        try:
            session = self._access.require(request)
        except Unauthorized:
            request.redirect(b"/admin/login")
            return b""
        return self.render(request, "dashboard.html", session, ages=True, **await self._facts(request))

    async def live(self, request: StreamingRequest) -> bytes:
        """Return the part of the page that changes, unless the browser shows it already.

        Ages are left to the browser, so that it is the same until something happens. It may be compressed, because
        there is no secret in it whose length could tell what it is; the whole page, which has the CSRF token, is not.
        """
        allow_methods(request, "GET")
        session = self._access.require(request)
        part = self.render(request, "live.html", session, ages=False, **await self._facts(request))
        request.setHeader(b"Vary", b"Accept-Encoding")
        if parse_accept_header(header(request, "Accept-Encoding"))["gzip"]:
            request.setHeader(b"Content-Encoding", b"gzip")
            part = gzip.compress(part, _GZIP_LEVEL, mtime=0)
        return _unless_known(request, part)

    async def login(self, request: StreamingRequest) -> bytes:
        """Log a browser in by the one-time code of the log's link or by the admin token."""
        allow_methods(request, "GET", "POST")
        self._access.check_own_site(request)
        if request.method == b"POST":
            # Also with the right token: an answer would otherwise tell who tries which one that is.
            if wait := self._attempts.take(self._client_of(request), 1):
                raise TooOften("too many attempts to log in from this address", wait)
            good = self._access.is_token((await form_field(request, "token")).strip())
            return self._logged_in(request, good, "That is not the admin token.")
        code = query_field(request, "code")
        if code and request.method == b"GET":
            return self._logged_in(
                request, self._access.redeem(code), "That link was used already, or is older than an hour."
            )
        return self.render(request, "login.html", None, message="")

    async def logout(self, request: StreamingRequest) -> bytes:
        """Log a browser out."""
        allow_methods(request, "POST")
        if self._access.require(request) is None:
            raise Forbidden("only a browser that is logged in can be logged out")
        self._access.close_session(request)
        return b"logged out\n"

    def _logged_in(self, request: StreamingRequest, good: bool, complaint: str) -> bytes:
        if not good:
            return self.render(request, "login.html", None, message=complaint)
        self._access.open_session(request)
        # Not a redirect: a browser that came from elsewhere would follow it without the new cookie.
        return self.render(request, "welcome.html", None)

    def render(self, request: StreamingRequest, template: str, session: Session | None, **facts: Any) -> bytes:
        """Render a page, whose own script and style are all that may run."""
        nonce = self._nonce()
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        request.setHeader(b"Content-Security-Policy", policy.encode())
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        # Under "no-referrer" browsers send a form with "Origin: null", as if another site had.
        request.setHeader(b"Referrer-Policy", b"same-origin")
        csrf = session.csrf if session is not None else ""
        page = self._templates.get_template(template).render(
            nonce=nonce, csrf=csrf, version=self._version, actions=ACTIONS, **facts
        )
        return page.encode()

    async def _facts(self, request: StreamingRequest) -> dict[str, Any]:
        overview = await self._operations.overview()
        matching, first = query_field(request, "name"), query_field(request, "first")
        page = await self._operations.page(matching, int(first) if first.isdecimal() and len(first) < 10 else 0)
        served = sorted(overview.served.items(), key=lambda item: -item[1])
        return {
            "overview": overview,
            "page": page,
            "matching": matching,
            "step": PAGE,
            "unready": self._operations.unready(),
            "served": shares(served),
            "total": sum(count for _, count in served),
            "curve": polyline(self._history.totals(), width=280, height=56),
            "peak": max(self._history.totals(), default=0),
            "busy_states": _BUSY_STATES,
        }


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


def ago(then: float | None, now: float | None) -> str:
    """Return how long ago something was, as HTML.

    :param then: when it was, None for never.
    :param now: None when the page's script is to fill the age in.
    """
    if then is None:
        return "never"
    return f'<time data-at="{round(then)}">{"" if now is None else age(then, now)}</time>'


def age(then: float, now: float) -> str:
    """Return the time between in the one unit that suits: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    seconds = max(0, round(now - then))
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // divisor} {unit}"
    return f"{seconds // 86400} d"


def _size(size: int | None) -> str:
    return "—" if size is None else format_size(size)
