"""Answers of mirrors to fetches, which upload-pack makes."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cachew.http.incoming import Body
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.child import Child
from cachew.plumbing.errors import CachewError
from cachew.plumbing.streams import Source, owned
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.clientcommands import Fetch
from cachew.smarthttp.keptpacks import MirrorKeys

Asked = Callable[[Mirror, Fetch, Body, str | None], object]
"""Is told of a fetch that a client sends: the mirror, the command, its body and ``Git-Protocol`` header."""

_REPLACED = "the mirror has been replaced"


class MirrorRefused(CachewError):
    """The mirror's upload-pack does not serve a request, for the request's sake or its own; nothing has been sent."""


async def _doubt_if_it_fails(mirror: Mirror, child: Child) -> None:
    """Have a mirror looked at whose upload-pack fails in the middle of an answer, whoever still wants that."""
    await child.wait()
    if child.failed:
        mirror.verification.doubt(serving=False)


class MirrorPacks:
    """Answers fetches out of mirrors.

    :param backend: runs upload-pack.
    :param asked: told of each fetch that a client sends: the mirror, the command, its body and ``Git-Protocol`` header.
    :ivar key: returns the key of the answer to a command.
    """

    log = Logger()

    def __init__(
        self,
        *,
        backend: Backend,
        asked: Asked = lambda mirror, command, body, protocol: None,
    ) -> None:
        self._backend = backend
        self.asked = asked
        self.key = MirrorKeys().of

    async def produce(self, mirror: Mirror, command: Fetch, body: Body, protocol: str | None) -> Source:
        """Return the answer as upload-pack makes it.

        :param body: the request, of which the command was read.
        :param protocol: the ``Git-Protocol`` header.
        :raise MirrorRefused: when upload-pack says no.
        :raise ProcessFailed: when it fails.
        """
        of_which = mirror.life.instance, mirror.life.generation
        response = await self._backend.upload_pack(
            repository=mirror.identity.name,
            directory=mirror.directory,
            body=body.source(),
            length=body.size,
            protocol=protocol,
            long=not command.is_cheap,
            # The deltas of its packs have been looked for already: in a tree of files once more hardly finds any.
            search=not command.is_cheap,
        )
        with owned(response.source):
            refusal = await response.refusal()
            if refusal is None and (mirror.life.instance, mirror.life.generation) != of_which:
                # Upload-pack may have opened what was put into the directory meanwhile.
                refusal = _REPLACED
            if refusal is not None:
                raise MirrorRefused(refusal)
        watch = Deferred.fromCoroutine(_doubt_if_it_fails(mirror, response.child))
        watch.addErrback(lambda failure: self.log.failure("watching upload-pack failed", failure))
        return response.source
