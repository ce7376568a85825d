"""Everything under ``/git/``: parses the path once, guards it, and hands the request to whoever answers it.

A path that breaks a rule, a host that is not served and a method that does not fit are refused before a mirror, a
directory, a metrics label or a process exists for them.
"""

from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass
from typing import Protocol

from cachew.http.bodies import send
from cachew.http.requests import StreamingRequest, allow_methods, is_bound, text_of
from cachew.mirrors.identity import CASE_MATTERS, Grammar, Identity
from cachew.plumbing.errors import Forbidden, UpstreamError
from cachew.plumbing.logs import in_one_word
from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.streams import BytesSource
from cachew.smarthttp.request import protocol_version
from cachew.upstream.remotes import Remotes
from cachew.web.access.guard import Right
from cachew.web.bundleroutes import BundleRoutes
from cachew.web.dumbfiles import DumbFiles
from cachew.web.ensure import EnsureRefs
from cachew.web.lfs import LfsRoutes
from cachew.web.passthrough import Pushes
from cachew.web.reflistings import RefListings
from cachew.web.snapshots import SnapshotRoutes
from cachew.web.uploadpack import UploadPack

_METHODS: dict[str, tuple[str, ...]] = {
    "info/refs": ("GET",),
    "git-upload-pack": ("POST",),
    "git-receive-pack": ("POST",),
    "git-upload-archive": ("POST",),
    "ensure-refs": ("POST",),
    "lfs": ("GET", "POST", "PUT", "DELETE"),
}
_TOLD = (b"service", b"base", b"ref", b"filter")
_OF_BUNDLES = frozenset({"snapshot.bundle", "bundle-list"})
_ARCHIVES = frozenset({"snapshot.tar.zst", "lfs-snapshot.tar.zst"})
_ARCHIVE_WAIT = 0.05
"""Seconds for which an archive that may be cached waits for the first look at a mirror."""
_LOOK_WAIT = 5.0
"""Seconds for which anything else does; where the disk holds a look up for longer, the upstream answers."""
_READ = ("GET",)
_NO_ARCHIVES = "this server makes no archives; clone with --depth=1 and run git archive there"


class Guard(Protocol):
    """Says who may read a repository."""

    async def admit(self, request: StreamingRequest, identity: Identity) -> Right:
        """Let a request through and say what it may read.

        :raise UpstreamRefused: when the upstream does not let this client in.
        """


async def _seen(identity: Identity, patience: float | None) -> None:
    """Look at nothing."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """What can be asked of a repository.

    :param listings: its refs.
    :param upload_pack: clones and fetches.
    :param pushes: pushes.
    :param lfs: what lies below ``info/lfs/``.
    :param snapshots: snapshots.
    :param bundles: bundles and lists of them.
    :param ensure_refs: ``ensure-refs``.
    :param dumb_files: files, where the upstream has nothing else.
    :param unseen: repositories whose mirrors were not looked at since the start.
    :param look: has one of those looked at, and is waited for so many seconds; None for as long as it takes.
    """

    listings: RefListings
    upload_pack: UploadPack
    pushes: Pushes
    lfs: LfsRoutes
    snapshots: SnapshotRoutes
    bundles: BundleRoutes
    ensure_refs: EnsureRefs
    dumb_files: DumbFiles
    unseen: Container[Identity] = frozenset()
    look: Callable[[Identity, float | None], Awaitable[None]] = _seen


def query_in_words(arguments: Mapping[bytes, list[bytes]], protocol: str | None) -> str:
    """Return what a request's query asks for, for the log.

    :param arguments: the query's fields.
    :param protocol: the ``Git-Protocol`` header, which counts for ref listings.
    """
    words = [f"{key.decode()}={in_one_word(arguments[key][0])}" for key in _TOLD if arguments.get(key)]
    return " ".join([*words, f"v{protocol_version(protocol)}"] if b"service" in arguments else words)


def _kind_of(operation: str) -> str:
    """Return what answers an operation: ``lfs``, ``file`` for the files of a dumb upstream, or its own name."""
    if operation.startswith("info/lfs/"):
        return "lfs"
    return "file" if operation == "HEAD" or operation.startswith("objects/") else operation


class GitRoutes:
    """The routes of repositories.

    :param remotes: which hosts are served.
    :param guard: who may read.
    :param services: who answers.
    :param used: called with every repository that is asked for, and who does.
    :param client_of: tells a request's client.
    :param grammar: how repositories are named.
    :param is_ours: says of an ``Authorization`` that it is meant for this server and no upstream may see it.
    """

    def __init__(
        self,
        *,
        remotes: Remotes,
        guard: Guard,
        services: Services,
        used: Callable[[Identity, str], object] = lambda identity, client: None,
        client_of: Callable[[StreamingRequest], str] = lambda request: request.remote_address,
        is_ours: Callable[[str], bool] = lambda authorization: False,
        grammar: Grammar = CASE_MATTERS,
    ) -> None:
        self._grammar = grammar
        self._remotes = remotes
        self._guard = guard
        self._services = services
        self._used = used
        self._client_of = client_of
        self._is_ours = is_ours

    async def handle(self, request: StreamingRequest) -> None:
        """Answer a request below ``/git/``.

        :raise CachewError: whatever kept it from being answered.
        """
        path = self._grammar.parse_path(request.raw_path)
        identity, operation = path.identity, path.operation
        self._remotes.of(identity)
        kind = _kind_of(operation)
        request.outcome.route = f"git {kind}"
        request.outcome.shape = query_in_words(request.args, request.getHeader("git-protocol"))
        allow_methods(request, *_METHODS.get(kind, _READ))
        self._withhold(request)
        if identity in self._services.unseen:
            await self._services.look(identity, _ARCHIVE_WAIT if kind in _ARCHIVES else _LOOK_WAIT)
        if kind == "file":
            await self._file(request, identity, operation)
            return
        self._used(identity, self._client_of(request))
        if kind == "info/refs":
            await self._info_refs(request, identity)
        elif kind == "git-upload-archive":
            # After its listing git asks here at once, and shows what comes before the archive (gitprotocol-pack(5)).
            answer = encode_all([f"NACK {_NO_ARCHIVES}\n".encode(), FLUSH])
            request.setHeader(b"Content-Type", b"application/x-git-upload-archive-result")
            await send(request, BytesSource(answer), length=len(answer))
        elif kind == "git-receive-pack":
            await self._services.pushes.handle(request, identity)
        elif kind == "lfs":
            await self._services.lfs.handle(request, identity, operation)
        elif kind == "git-upload-pack":
            await self._objects(request, identity)
        else:
            await self._guarded(request, identity, operation)

    async def _file(self, request: StreamingRequest, identity: Identity, operation: str) -> None:
        # What an upstream speaks is told to nobody who may not read the repository.
        right = await self._guard.admit(request, identity)
        self._services.dumb_files.require(identity)
        self._used(identity, self._client_of(request))
        await self._services.dumb_files.handle(request, right, operation)

    async def _objects(self, request: StreamingRequest, identity: Identity) -> None:
        try:
            await self._guarded(request, identity, "git-upload-pack")
        except UpstreamError as error:
            if not error.said or request.startedWriting:
                raise
            # Of an answer to POST with another status git shows nothing but that.
            answer = encode_all([b"ERR " + error.said.encode("utf-8", "replace")])
            request.setHeader(b"Content-Type", b"application/x-git-upload-pack-result")
            request.answer(answer)

    def _withhold(self, request: StreamingRequest) -> None:
        """Take out of a request what isn't for upstreams.

        Those are the server's own tokens, of which clients often show one to everything below one address, and what
        proves something of one connection.
        """
        shown = request.requestHeaders.getRawHeaders(b"authorization") or []
        if any(is_bound(value) or self._is_ours(text_of("Authorization", [value])) for value in shown):
            request.requestHeaders.removeHeader(b"authorization")

    async def _info_refs(self, request: StreamingRequest, identity: Identity) -> None:
        services = request.args.get(b"service", [])
        if services == [b"git-receive-pack"]:
            await self._services.pushes.info_refs(request, identity)
        elif services == [b"git-upload-archive"]:
            raise Forbidden(_NO_ARCHIVES)
        elif services == [b"git-upload-pack"]:
            await self._services.listings.info_refs(request, await self._guard.admit(request, identity))
        else:
            raise Forbidden(
                "this server speaks git's smart HTTP only, with the services git-upload-pack and git-receive-pack; "
                "where GIT_SMART_HTTP is 0, unset it"
            )

    async def _guarded(self, request: StreamingRequest, identity: Identity, operation: str) -> None:
        right = await self._guard.admit(request, identity)
        if operation == "git-upload-pack":
            await self._services.upload_pack.handle(request, right)
        elif operation == "ensure-refs":
            await self._services.ensure_refs.handle(request, right)
        elif operation in _OF_BUNDLES:
            await self._services.bundles.handle(request, right, operation)
        else:
            await self._services.snapshots.handle(request, right, operation)
