"""Who asks for what: the routes of repositories, the credentials that clients show, and what must not reach them."""

import json
from dataclasses import dataclass, field
from typing import Any

from cachew.snapshots.variants import Variant
from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.gate import basic
from tests.functional.rawhttp import ask
from tests.functional.server import HOST, Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import Response

TOKEN = marked("of-the-server")
"""The server's own token at the upstream."""
SERVER = basic("x-access-token", TOKEN)
ALICE, BOB, CAROL, NOBODY = basic("alice", "a"), basic("bob", "b"), basic("carol", "c"), basic("nobody", "x")
CREDENTIALS = f'[[credentials]]\nkind = "token"\nurl-prefix = "%s"\ntoken = "{TOKEN}"\n'
"""Config that gives the server its token, to be filled in with the upstream's URL."""

_V2 = "Git-Protocol: version=2"
_FETCH = "Content-Type: application/x-git-upload-pack-request"
_CLONE = (
    b"0014command=ls-refs\n00010009peel\n000csymrefs\n0014ref-prefix HEAD\n001bref-prefix refs/heads/\n"
    b"001aref-prefix refs/tags/\n0000"
)
_GIT_LFS = "User-Agent: git-lfs/3.3"
_LFS = (_GIT_LFS, "Content-Type: application/vnd.git-lfs+json", "Accept: application/vnd.git-lfs+json")


@dataclass(frozen=True)
class Route:
    """A request for something of a repository.

    :param reads: whether it is for its contents, which the guard looks after; the upstream itself judges the others.
    """

    name: str
    method: str
    operation: str
    headers: tuple[str, ...] = ()
    body: bytes = b""
    reads: bool = True


@dataclass
class Contents:
    """A repository at the upstream with a secret in everything that it holds.

    :param name: its name.
    :param secret: what is in its branch's name, its files and its LFS object.
    """

    name: str
    secret: str
    first: str = ""
    head: str = ""
    oid: str = ""
    bundles: list[str] = field(default_factory=list)

    @property
    def marks(self) -> list[bytes]:
        """What gives the repository away wherever it is seen."""
        return [text.encode() for text in (self.secret, self.head, self.oid, *self.bundles)]

    def routes(self) -> list[Route]:
        """Return a request for each route there is."""
        want = f"want {self.head}\n".encode()
        fetch = b"0012command=fetch\n0001" + packet(want) + packet(b"done\n") + b"0000"
        old_fetch = packet(b"want " + self.head.encode() + b" ofs-delta\n") + b"0000" + packet(b"done\n")
        batch = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": self.oid, "size": 100}]}
        return [
            Route("refs v0", "GET", "info/refs?service=git-upload-pack"),
            Route("refs v2", "GET", "info/refs?service=git-upload-pack", (_V2,)),
            Route("ls-refs", "POST", "git-upload-pack", (_V2, _FETCH), b"0014command=ls-refs\n0000"),
            Route("ls-refs of a clone", "POST", "git-upload-pack", (_V2, _FETCH), _CLONE),
            Route("fetch v2", "POST", "git-upload-pack", (_V2, _FETCH), fetch),
            Route("fetch v0", "POST", "git-upload-pack", (_FETCH,), old_fetch),
            Route("snapshot", "GET", "snapshot.tar.zst"),
            Route("snapshot head", "HEAD", "snapshot.tar.zst"),
            Route("snapshot range", "GET", "snapshot.tar.zst", ("Range: bytes=0-99",)),
            Route("snapshot of a branch", "GET", f"snapshot.tar.zst?ref=refs/heads/{self.secret}"),
            Route("snapshot without blobs", "GET", "snapshot.tar.zst?filter=blob:none"),
            Route("bundle uris", "POST", "git-upload-pack", (_V2, _FETCH), b"0017command=bundle-uri\n0000"),
            Route("bundle of a branch", "GET", f"snapshot.bundle?base={self.first}&ref=refs/heads/main"),
            Route("bundle", "GET", f"snapshot.bundle?base={self.first}"),
            Route("bundle list", "GET", "bundle-list"),
            *(Route("listed bundle", "GET", f"bundle-list?bundle={name}") for name in self.bundles),
            Route("lfs snapshot", "GET", "lfs-snapshot.tar.zst"),
            Route("lfs batch", "POST", "info/lfs/objects/batch", _LFS, json.dumps(batch).encode()),
            Route("lfs object", "GET", f"info/lfs/storage/{self.oid}", (_GIT_LFS,)),
            Route("ensure-refs", "POST", "ensure-refs", (), json.dumps({"commits": [self.head]}).encode()),
            Route("push refs", "GET", "info/refs?service=git-receive-pack", reads=False),
            Route("push", "POST", "git-receive-pack", (), b"0000", reads=False),
        ]


def make_contents(upstream: Upstream, name: str, secret: str, *, seed: int) -> Contents:
    """Make a repository whose contents all have a secret in them."""
    repository = repositories.make_repository(upstream.path(name), commits=2, branches=["main", secret], seed=seed)
    contents = Contents(name, secret, first=repository.commit("main"))
    data = f"{secret} in an LFS object".ljust(100).encode()
    contents.oid = upstream.lfs.put(name, data)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{contents.oid}\nsize {len(data)}\n"
    repositories.push_commit(repository, "main", f"{secret} in a message", name=secret, data=secret.encode())
    contents.head = repositories.push_commit(repository, "main", "lfs", name="big.bin", data=pointer.encode())
    return contents


async def send(
    reactor: Any, cachew: Cachew, contents: Contents, route: Route, authorization: str | None, *more: str
) -> Response:
    """Send a request."""
    shown = [] if authorization is None else [f"Authorization: {authorization}"]
    path = f"/git/{HOST}/{contents.name}/{route.operation}"
    return await ask(reactor, cachew.url, route.method, path, *route.headers, *shown, *more, body=route.body)


async def warm_everything(cachew: Cachew, contents: Contents) -> None:
    """Have everything cached that there can be of a repository."""
    mirror = await cachew.mirrored(contents.name)
    snapshots = cachew.parts.snapshots
    for kind in ("snapshot", "lfs-snapshot", "mirror"):
        await snapshots.archives.make(mirror.identity, Variant(kind))
    await snapshots.archives.make(mirror.identity, Variant("snapshot", f"refs/heads/{contents.secret}"))
    await snapshots.bundle_store.update(mirror.identity)
    contents.bundles = [bundle.name for bundle in await snapshots.bundle_store.listed(mirror.instance)]
    await cachew.quiet()


def packet(data: bytes) -> bytes:
    """Return a pkt-line."""
    return b"%04x%b" % (len(data) + 4, data)
