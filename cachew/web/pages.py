"""Renders the pages for people, each under a policy that lets nothing run or load that is not its own."""

import secrets
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from cachew.http.requests import StreamingRequest
from cachew.plumbing.units import format_size
from cachew.web.access.sessions import Session
from cachew.web.actions import ACTIONS

if TYPE_CHECKING:
    from jinja2 import Environment


class Pages:
    """Renders templates, one in each turn of the reactor: what machines ask for comes between any two.

    :param version: cachew's, to show.
    :param reactor: whose turns they are.
    :param nonce: makes the unguessable word that allows a page's own script and style.
    """

    def __init__(
        self, *, version: str, reactor: IReactorTime, nonce: Callable[[], str] = secrets.token_urlsafe
    ) -> None:
        self._version = version
        self._reactor = reactor
        self._nonce = nonce
        self._turn = DeferredLock()

    @cached_property
    def _templates(self) -> "Environment":
        from jinja2 import Environment, PackageLoader, StrictUndefined  # which only people who look at pages need

        templates = Environment(
            loader=PackageLoader("cachew.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        templates.filters |= {
            "size": size,
            "ago": ago,
            "number": "{:,}".format,
            "counted": counted,
            "percent": percent,
            "moment": moment,
            "duration": duration,
            "decoded": unquote,
        }
        return templates

    async def render(self, request: StreamingRequest, template: str, session: Session | None, **facts: Any) -> bytes:
        """Render a page, whose own script and style are all that may run."""
        await self._turn.acquire()
        self._reactor.callLater(0, self._turn.release)
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
        # Names of refs, and what git says of them, may hold bytes that are no text.
        return page.encode("utf-8", "backslashreplace")


def ago(then: float | None, now: float | None) -> str:
    """Return how long ago something was, as HTML.

    :param then: when it was, None for never.
    :param now: None when the page's script is to fill the age in.
    """
    if then is None:
        return "never"
    return f'<time data-at="{round(then)}">{"" if now is None else age(then, now)}</time>'


def moment(then: float) -> str:
    """Return when something was, for those who compare it with other clocks."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(then))


def age(then: float, now: float) -> str:
    """Return the time between in the one unit that suits: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    seconds = max(0, round(now - then))
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // divisor} {unit}"
    return f"{seconds // 86400} d"


def size(number: float | None) -> str:
    """Return a size in bytes as people write it."""
    return "—" if number is None else format_size(int(number))


def counted(number: int, what: str) -> str:
    """Return how many of something there are: ``no clones``, ``1 clone``, ``2 clones``."""
    plural = what[:-1] + "ies" if what.endswith("y") else what + "s"
    return f"{number:,} {what if number == 1 else plural}" if number else f"no {plural}"


def percent(part: float | None) -> str:
    """Return a part of the whole in percent."""
    if part is None:
        return "—"
    return f"{100 * part:.0f} %" if part in (0, 1) or 0.01 <= part <= 0.99 else f"{100 * part:.1f} %"


def duration(seconds: float | None) -> str:
    """Return a duration: ``4 ms``, ``1.2 s``, ``75 s``."""
    if seconds is None:
        return "—"
    if 0 < seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"
