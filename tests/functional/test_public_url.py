"""Behind a proxy the server names itself as its clients know it."""

import pytest_twisted
from twisted.web.http_headers import Headers

from tests.functional import loglines
from tests.functional.conftest import Start

PUBLIC = "https://cachew.example"


@pytest_twisted.ensureDeferred
async def test_addresses_are_those_that_clients_know(start: Start) -> None:
    """With ``public-url`` the login link and what is handed out name it, and browsers may address the server by it."""
    with loglines.listening() as log:
        cachew = await start(head=f'public-url = "{PUBLIC}/"')
    assert log.count(f"{PUBLIC}/admin/login?code=") == 1
    script = await (await cachew.admin("GET", "/client/install.sh")).text()
    assert PUBLIC in script and cachew.url not in script
    name = Headers({"Host": ["cachew.example"], "Cookie": ["x=y"]})
    assert (await cachew.raw("GET", "/admin/login", headers=name)).code == 200
