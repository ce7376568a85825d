"""Mirrors are filled with the tokens of GitHub Apps, of which several may be for the same place."""

import datetime
import json
from pathlib import Path
from typing import Any

import jwt
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.upstream import Upstream

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
INSTALLED = {"1": {"alpha/repo": "11"}, "2": {"beta/repo": "22"}}
"""The installations of two Apps, by repository."""


def token(installation: str) -> str:
    """Return the token of an installation."""
    return marked(installation)


class Api(Resource):
    """GitHub's API, as far as Apps are concerned."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        """Answer who proves to be an App."""
        proof = request.getHeader("authorization").removeprefix("Bearer ")
        app = jwt.decode(proof, KEY.public_key(), ["RS256"], options={"verify_iat": False})["iss"]
        words = request.path.decode().split("/")
        if words[1] == "repos":
            found = INSTALLED[app].get("/".join(words[2:4]))
            request.setResponseCode(404 if found is None else 200)
            return json.dumps({"id": found}).encode()
        request.setResponseCode(201)
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        return json.dumps({"token": token(words[3]), "expires_at": expires.isoformat()}).encode()


def key_file(directory: Path) -> Path:
    """Write the Apps' private key."""
    path = directory / "app.pem"
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


@pytest_twisted.ensureDeferred
async def test_several_apps(upstream: Upstream, git: Git, start: Start, tmp_path: Path) -> None:
    """Each repository is mirrored by the App that is installed for it, others by the fallback, whatever comes first."""
    site = Site(Api())
    site.noisy = False
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    apps = "".join(
        f'[[credentials]]\nkind = "github-app"\nurl-prefix = "{upstream.url}"\napp-id = "{app}"\n'
        f'private-key-file = "{key_file(tmp_path)}"\napi-url = "http://127.0.0.1:{port.getHost().port}/"\n{fallback}'
        for app, fallback in (("1", 'installation-id = "99"\n'), ("2", ""))
    )
    cachew = await start(f'[access]\nmode = "trusted-network"\n{apps}')
    git.instead_of(*cachew.instead_of)
    for name, installation in (("alpha/repo", "11"), ("beta/repo", "22"), ("gamma/repo", "99")):
        repositories.make_repository(upstream.path(name))
        upstream.gate.protect(name, basic("x-access-token", token(installation)))
        await cachew.mirrored(name)
        await git.run("clone", "-q", f"https://git.example/{name}", name)
    await cachew.quiet()
    await port.stopListening()
    shown = {(one.repository, one.headers.get("authorization")) for one in upstream.journal.exchanges}
    assert len(shown) == 3, "and no App's token is shown for another's repository"
