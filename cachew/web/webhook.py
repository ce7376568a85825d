"""Events of forges: a checked event about a repository makes its mirror fetch at once.

An endpoint whose secret is not configured does not exist. A body is read first, within a time, onto disk when it is
large; nobody waits for anybody else's. Then it is checked, and only then is there work, a few at a time.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from klein import Klein
from twisted.logger import Logger

from cachew.http.incoming import Body
from cachew.http.requests import StreamingRequest, allow_methods
from cachew.mirrors.identity import CASE_MATTERS, Grammar, Identity
from cachew.plumbing.errors import BadPath, BadRequest, NotFound
from cachew.plumbing.jobs import Slots
from cachew.web.forgeevents import ForgeEvent, ForgeHosts, address_of, form_payload, read_event
from cachew.web.forms import header
from cachew.web.pushnotices import PushNotices
from cachew.web.webhookproofs import FORGES, event_name, is_form, is_test, require_head, signature_of

LARGEST_BODY = 25 * 1024 * 1024
"""GitHub caps its payloads at 25 MB."""

_BODY_SECONDS = 30.0
_SHORT = 256 * 1024
"""Bytes of an event above which checking and reading it holds others up."""
_AT_A_TIME = 2
_REMEMBERED = 1000


class WebhookRoutes:
    """The routes ``POST /webhook/github``, ``/webhook/gitlab``, ``/webhook/gitea`` and so on.

    :param pushes: what is told of pushes.
    :param secrets: each forge's secret, None to leave its route closed.
    :param places: by which addresses hosts are known.
    :param grammar: how repositories are named.
    :param in_thread: for work on long events.
    """

    log = Logger()

    def __init__(
        self,
        *,
        pushes: PushNotices,
        secrets: Mapping[str, str | None],
        places: ForgeHosts,
        grammar: Grammar = CASE_MATTERS,
        in_thread: Callable[..., Awaitable[Any]],
    ) -> None:
        self._pushes = pushes
        self._grammar = grammar
        self._in_thread = in_thread
        self.replace(secrets=secrets, places=places)
        self._slots = Slots(limit=_AT_A_TIME, queue_limit=100)
        self._unknown: dict[str, None] = {}

    def replace(self, *, secrets: Mapping[str, str | None], places: ForgeHosts) -> None:
        """Go by these secrets and addresses from the next event on."""
        self._secrets = {forge: secret.encode() for forge, secret in secrets.items() if secret}
        self._places = places

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/webhook/<forge>")(self.event)

    async def event(self, request: StreamingRequest, forge: str) -> bytes:
        """Check an event; if it is about a mirror, have that fetch."""
        allow_methods(request, "POST")
        secret = self._secrets.get(forge)
        if secret is None or forge not in FORGES:
            raise NotFound("no such webhook; set its secret in [webhook]")
        if is_test(request, forge):
            return b"ignored\n"
        require_head(request, forge, secret)
        body = await request.collect(LARGEST_BODY, seconds=_BODY_SECONDS)
        try:
            event = await self._checked(request, forge, body, secret)
        finally:
            body.close()
        if event is None:
            return b"ignored\n"
        told = await self._tell(event)
        if not told:
            self._note_unknown(forge, event)
            return b"this repository is not mirrored here\n"
        for identity in told:
            self.log.info("{forge} says that {repository} has changed", forge=forge, repository=identity.name)
        request.setResponseCode(202)
        return b"fetching\n"

    # --- checking and reading -----------------------------------------------------------------------------------------

    async def _checked(self, request: StreamingRequest, forge: str, body: Body, secret: bytes) -> ForgeEvent | None:
        signature = signature_of(request, forge, secret)
        if signature is not None:
            await self._work(body, signature.require, body)
        name, as_form = event_name(request, forge), is_form(request)
        instance = header(request, "X-Gitlab-Instance") if forge == "gitlab" else ""

        def read() -> ForgeEvent | None:
            text = b"".join(body.pieces())
            # A proxy may have taken the form's content type away.
            payload = form_payload(text) if as_form or text.startswith(b"payload=") else text
            return read_event(payload, name=name, instance=instance)

        event: ForgeEvent | None = await self._work(body, read)
        return event

    async def _work(self, body: Body, function: Callable[..., Any], *args: Any) -> Any:
        """Do something with a body: at once when it is short, else in a thread, in its turn."""
        if body.size <= _SHORT:
            return function(*args)
        async with self._slots.take(""):
            return await self._in_thread(function, *args)

    # --- telling ------------------------------------------------------------------------------------------------------

    async def _tell(self, event: ForgeEvent) -> list[Identity]:
        identities = self._identities(event)
        if not identities and not event.paths:
            raise BadRequest("the event names no repository that there can be")
        told = [identity for identity in identities if await self._pushes.pushed(identity, event.before)]
        if told:
            return told
        # A host under an address that nobody has told this server may be any, and its paths are all there is to go by.
        strange = not any(map(self._places.knows, event.urls))
        others = await self._pushes.mirrored_as(event.urls, event.paths if strange else ())
        return [identity for identity in others if await self._pushes.pushed(identity, event.before)]

    def _identities(self, event: ForgeEvent) -> list[Identity]:
        found: dict[Identity, None] = {}
        for url in event.urls:
            for name in self._places.names(url) or [address_of(url)]:
                with suppress(BadPath):
                    found[self._grammar.from_name(name)] = None
        return list(found)

    def _note_unknown(self, forge: str, event: ForgeEvent) -> None:
        """Say once of each repository that no mirror is of it."""
        name = next(filter(None, (*map(address_of, event.urls), *event.paths)), "what can't be named")[:200]
        if name not in self._unknown:
            if len(self._unknown) >= _REMEMBERED:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[name] = None
            self.log.info(
                "{forge} tells of {repository}, which is not mirrored here; if it is, its host needs an alias",
                forge=forge,
                repository=name,
            )
