"""Who may administer: the admin token, a browser's session, or a request that the operator's policy trusts.

A browser is logged in by a one-time link from the log, or by the token in a form, and then holds a cookie that is of
no use to other sites: it is ``SameSite=Strict``, its actions need a token of their own, and the server answers only to
names that are its own, so that no page elsewhere can point a name of theirs at it.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Collection
from hmac import compare_digest
from ipaddress import ip_address
from typing import Any

from cachew.config.rules import BEARER
from cachew.http.requests import StreamingRequest
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Forbidden, Unauthorized
from cachew.web.access.sessions import Session, Sessions
from cachew.web.forms import cookie, header

COOKIE = "cachew-admin"
_LOCAL_NAMES = frozenset({"localhost"})
_SAFE_METHODS = (b"GET", b"HEAD", b"OPTIONS")
CODE_LIFETIME = 3600.0
"""Seconds for which a login code is good."""


class AdminAccess:
    """Decides whether a request may administer.

    :param token: gives the admin token.
    :param host_names: names by which browsers may address this server, beside localhost and addresses.
    :param sessions: of browsers that are logged in.
    :param clock: where time comes from.
    :param trusted: whether the operator's policy admits a request without the admin token.
    :param is_rules_token: whether an ``Authorization`` is a token that the policy knows.
    :param is_https: whether a request came over HTTPS.
    """

    def __init__(
        self,
        *,
        token: Callable[[], str],
        host_names: Collection[str],
        sessions: Sessions,
        clock: Clock,
        trusted: Callable[[Any], bool] = lambda request: False,
        is_rules_token: Callable[[str], bool] = lambda authorization: False,
        is_https: Callable[[Any], bool] = lambda request: bool(request.isSecure()),
    ) -> None:
        self._token = token
        self.answer_to(host_names)
        self._sessions = sessions
        self._clock = clock
        self._trusted = trusted
        self._is_rules_token, self._is_https = is_rules_token, is_https
        self._codes: dict[str, float] = {}

    def answer_to(self, host_names: Collection[str]) -> None:
        """Let browsers address this server by these names from now on, beside localhost and addresses."""
        self._host_names = {name.lower() for name in host_names} | _LOCAL_NAMES

    def require(self, request: StreamingRequest, *, csrf: str = "") -> Session | None:
        """Let a request pass that may administer.

        :param csrf: the token that a form has brought; a script sends it as a header.
        :return: the browser's session, if it is one.
        :raise Unauthorized: when it has neither token nor session nor trust.
        :raise Forbidden: when a browser was led here by another site.
        """
        shown = header(request, "Authorization")
        if shown and not (self._is_rules_token(shown) and self._trusted(request)):
            if not self.is_bearer(shown):
                raise Unauthorized("that is not the admin token")
            return None
        session = self.session_of(request)
        if session is None and not self._trusted(request):
            raise Unauthorized("this needs the admin token: Authorization: Bearer TOKEN")
        self.check_own_site(request)
        if session is not None and request.method not in _SAFE_METHODS:
            given = csrf or header(request, "X-CSRF-Token")
            if not compare_digest(given.encode(), session.csrf.encode()):
                raise Forbidden("the page is out of date, load it again")
        return session

    async def or_login(
        self, request: StreamingRequest, show: Callable[[StreamingRequest, Session | None], Awaitable[bytes]]
    ) -> bytes:
        """Show a page to whom may administer, and to a browser that isn't logged in the way to that.

        :param show: is given the request and the browser's session, if it is one.
        :raise Forbidden: when a browser was led here by another site.
        """
        try:
            session = self.require(request)
        except Unauthorized:
            request.redirect(b"/admin/login")
            return b""
        return await show(request, session)

    def session_of(self, request: StreamingRequest) -> Session | None:
        """Return the session whose cookie a request carries."""
        return self._sessions.find(cookie(request, COOKIE))

    def check_own_site(self, request: StreamingRequest) -> None:
        """Refuse a browser that asks for a name that is not ours, or acts on behalf of another site.

        :raise Forbidden: then.
        """
        host = header(request, "Host").lower()
        if not self._is_own_name(_without_port(host)):
            raise Forbidden("this name is not one of the server's; add it to host-names in [admin]")
        origin = header(request, "Origin")
        site = header(request, "Sec-Fetch-Site")
        foreign = (origin and origin.partition("://")[2].lower() != host) or site in ("cross-site", "same-site")
        if foreign and request.method not in _SAFE_METHODS:
            raise Forbidden("this action was asked for by another site")

    def is_token(self, text: str) -> bool:
        """Say whether a text is the admin token, in a time that tells nothing about it."""
        return compare_digest(_digest(text), _digest(self._token()))

    def is_bearer(self, authorization: str) -> bool:
        """Say whether an ``Authorization`` is the admin token's."""
        shown = BEARER.match(authorization)
        return shown is not None and self.is_token(shown[1].strip())

    def is_ours(self, authorization: str) -> bool:
        """Say whether an ``Authorization`` is meant for this server, so that no upstream may see it."""
        return self.is_bearer(authorization) or self._is_rules_token(authorization)

    def new_login_code(self) -> str:
        """Return a code that logs one browser in, once and within an hour."""
        code, now = secrets.token_urlsafe(), self._clock.seconds()
        self._codes = {old: until for old, until in self._codes.items() if until > now}
        self._codes[_digest(code)] = now + CODE_LIFETIME
        return code

    def redeem(self, code: str) -> bool:
        """Use a login code up.

        :return: whether it was good.
        """
        return self._codes.pop(_digest(code), 0.0) > self._clock.seconds()

    def open_session(self, request: StreamingRequest) -> None:
        """Log the request's browser in: its response sets the cookie."""
        _set_cookie(request, self._sessions.open(), int(self._sessions.lifetime), secure=self._is_https(request))

    def close_session(self, request: StreamingRequest) -> None:
        """Log the request's browser out."""
        self._sessions.end(cookie(request, COOKIE))
        _set_cookie(request, "", 0, secure=self._is_https(request))

    def _is_own_name(self, name: str) -> bool:
        if name in self._host_names:
            return True
        try:
            # An address can't be pointed elsewhere by anyone's name server.
            ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def _set_cookie(request: StreamingRequest, value: str, seconds: int, *, secure: bool) -> None:
    more = "; Secure" if secure else ""
    text = f"{COOKIE}={value}; Path=/admin; Max-Age={seconds}; HttpOnly; SameSite=Strict{more}"
    request.responseHeaders.addRawHeader(b"Set-Cookie", text.encode())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (name.endswith("]") or ":" not in name) else host
