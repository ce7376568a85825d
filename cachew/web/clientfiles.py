"""Hands out the client: ``GET /client/cachew.pyz``, and ``GET /client/install.sh``, which installs it for a user.

Both hold no repository's data and are open to everybody, like the health probes. The script knows the archive's digest,
so that what is installed is what this server has made.
"""

import hashlib
import importlib.resources
from collections.abc import Callable
from typing import Any

from klein import Klein

from cachew.http.conditional import evaluate
from cachew.http.requests import StreamingRequest, allow_methods
from cachew.plumbing.shared import Shared
from cachew.plumbing.streams import BytesSource
from cachew.plumbing.threads import InThread
from cachew.web.access.policy import origin_of
from cachew.web.storedanswers import answer_as_decided

_ARCHIVE_TYPE = "application/zip"
_SCRIPT_TYPE = "text/x-shellscript; charset=utf-8"


class ClientRoutes:
    """The routes.

    :param make: makes the archive.
    :param threads: where it is made, once.
    :param is_https: whether a request came over HTTPS.
    """

    def __init__(self, *, make: Callable[[], bytes], threads: InThread, is_https: Callable[[Any], bool]) -> None:
        self._make = make
        self._threads = threads
        self._is_https = is_https
        self._made: bytes | None = None
        self._making: Shared[str, bytes] = Shared()

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/client/cachew.pyz")(self.archive)
        app.route("/client/install.sh")(self.script)

    async def archive(self, request: StreamingRequest) -> None:
        """Send the client."""
        allow_methods(request, "GET")
        await self._answer(request, await self._archive(), _ARCHIVE_TYPE)

    async def script(self, request: StreamingRequest) -> None:
        """Send the script that installs it, for the address by which the client knows this server."""
        allow_methods(request, "GET")
        text = importlib.resources.files("cachew.web").joinpath("install.sh").read_text("utf-8")
        digest = hashlib.sha256(await self._archive()).hexdigest()
        # The address has the characters of a host and a port and no others.
        text = text.replace("@SERVER@", origin_of(request, self._is_https)).replace("@DIGEST@", digest)
        await self._answer(request, text.encode(), _SCRIPT_TYPE)

    async def _archive(self) -> bytes:
        if self._made is None:
            self._made = await self._making.run(_ARCHIVE_TYPE, lambda: self._threads(self._make))
        return self._made

    async def _answer(self, request: StreamingRequest, body: bytes, content_type: str) -> None:
        request.outcome.source = "memory"
        method, etag = request.method.decode("latin-1"), hashlib.sha256(body).hexdigest()
        decision = evaluate(method, request.fields, etag=etag, modified=None, size=len(body))
        part = BytesSource(body[decision.start : decision.end])
        await answer_as_decided(request, decision, part, {"Content-Type": content_type})
