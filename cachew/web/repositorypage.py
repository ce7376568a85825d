"""One repository's page: what is known of it, what happened to it lately, and what can be done; no script is needed."""

from collections.abc import Callable, Sequence
from typing import Any

from klein import Klein
from twisted.logger import Logger

from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import CASE_MATTERS, Grammar
from cachew.plumbing.errors import BadRequest
from cachew.plumbing.happenings import Happening
from cachew.web.access.login import AdminAccess
from cachew.web.access.sessions import Session
from cachew.web.actions import RepositoryActions
from cachew.web.app import allow_methods
from cachew.web.forms import form_fields, query_field
from cachew.web.pages import Pages
from cachew.web.repositoryclients import ClientUse
from cachew.web.repositorylist import BUSY_STATES
from cachew.web.status import Operations


class RepositoryPage:
    """The page below ``/admin/repository``.

    :param access: who may see it.
    :param operations: the server.
    :param events: returns what happened to a repository lately, the last first.
    :param clients: returns who asked for one lately, the last first.
    :param pages: renders it.
    :param grammar: how repositories are named.
    """

    log = Logger()

    def __init__(
        self,
        *,
        access: AdminAccess,
        operations: Operations,
        events: Callable[[str], Sequence[Happening]],
        clients: Callable[[str], Sequence[ClientUse]],
        pages: Pages,
        grammar: Grammar = CASE_MATTERS,
    ) -> None:
        self._access = access
        self._operations = operations
        self._events = events
        self._clients = clients
        self._pages = pages
        self._grammar = grammar
        self._actions = RepositoryActions(operations=operations, grammar=grammar)

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
        identity = self._grammar.from_decoded(name)
        status: Any = await self._operations.repository(identity)
        return self._pages.render(
            request,
            "repository.html",
            session,
            one=status,
            now=self._operations.now(),
            kept=await self._operations.artefacts(identity),
            events=self._events(identity.name),
            clients=self._clients(identity.name),
            work=[work for work in self._operations.work() if work.repository == identity.name],
            busy_states=BUSY_STATES,
            notice=notice,
        )
