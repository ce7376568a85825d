"""Hosts that would rather have proofs of a connection than passwords."""

import pytest_twisted
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.gitclient import Git
from tests.functional.server import HOST, UNSCHEDULED
from tests.hosts.conftest import Before, Hosted
from tests.hosts.standins import DevOpsServer

TOKEN = "pat-52"


@pytest_twisted.ensureDeferred
async def test_passwords_are_shown_and_no_proofs_of_connections(hosted: Hosted, before: Before, git: Git) -> None:
    """git, which prefers NTLM, is asked for a password by the server, and clones; a proof of NTLM stays with it."""
    host = await hosted(DevOpsServer)
    repository = repositories.make_repository(host.path(host.full))
    host.close(TOKEN)
    cachew = await before(host, UNSCHEDULED)
    git.instead_of(*cachew.instead_of)
    address = f"{cachew.url}/git/{HOST}/My%20Project/_git/repo".replace(
        "http://", f"http://DOMAIN%5Calice:{marked(TOKEN)}@"
    )
    await git.run("clone", "-q", address, "clone")
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit()
    listing = address.partition("@")[2] + "/info/refs?service=git-upload-pack"
    proof = Headers({"Authorization": ["NTLM TlRMTVNTUAABAAAA"]})
    response = await HTTPClient(Agent(reactor)).get(f"http://{listing}", headers=proof)
    asked = response.headers.getRawHeaders("WWW-Authenticate")
    assert (response.code, asked) == (401, ["Bearer", 'Basic realm="http://tfs.example/"'])
    shown = {one.headers.get("authorization", "").partition(" ")[0] for one in host.journal.exchanges}
    assert shown == {"", "Basic"}
