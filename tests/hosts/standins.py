"""Upstreams that behave as the big hosts do, each as its docstring and the sources named there say."""

from collections.abc import Sequence

from tests.functional.exchanges import Exchange
from tests.functional.misbehaviour import Refuse
from tests.functional.upstream import Upstream

HTML = (("Content-Type", "text/html; charset=utf-8"),)
NOT_FOUND = Refuse(404, HTML, b"<html><title>Page not found</title></html>")


def as_git(exchange: Exchange) -> bool:
    """Whether a request's ``User-Agent`` is what GitHub and Bitbucket take for git."""
    return exchange.headers.get("user-agent", "").startswith("git/")


def redirected(exchange: Exchange, path: str) -> Refuse:
    """Return a redirect to the same operation at another path."""
    query = "&".join(f"{name}={value}" for name, value in exchange.query.items())
    return Refuse(301, (("Location", f"{path}/{exchange.operation}?{query}"),), b"")


class Host(Upstream):
    """A host whose repositories are found with and without ``.git``."""

    repository = "org/repo"
    """The repository as clients write it, percent-decoded."""
    base = ""
    """What comes before it in the host's own URLs, with a slash at its end."""
    users: Sequence[str] = ("x-access-token",)
    """User names that go with a token."""

    def written_with_git(self, exchange: Exchange) -> bool:
        """Whether a request's path has the repository's name with ``.git``."""
        return exchange.path.startswith(f"/{exchange.repository}.git/")


class GitHub(Host):
    """GitHub.

    A request for refs or packs whose ``User-Agent`` does not begin with ``git/`` is answered 404: jelmer/dulwich#562,
    isomorphic-git/isomorphic-git#247, johnmehr/gitup#23. Tokens go with any user name.
    """

    users = ("x-access-token", "oauth2", "alice")

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        if exchange.kind not in ("lfs", "lfs-object") and not as_git(exchange):
            return NOT_FOUND
        return None


class Gerrit(Host):
    """Gerrit, and googlesource.com.

    Whoever may read or push shows a cookie, which `git config http.cookieFile` has git send: go-git/go-git#668.
    """

    cookies: frozenset[str] = frozenset()
    """Those that are let in, as ``name=value``; none lets everybody in."""

    def own_answer(self, exchange: Exchange) -> Refuse | None:
        if self.cookies and exchange.kind != "lfs-object" and exchange.headers.get("cookie") not in self.cookies:
            return Refuse(401, (("WWW-Authenticate", 'Basic realm="Gerrit"'),), b"Unauthorized")
        return None
