"""What there is to see and do about repositories, as JSON."""

import json
from dataclasses import asdict

from klein import Klein

from cachew.http.requests import StreamingRequest, allow_methods
from cachew.mirrors.identity import CASE_MATTERS, Grammar
from cachew.web.access.login import AdminAccess
from cachew.web.actions import RepositoryActions
from cachew.web.admin import encoded_body, json_body
from cachew.web.forms import query_field
from cachew.web.repositorytable import RepositoryTable
from cachew.web.statuses import RepositoryStatus, Statuses


class RepositoriesApi:
    """The routes below ``/admin/repositories``.

    :param access: who may use them.
    :param statuses: what is known of a repository.
    :param table: all repositories.
    :param actions: what can be done with one.
    :param grammar: how they are named.
    """

    def __init__(
        self,
        *,
        access: AdminAccess,
        statuses: Statuses,
        table: RepositoryTable,
        actions: RepositoryActions,
        grammar: Grammar = CASE_MATTERS,
    ) -> None:
        self._access = access
        self._statuses = statuses
        self._table = table
        self._actions = actions
        self._grammar = grammar

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/admin/repositories")(self.repositories)
        app.route("/admin/repositories/<path:rest>")(self.act)

    async def repositories(self, request: StreamingRequest) -> bytes:
        """Show every repository, or the one that is named."""
        allow_methods(request, "GET")
        self._access.require(request)
        if name := query_field(request, "name"):
            return json_body(request, asdict(await self._statuses.one(self._grammar.from_decoded(name))))
        # Of tens of thousands the whole would be a turn of more than a second.
        found = await self._table.each(_encoded)
        return encoded_body(request, b'{"repositories": [' + b", ".join(found) + b"]}")

    async def act(self, request: StreamingRequest, rest: str) -> bytes:
        """Begin a fetch, snapshot, repack or scrub of a repository, or forget it."""
        allow_methods(request, "POST")
        self._access.require(request)
        path, _, action = rest.rpartition("/")
        identity = await self._actions.begin(path, action)
        request.setResponseCode(202)
        return json_body(request, {"repository": identity.name, "action": action})


def _encoded(repository: RepositoryStatus) -> bytes:
    return json.dumps(vars(repository)).encode()
