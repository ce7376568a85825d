"""Answers of mirrors to fetches, which upload-pack makes."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cachew.http.incoming import Body
from cachew.mirrors.instance import Instance
from cachew.mirrors.kinds import MANY_REFS
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.refs import RefState
from cachew.plumbing.child import Child
from cachew.plumbing.errors import CachewError
from cachew.plumbing.streams import Source, owned
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.clientcommands import Fetch
from cachew.smarthttp.keptpacks import MirrorKeys

Asked = Callable[[Mirror, Fetch, Body, str | None], object]
"""Is told of a fetch that a client sends: the mirror, the command, its body and ``Git-Protocol`` header."""

_REPLACED = "the mirror has been replaced"
_MOST_WANTS = 200_000
"""Object ids that are remembered of what packs were made for, of all repositories."""
_WANTS_OF_FEW_REFS, _WANTS_OF_MANY_REFS = 2000, 20
"""Those of one pack above which it isn't remembered; of very many refs each pack would be compared with all."""


class MirrorRefused(CachewError):
    """The mirror's upload-pack does not serve a request, for the request's sake or its own; nothing has been sent."""


async def _doubt_if_it_fails(mirror: Mirror, child: Child) -> None:
    """Have a mirror looked at whose upload-pack fails in the middle of an answer, whoever still wants that."""
    await child.wait()
    if child.failed:
        mirror.verification.doubt(serving=False)


def _leads_to_what_is_there(mirror: Mirror, command: Fetch) -> bool:
    """Whether few commits are asked for, and they follow on what the client has: upload-pack needn't look far for that.

    So asks whoever keeps a shallow clone and is told of each push.
    """
    return bool(command.had) and command.is_of_few and mirror.objects.follow_soon(command.wants, command.had)


@dataclass
class _OfTips:
    """A kept pack.

    :param wants: what it was made for.
    :param listed: whether these have been tips of refs.
    """

    instance: Instance
    wants: Sequence[str]
    listed: bool = False


class PacksOfTips:
    """Which packs were made for tips, so that those of former ones can go: nobody clones these again."""

    def __init__(self) -> None:
        self._packs: OrderedDict[str, _OfTips] = OrderedDict()
        self._by_name: dict[str, set[str]] = {}
        self._wants = 0

    def note(self, mirror: Mirror, command: Fetch, key: str) -> None:
        """Take note of a pack that is made for a fetch.

        :param key: the pack's.
        """
        if key in self._packs or not command.may_have_shape:
            return
        few = len(mirror.refs.by_name) <= MANY_REFS
        if len(command.wants) > (_WANTS_OF_FEW_REFS if few else _WANTS_OF_MANY_REFS):
            return
        listed = not mirror.refs.state.lacking(command.wants)
        self._packs[key] = _OfTips(mirror.life.instance, command.wants, listed)
        self._by_name.setdefault(mirror.identity.name, set()).add(key)
        self._wants += len(command.wants)
        while self._wants > _MOST_WANTS and len(self._packs) > 1:
            self._remove(next(iter(self._packs)))

    def outdated(self, name: str, state: RefState) -> list[str]:
        """Return the keys of the packs of a repository that were made for tips of refs that have moved."""
        gone = []
        for key in self._by_name.get(name, ()):
            lacking = bool(state.lacking(self._packs[key].wants))
            if lacking and self._packs[key].listed:
                gone.append(key)
            self._packs[key].listed |= not lacking
        for key in gone:
            self._remove(key)
        return gone

    def forget(self, instance: Instance) -> list[str]:
        """Forget the packs of an instance that has ended, and return their keys."""
        of_name = self._by_name.get(instance.identity.name, ())
        gone = [key for key in of_name if self._packs[key].instance == instance]
        for key in gone:
            self._remove(key)
        return gone

    def _remove(self, key: str) -> None:
        pack = self._packs.pop(key)
        self._wants -= len(pack.wants)
        name = pack.instance.identity.name
        self._by_name[name].discard(key)
        if not self._by_name[name]:
            del self._by_name[name]


class MirrorPacks:
    """Answers fetches out of mirrors.

    :param backend: runs upload-pack.
    :param asked: told of each fetch that a client sends: the mirror, the command, its body and ``Git-Protocol`` header.
    :param of_tips: remembers which packs were made for tips.
    :ivar key: returns the key of the answer to a command.
    """

    log = Logger()

    def __init__(
        self,
        *,
        backend: Backend,
        asked: Asked = lambda mirror, command, body, protocol: None,
        of_tips: PacksOfTips | None = None,
    ) -> None:
        self._backend = backend
        self.asked = asked
        self.of_tips = PacksOfTips() if of_tips is None else of_tips
        self.key = MirrorKeys().of

    async def produce(self, mirror: Mirror, command: Fetch, body: Body, protocol: str | None) -> Source:
        """Return the answer as upload-pack makes it.

        :param body: the request, of which the command was read.
        :param protocol: the ``Git-Protocol`` header.
        :raise MirrorRefused: when upload-pack says no.
        :raise ProcessFailed: when it fails.
        """
        self.of_tips.note(mirror, command, self.key(mirror, command))
        of_which = mirror.life.instance, mirror.life.generation
        response = await self._backend.upload_pack(
            repository=mirror.identity.name,
            directory=mirror.directory,
            body=body.source(),
            length=body.size,
            protocol=protocol,
            long=not command.is_cheap and not _leads_to_what_is_there(mirror, command),
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
