"""Whether a request is let in at all, before any route sees it: the operator's rules, then an external decision.

The object API is the administrator's; the admin pages look after themselves.
"""

from cachew.http.requests import StreamingRequest
from cachew.web.access.login import AdminAccess
from cachew.web.access.opa import ExternalDecision
from cachew.web.access.policy import Policy
from cachew.web.app import route_path


class Admission:
    """Applies what the operator has laid down for all routes.

    :param policy: the rules.
    :param access: who may administer.
    :param external: an external decision, None where there is none.
    """

    def __init__(self, *, policy: Policy, access: AdminAccess, external: ExternalDecision | None = None) -> None:
        self._policy = policy
        self._access = access
        self._external = external

    def admit(self, request: StreamingRequest) -> None:
        """Apply the rules.

        :raise Forbidden: when they don't let it in.
        :raise Unauthorized: when they would, with a token.
        """
        self._policy.admit(request)
        path = route_path(request)
        if path == "/api" or path.startswith("/api/"):
            self._access.require(request)

    async def decide(self, request: StreamingRequest) -> None:
        """Ask for the external decision, if there is one to ask for.

        :raise Forbidden: when it is against it.
        """
        if self._external is not None:
            await self._external.require(self._policy.asked(request), _peer_of(request))


def _peer_of(request: StreamingRequest) -> str:
    address = request.getClientAddress()
    return f"{request.remote_address}:{getattr(address, 'port', 0)}"
