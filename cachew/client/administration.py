"""What those who look after a server ask of it."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote, unquote, urlencode

from cachew.client.clienterrors import ClientError, NotCached
from cachew.client.http import Http, refusal

Document = Mapping[str, Any]


class Administration:
    """A server's admin routes.

    :param http: the server, with the admin token.
    """

    def __init__(self, *, http: Http) -> None:
        self._http = http

    def overview(self) -> Document:
        """Return the state of the server as a whole."""
        return self._document("GET", "/admin/overview")

    def repositories(self, *, states: Sequence[str] = (), upstream: str = "") -> list[Document]:
        """Return what is mirrored.

        :param states: only those in one of these states; ``error`` and ``stale`` are such too.
        :param upstream: only those of this host.
        """
        found: list[Document] = self._document("GET", "/admin/repositories")["repositories"]
        return [one for one in found if _matches(one, states, upstream)]

    def repository(self, name: str) -> Document:
        """Return one repository.

        :raise NotCached: when it is not mirrored.
        """
        return self._document("GET", f"/admin/repositories?{urlencode({'name': unquote(_path(name))})}")

    def act(self, name: str, action: str) -> Document:
        """Begin an action on a repository; a fetch of one that is not mirrored mirrors it.

        :raise NotCached: when it is not mirrored.
        """
        return self._document("POST", f"/admin/repositories/{_path(name)}/{action}")

    def reload(self) -> Document:
        """Have the server read its config again.

        :return: ``applied``, ``waiting`` and ``problems``.
        """
        return self._document("POST", "/admin/reload", expected=(200, 422))

    def log_level(self, level: str | None) -> str:
        """Return the least level that is logged, after it was changed if one is given."""
        query = "" if level is None else "?" + urlencode({"level": level})
        url = f"{self._http.server}/admin/log/level{query}"
        with closing(self._http.request("GET" if level is None else "PUT", url)) as answer:
            if answer.status != 200:
                raise refusal(answer, url)
            return answer.read(100).decode("utf-8", "replace").strip().lower()

    def log(self, after: int) -> tuple[list[str], int]:
        """Return the lines that were logged last.

        :param after: the number of the last line that is known; 0 for none.
        :return: the lines, and the number of the last one.
        """
        found = self._document("GET", f"/admin/log?{urlencode({'after': after})}")
        return [str(line) for line in found["lines"]], int(found["last"])

    def _document(self, method: str, path: str, *, expected: Sequence[int] = (200, 202)) -> Document:
        found = self._http.json(method, f"{self._http.server}{path}", expected=expected)
        if not isinstance(found, dict):
            raise ClientError(f"the server's answer to {path} is not what cachew answers")
        return found


def _path(name: str) -> str:
    """Return a repository's name as it stands in a path, whether it was copied from a URL or typed."""
    bare = name.strip().rstrip("/").removeprefix("https://").removeprefix("http://").removesuffix(".git")
    if "/" not in bare:
        raise NotCached(
            f"{name!r} names no repository", status=404, advice="Name it as host/path: github.com/org/repo."
        )
    return quote(bare, safe="/:@~.-_%")


def _matches(one: Document, states: Sequence[str], upstream: str) -> bool:
    found = {str(one.get("state")), *(word for word in ("error", "stale") if one.get(word))}
    return (not states or bool(found & set(states))) and str(one.get("name", "")).startswith(
        upstream and f"{upstream}/"
    )
