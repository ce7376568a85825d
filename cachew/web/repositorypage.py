"""One repository's page: what is known of it, what happened to it lately, and what can be done; no script is needed."""

from collections.abc import Callable, Sequence
from typing import Any

from klein import Klein
from twisted.logger import Logger

from cachew.http.requests import StreamingRequest, allow_methods
from cachew.mirrors.identity import CASE_MATTERS, Grammar, Identity
from cachew.mirrors.usage import ClientUse
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import BadRequest
from cachew.plumbing.happenings import Happening
from cachew.web.access.login import AdminAccess
from cachew.web.access.sessions import Session
from cachew.web.actions import RepositoryActions
from cachew.web.currentwork import CurrentWork
from cachew.web.forms import form_fields, query_field
from cachew.web.pages import Pages
from cachew.web.repositorylist import BUSY_STATES
from cachew.web.statuses import Statuses


class RepositoryFacts:
    """What is known of one repository.

    :param statuses: how it is.
    :param current: what is done at the moment.
    :param events: returns what happened to a repository lately, the last first.
    :param clients: returns who asked for one lately, the last first.
    :param clock: what time it is.
    """

    def __init__(
        self,
        *,
        statuses: Statuses,
        current: CurrentWork,
        events: Callable[[str], Sequence[Happening]],
        clients: Callable[[str], Sequence[ClientUse]],
        clock: Clock,
    ) -> None:
        self._statuses = statuses
        self._current = current
        self._events = events
        self._clients = clients
        self._clock = clock

    async def of(self, identity: Identity) -> dict[str, Any]:
        """Return it, by the names that the page has for it."""
        return {
            "one": await self._statuses.one(identity),
            "now": self._clock.now(),
            "kept": await self._statuses.artefacts(identity),
            "events": self._events(identity.name),
            "clients": self._clients(identity.name),
            "work": [work for work in self._current.pieces() if work.repository == identity.name],
        }


class RepositoryPage:
    """The page below ``/admin/repository``.

    :param access: who may see it.
    :param facts: what it shows.
    :param actions: what can be done.
    :param pages: renders it.
    :param grammar: how repositories are named.
    """

    log = Logger()

    def __init__(
        self,
        *,
        access: AdminAccess,
        facts: RepositoryFacts,
        actions: RepositoryActions,
        pages: Pages,
        grammar: Grammar = CASE_MATTERS,
    ) -> None:
        self._access = access
        self._facts = facts
        self._actions = actions
        self._pages = pages
        self._grammar = grammar

    def mount(self, app: Klein) -> None:
        """Register the route."""
        app.route("/admin/repository")(self.page)

    async def page(self, request: StreamingRequest) -> bytes:
        """Show a repository; a form that is posted begins an action, and shows it again."""
        allow_methods(request, "GET", "POST")
        if request.method == b"POST":
            return await self._act(request)
        return await self._access.or_login(
            request, lambda request, session: self._shown(request, session, query_field(request, "name"), "")
        )

    async def _act(self, request: StreamingRequest) -> bytes:
        fields = await form_fields(request, "name", "action", "csrf", "sure", "fetch")
        session = self._access.require(request, csrf=fields["csrf"])
        # A button in a list of many says whose it is by itself.
        name, action = (fields["fetch"], "fetch") if fields["fetch"] else (fields["name"], fields["action"])
        identity = await self._actions.begin(name, action, sure=bool(fields["sure"]))
        return await self._shown(request, session, name, f"{action} of {identity.name} has begun")

    async def _shown(self, request: StreamingRequest, session: Session | None, name: str, notice: str) -> bytes:
        if not name:
            raise BadRequest("name which repository: ?name=host/path")
        facts = await self._facts.of(self._grammar.from_decoded(name))
        return await self._pages.render(
            request, "repository.html", session, busy_states=BUSY_STATES, notice=notice, **facts
        )
