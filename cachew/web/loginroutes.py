"""How a browser is logged in and out."""

from collections.abc import Callable
from typing import Any

from klein import Klein
from twisted.web.http import SEE_OTHER

from cachew.http.requests import StreamingRequest, allow_methods
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.errors import Forbidden, TooOften
from cachew.web.access.login import AdminAccess
from cachew.web.forms import form_field, query_field
from cachew.web.pages import Pages

LOGINS_PER_MINUTE = 10
"""How often one client address may send a token to log in."""


class LoginRoutes:
    """The pages ``/admin/login`` and ``/admin/logout``.

    :param access: who may administer.
    :param pages: renders them.
    :param attempts: how often each client may try to log in.
    :param client_of: tells a request's client.
    """

    def __init__(
        self,
        *,
        access: AdminAccess,
        pages: Pages,
        attempts: Allowance,
        client_of: Callable[[Any], str] = lambda request: request.remote_address,
    ) -> None:
        self._access = access
        self._pages = pages
        self._attempts = attempts
        self._client_of = client_of

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/admin/login")(self.login)
        app.route("/admin/logout")(self.logout)

    async def login(self, request: StreamingRequest) -> bytes:
        """Log a browser in by the one-time code of the log's link or by the admin token."""
        allow_methods(request, "GET", "POST")
        self._access.check_own_site(request)
        if request.method == b"POST":
            # Also with the right token: an answer would otherwise tell who tries which one that is.
            if wait := self._attempts.take(self._client_of(request), 1):
                raise TooOften("too many attempts to log in from this address", wait)
            good = self._access.is_token((await form_field(request, "token")).strip())
            return await self._logged_in(request, good, "That is not the admin token.")
        code = query_field(request, "code")
        if code and request.method == b"GET":
            return await self._logged_in(
                request, self._access.redeem(code), "That link was used already, or is older than an hour."
            )
        return await self._pages.render(request, "login.html", None, message="")

    async def logout(self, request: StreamingRequest) -> bytes:
        """Log a browser out."""
        allow_methods(request, "POST")
        if self._access.require(request, csrf=await form_field(request, "csrf")) is None:
            raise Forbidden("only a browser that is logged in can be logged out")
        self._access.close_session(request)
        request.setResponseCode(SEE_OTHER)
        request.setHeader(b"Location", b"/admin/login")
        return b"logged out\n"

    async def _logged_in(self, request: StreamingRequest, good: bool, complaint: str) -> bytes:
        if not good:
            return await self._pages.render(request, "login.html", None, message=complaint)
        self._access.open_session(request)
        # Not a redirect: a browser that came from elsewhere would follow it without the new cookie.
        return await self._pages.render(request, "welcome.html", None)
