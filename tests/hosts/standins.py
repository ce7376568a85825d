"""Upstreams that behave as the big hosts do, each as its docstring and the sources named there say."""

import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from twisted.web.server import Request

from tests.functional.exchanges import Exchange
from tests.functional.gate import basic
from tests.functional.gitcgi import Responder
from tests.functional.misbehaviour import Refuse
from tests.functional.upstream import Upstream

HTML = (("Content-Type", "text/html; charset=utf-8"),)
NOT_FOUND = Refuse(404, HTML, b"<html><title>Page not found</title></html>")
_ADVERTISED = "application/x-git-upload-pack-advertisement"


def as_git(exchange: Exchange) -> bool:
    """Whether a request's ``User-Agent`` is what GitHub and Bitbucket take for git."""
    return exchange.headers.get("user-agent", "").startswith("git/")


def is_lfs(exchange: Exchange) -> bool:
    """Whether a request is git-lfs's rather than git's."""
    return exchange.kind in ("lfs", "lfs-object")


def redirected(exchange: Exchange, path: str) -> Refuse:
    """Return a redirect to the same operation at another path."""
    query = "&".join(f"{name}={value}" for name, value in exchange.query.items())
    return Refuse(301, (("Location", f"{quote(path)}/{exchange.operation}?{query}"),), b"")


class Host(Upstream):
    """A host whose repositories are found with and without ``.git``."""

    repository = "org/repo"
    """The repository as clients write it, percent-decoded."""
    base = ""
    """What comes before it in the host's own URLs, with a slash at its end."""
    users: tuple[str, ...] = ("alice",)
    """User names that go with a token; the last one pushes."""
    webhooks = ""
    """The forge whose webhooks it sends, nothing where it sends none."""
    unknown = 401
    """What it answers to credentials that may not read."""
    challenges = True
    """Whether it asks for credentials."""

    @property
    def full(self) -> str:
        """The repository with what comes before it."""
        return self.base + self.repository

    def credential(self, token: str, user: str | None = None) -> str:
        """Return the ``Authorization`` of a token."""
        return basic(self.users[-1] if user is None else user, token)

    def close(self, *tokens: str) -> None:
        """Make the repository private."""
        allowed = [basic(user, token) for token in tokens for user in self.users]
        self.gate.protect(self.full, *allowed, unknown=self.unknown)

    def written_with_git(self, exchange: Exchange) -> bool:
        """Whether a request's path has the repository's name with ``.git``."""
        return exchange.path.startswith(f"/{exchange.repository}.git/")


class GitHub(Host):
    """GitHub.

    A request for refs or packs whose ``User-Agent`` does not begin with ``git/`` is answered 404: jelmer/dulwich#562,
    isomorphic-git/isomorphic-git#247, johnmehr/gitup#23. Whoever may not read gets 401 as a stranger and 404 when
    logged in; tokens go with any user name.
    """

    users = ("x-access-token", "oauth2", "alice")
    webhooks = "github"
    unknown = 404

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        return None if is_lfs(exchange) or as_git(exchange) else NOT_FOUND


class GitLab(Host):
    """GitLab.

    Everything is below ``PATH.git``; of what is asked for without it, ``info/refs`` alone is redirected
    (gitlab-org/gitlab ``config/routes/git_http.rb``, and the shared examples of its routing specs, "requests without
    .git format"). 401 for all that is unknown or forbidden. Nested groups make long paths; a job's token has a user
    name of its own.
    """

    repository = "group/sub group/deeper/repo"
    users = ("gitlab-ci-token", "oauth2")
    webhooks = "gitlab"

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        if self.written_with_git(exchange):
            return None
        if exchange.operation == "info/refs":
            return redirected(exchange, f"/{exchange.repository}.git")
        return NOT_FOUND


class Bitbucket(Host):
    """Bitbucket: mirage/ocaml-git#66 says that it doesn't speak git to others; access tokens go with a user name."""

    users = ("x-token-auth",)
    webhooks = "bitbucket"

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        return None if is_lfs(exchange) or as_git(exchange) else NOT_FOUND


class AzureDevOps(Host):
    """Azure DevOps.

    Projects have blanks and letters of any language in their names: runatlantis/atlantis#1079,
    microsoft/vscode-remote-repositories-github#469. Its protocol is an older one (go-git/go-git#64 on ``multi_ack``),
    and a personal access token is a password without a user name (MicrosoftDocs/azure-devops-docs#1474).
    """

    repository = "org/My Projekt ä/_git/répo"
    users: tuple[str, ...] = ("",)
    webhooks = "azure-devops"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.protocol_v2 = False
        self.git_config["uploadpack.allowFilter"] = "false"


class DevOpsServer(AzureDevOps):
    """Azure DevOps Server (TFS) in one's own house.

    It offers Windows' own proofs before passwords and tokens (libgit2/libgit2sharp#1596), and lets in whatever comes
    after them over the same connection: see Microsoft's RFC 4559, section 6, and IIS's ``authPersistNonNTLM``.
    """

    base = "tfs/DefaultCollection/"
    repository = "My Project/_git/repo"
    users = ("", "DOMAIN\\alice")

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        shown = exchange.headers.get("authorization")
        if shown is None or self.gate.refusal(exchange) is not None:
            offers = ("Bearer", 'Basic realm="http://tfs.example/"', "Negotiate", "NTLM")
            return Refuse(401, (*(("WWW-Authenticate", offer) for offer in offers), *HTML), b"<html>sign in</html>")
        return None


class Gitea(Host):
    """Gitea and Forgejo, below a sub-path; renamed repositories and owners are redirected (go-gitea/gitea#806)."""

    base = "code/"
    webhooks = "gitea"
    renamed = "org/old-name"

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        if exchange.repository != self.base + self.renamed:
            return None
        return redirected(exchange, f"/{self.full}.git")


class Gerrit(Host):
    """Gerrit, and googlesource.com.

    Whoever may read or push shows a cookie, which ``git config http.cookieFile`` has git send: go-git/go-git#668.
    Changes are at refs of their own.
    """

    cookies: frozenset[str] = frozenset()
    """Those that are let in, as ``name=value``; none lets everybody in."""

    def close(self, *tokens: str) -> None:
        self.cookies = frozenset(f"o={token}" for token in tokens)

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        if self.cookies and exchange.kind != "lfs-object" and exchange.headers.get("cookie") not in self.cookies:
            return Refuse(401, (("WWW-Authenticate", 'Basic realm="Gerrit"'),), b"Unauthorized")
        return None


class Gogs(Host):
    """Gogs 0.10, which knows repositories only with ``.git``, and shows a page for everything else: gogs/gogs#4189."""

    webhooks = "gitea"

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        return None if self.written_with_git(exchange) else NOT_FOUND


class PlainResults(Responder):
    """Writes an answer without saying that it is git's where git's clients don't look."""

    def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Set the status and the headers."""
        guessed = ("Content-Type", "text/plain; charset=utf-8")
        results = ("application/x-git-upload-pack-result", "application/x-git-receive-pack-result")
        super().start(status, [guessed if value in results else (name, value) for name, value in headers])


class WithoutSuffix(Host):
    """A host of bare names, as AWS CodeCommit's: what has ``.git`` at its end isn't there (abiosoft/caddy-git#101).

    The type of its answers to POST is guessed from their content, as Go's ``net/http`` does for who names none.
    """

    def responder(self, request: Request, cut_after: int | None, stalled: Callable[[], object] | None) -> Responder:
        return PlainResults(request, cut_after, stalled)

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        spelled_otherwise = self.written_with_git(exchange) and exchange.kind != "lfs-object"
        return Refuse(404, (), b"") if spelled_otherwise else None


class Gitolite(Host):
    """Gitolite behind Apache: who may not read is told so in git's own way, with status 200 and an ``ERR`` line.

    See gitprotocol-pack(5), "error-line", and gitolite's ``src/gitolite-shell``, which answers so over HTTP.
    """

    challenges = False
    _readers: frozenset[str] = frozenset()

    def close(self, *tokens: str) -> None:
        self._readers = frozenset(basic(user, token) for token in tokens for user in self.users)

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        if not self._readers or is_lfs(exchange) or exchange.headers.get("authorization") in self._readers:
            return None
        line = b"ERR FATAL: R any org/repo anonymous DENIED by fallthru"
        body = b"001e# service=git-upload-pack\n0000" + b"%04x" % (len(line) + 4) + line
        return Refuse(200, (("Content-Type", _ADVERTISED),), body)


class Dumb(Host):
    """A web server of bare repositories, which knows nothing of git: see gitprotocol-http(5), "Dumb Server Response".

    cgit does the same by itself unless it is told otherwise (cgitrc(5), ``enable-http-clone``).
    """

    def own_answer(self, exchange: Exchange) -> Refuse:
        file = self.root / exchange.path.lstrip("/")
        if exchange.method != "GET":
            return Refuse(405, HTML, b"<html><title>Method Not Allowed</title></html>")
        return Refuse(200, (("Content-Type", "text/plain"),), file.read_bytes()) if file.is_file() else NOT_FOUND


class Compressing(Responder):
    """Writes what a proxy makes of a response: compressed, with a character set, a long header, and closed after it."""

    def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Set the status and the headers."""
        self._gzip = zlib.compressobj(wbits=31)
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        changed = [
            (name, f"{value}; charset=utf-8" if name.lower() == "content-type" else value) for name, value in kept
        ]
        super().start(status, [*changed, ("Content-Encoding", "gzip"), ("Connection", "close, X-Internal")])
        self._request.responseHeaders.addRawHeader("Content-Security-Policy", "frame-src 'none'; " * 1000)
        self._request.responseHeaders.addRawHeader("X-Internal", "secret")
        self._request.responseHeaders.addRawHeader("X-Accel-Redirect", "/internal")

    def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        super().write(self._gzip.compress(data))

    def finish(self) -> None:
        """End the response and the connection."""
        channel: Any = self._request.channel
        if not self.lost:
            super().write(self._gzip.flush())
        super().finish()
        if channel is not None:
            channel.loseConnection()


class BehindProxy(Host):
    """A host behind a proxy that compresses whatever passes, asked or not, and closes connections."""

    def responder(self, request: Request, cut_after: int | None, stalled: Callable[[], object] | None) -> Responder:
        return Compressing(request, cut_after, stalled)


ALL: tuple[type[Host], ...] = (
    GitHub,
    GitLab,
    Bitbucket,
    AzureDevOps,
    Gitea,
    Gerrit,
    Gogs,
    WithoutSuffix,
    Gitolite,
    BehindProxy,
)
