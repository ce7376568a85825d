"""Lists of repositories, against APIs in memory."""

import json
from base64 import b64decode
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from cachew.plumbing.errors import UpstreamRefused, UpstreamUnreachable
from cachew.upstream.credentials import Credentials
from cachew.upstream.credentialsources import StaticToken, basic
from cachew.upstream.forges import Forges, Kind, forge_at
from cachew.upstream.jsonapi import JsonApi


class Api(Resource):
    """An API that knows some lists, by their paths, in pages of two."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.shown: set[str | None] = set()
        self.status = 404
        self.raw = b""

    def render(self, request: Any) -> bytes:
        path, page = request.uri.decode().partition("?")[0], int(request.args[b"page"][0])
        self.asked.append(f"{path} {page}")
        self.shown.add(request.getHeader("authorization"))
        if path not in self.lists:
            request.setResponseCode(self.status)
            return b"{}"
        return self.raw or json.dumps(self.lists[path][2 * page - 2 : 2 * page]).encode()


def listed(api: Api, kind: Kind, home: str, owner: str, *, token: str = "", most: int = 10, below: bool = False) -> Any:
    """Return what is listed at once."""
    clock, bases = Clock(), []

    def asking(url: str) -> JsonApi:
        bases.append(url)
        return JsonApi(url=url, http=StubTreq(api), reactor=clock, timeout=10, limit=10_000)

    sources = [(f"{home}/", StaticToken(token=token, username="bob"))] if token else []
    forges = Forges(api=asking, credentials=Credentials(sources=sources))
    results: list[Any] = []
    work = forges.repositories(forge_at(kind, home), owner, most=most, below=below)
    Deferred.fromCoroutine(work).addBoth(results.append)
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0], bases[0]


@pytest.mark.parametrize(
    ("home", "api"),
    [
        ("https://github.com/", "https://api.github.com"),
        ("https://octocorp.ghe.com", "https://api.octocorp.ghe.com"),
        ("https://git.example/", "https://git.example/api/v3"),
        ("https://octocorp.ghe.com.example", "https://octocorp.ghe.com.example/api/v3"),
    ],
)
def test_where_github_has_its_api(home: str, api: str) -> None:
    """At a name of its own, on GHE.com too, but below a path of one's own server."""
    assert forge_at("github", home).api == api


def test_github_is_asked_page_by_page() -> None:
    """Until a page is empty or there are enough; github.com at its API's own name, with the token as such."""
    api = Api()
    api.lists["/orgs/org/repos"] = [{"full_name": f"org/{n}", "archived": n == 3} for n in range(5)]
    names = ["org/0", "org/1", "org/2", "org/4"]
    assert listed(api, "github", "https://github.com", "org", token="t1") == (names, "https://api.github.com")
    assert api.asked == [f"/orgs/org/repos {page}" for page in (1, 2, 3, 4)]
    assert api.shown == {"Bearer t1"}
    assert listed(api, "github", "https://github.com", "org", most=2)[0] == ["org/0", "org/1"]
    assert api.asked[4:] == ["/orgs/org/repos 1"]


def test_groups_on_gitlab() -> None:
    """A group in a group is one segment of the path, and an own server's API lies below its URL."""
    api = Api()
    api.lists["/code/api/v4/groups/top%2Fsub/projects"] = [{"path_with_namespace": "top/sub/deep/one"}]
    found = listed(api, "gitlab", "https://git.example/code", "top/sub", token="t2", below=True)
    assert found == (["top/sub/deep/one"], "https://git.example/code/api/v4")
    assert api.shown == {"Bearer t2"}


def test_users_on_gitea() -> None:
    """Where there is no such organisation a user is asked for; passwords go as they are."""
    api = Api()
    api.lists["/api/v1/users/ann/repos"] = [{"full_name": "ann/one"}, {"full_name": 7}]
    assert listed(api, "gitea", "https://git.example", "ann", token="pw")[0] == ["ann/one"]
    assert api.asked[0] == "/api/v1/orgs/ann/repos 1"
    assert api.shown == {basic("bob", "pw")} and b64decode(basic("bob", "pw")[6:]) == b"bob:pw"


def test_what_is_no_list_is_told() -> None:
    """A refusal, an owner that there is not, and an answer of another form are failures."""
    api = Api()
    with pytest.raises(UpstreamRefused):
        listed(api, "gitea", "https://git.example", "none")
    assert len(api.asked) == 2
    api.status = 403
    with pytest.raises(UpstreamRefused):
        listed(api, "gitea", "https://git.example", "none")
    assert len(api.asked) == 3
    api.lists["/api/v1/orgs/org/repos"] = []
    for raw, words in ((b"<html>", "not JSON"), (b'{"a": 1}', "not a list"), (b"[1]", "not a list")):
        api.raw = raw
        with pytest.raises(UpstreamUnreachable, match=words):
            listed(api, "gitea", "https://git.example", "org")
