"""Patterns of names are what the forge lists, with the server's own credential."""

import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.functional.canary import marked
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.repositories import make_repository
from tests.functional.test_github_app import key_file
from tests.functional.upstream import Upstream

PAGES = [["org/web-one", "Org/tool"], ["org/web-two", "org/web-old", "other/web-x"]]


class Api(Resource):
    """GitHub's API as a user's account has it, with two pages of repositories for an installation's token."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        """Answer for the account ``org``."""
        asked, shown = request.path.decode(), request.getHeader("authorization")
        expires = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()
        if asked == "/users/org/installation" or asked.startswith("/repos/org/"):
            answer: object = {"id": 5}
        elif asked == "/app/installations/5/access_tokens":
            answer = {"token": marked("5"), "expires_at": expires}
        elif asked == "/users/org/repos" and shown == f"Bearer {marked('5')}":
            page = int(request.args[b"page"][0])
            names = [*PAGES, []][page - 1]
            answer = [{"full_name": name, "archived": name.endswith("old")} for name in names]
        else:
            request.setResponseCode(404)
            answer = {}
        return json.dumps(answer).encode()


@pytest_twisted.async_yield_fixture
async def api() -> AsyncIterator[str]:
    """The API's address."""
    site = Site(Api())
    site.noisy = False
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    yield f"http://127.0.0.1:{port.getHost().port}/"
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_what_an_owner_has_is_mirrored(upstream: Upstream, start: Start, api: str, tmp_path: Path) -> None:
    """Private repositories of an account are found with a GitHub App's token and mirrored; others and archived not."""
    for name in ("org/web-one", "org/web-two", "org/web-old", "org/tool"):
        make_repository(upstream.path(name), commits=1)
        upstream.gate.protect(name, basic("x-access-token", marked("5")))
    cachew = await start(
        'forge = "github"\n[[prefetch]]\nrepositories = ["git.example/org/web-*"]\n'
        f'[[credentials]]\nkind = "github-app"\nurl-prefix = "{upstream.url}"\napp-id = "1"\n'
        f'private-key-file = "{key_file(tmp_path)}"\napi-url = "{api}"\n'
    )
    for name in ("org/web-one", "org/web-two"):
        assert (await cachew.mirrored(name)).ready
    await cachew.quiet()
    assert sorted(mirror.identity.path for mirror in cachew.parts.mirrors.collection) == ["org/web-one", "org/web-two"]
    assert cachew.served() == {}
