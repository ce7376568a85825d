"""The files of repositories whose upstream speaks git's dumb protocol, for clients that were told so.

Until such a repository is mirrored its clients are shown the upstream's own ``info/refs``, and go on as they would
there: they ask for ``HEAD`` and for objects. Afterwards they are spoken to as everybody is. See gitprotocol-http(5),
"Dumb Clients".
"""

from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MIRRORED_KIND
from cachew.plumbing.errors import NotFound, UnknownPath
from cachew.upstream.dumblisting import head_of
from cachew.upstream.remotes import Remotes
from cachew.web.access.guard import Right
from cachew.web.passthrough import PassThrough, question_of
from cachew.web.reflistings import RefListings, mark_stale

_HEAD = "HEAD"


class DumbFiles:
    """Answers requests for files.

    :param remotes: knows what upstreams speak.
    :param listings: know where HEAD is.
    :param passthrough: the way to them.
    """

    def __init__(self, *, remotes: Remotes, listings: RefListings, passthrough: PassThrough) -> None:
        self._remotes = remotes
        self._listings = listings
        self._passthrough = passthrough

    def require(self, identity: Identity) -> None:
        """See that somebody was just told so; nobody is asked.

        :raise UnknownPath: when the upstream is not known to speak the dumb protocol.
        """
        capabilities = self._remotes.of(identity).capabilities
        if capabilities is None or not capabilities.dumb:
            raise UnknownPath("no such operation on a repository")

    async def handle(self, request: StreamingRequest, right: Right, operation: str) -> None:
        """Answer a request.

        :raise UpstreamError: when the upstream does not answer.
        """
        if operation != _HEAD:
            await self._passthrough.share(request, question_of(request, right, operation, body=None, also=("range",)))
            return
        answer, _ = await self._listings.listed(right, MIRRORED_KIND)
        head = head_of(answer.listing)
        if not head:
            raise NotFound("the upstream doesn't say where HEAD is")
        mark_stale(request, answer)
        request.setHeader(b"Content-Type", b"text/plain")
        request.answer(head)
