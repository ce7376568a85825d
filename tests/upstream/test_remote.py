"""What is remembered of one upstream, and for whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import UnknownPath, UpstreamRefused, UpstreamUnreachable
from cachew.upstream.listing import Capabilities, Listing
from cachew.upstream.remote import Remote, Remotes
from tests.fakes.settled import failure_of, value_of

URL = "https://git.example/org/repo"
MOVED = "https://git.example/new/repo"
ELSEWHERE = "https://evil.example/org/repo"
OWN, CLIENTS = "Basic own", "Basic client's"


@dataclass
class Client:
    """Leads each credential somewhere, or fails."""

    bases: dict[str | None, str | Exception] = field(default_factory=dict)
    asked: list[tuple[str | None, Capabilities | None]] = field(default_factory=list)

    async def list_refs(
        self, url: str, *, prefixes: Any, authorization: str | None, known: Capabilities | None, before: Listing | None
    ) -> tuple[Listing, Capabilities]:
        self.asked.append((authorization, known))
        base = self.bases.get(authorization, url)
        if isinstance(base, Exception):
            raise base
        return Listing(refs=()), Capabilities({"ls-refs": None}, 2, base)


@dataclass
class Own:
    """The server's credential, which is for one host."""

    value: str | None = OWN

    async def header_for(self, url: str) -> str | None:
        return self.value if url.startswith("https://git.example/") else None

    async def git_environment(self, url: str) -> Mapping[str, str]:
        return {"for": url}


def remote(client: Client, own: Own) -> Remote:
    return Remote(url=URL, client=cast(Any, client), credentials=own)


def listed(made: Remote, authorization: str | None) -> None:
    value_of(Deferred.fromCoroutine(made.list(None, authorization)))


def fetch_url(made: Remote) -> str:
    return value_of(Deferred.fromCoroutine(made.fetch_url()))


def test_without_redirects_nothing_is_asked() -> None:
    """Where nobody is redirected, the place to fetch from is known without a question."""
    client = Client()
    made = remote(client, Own())
    assert fetch_url(made) == URL
    listed(made, CLIENTS)
    assert fetch_url(made) == URL and [who for who, _ in client.asked] == [CLIENTS]


def test_a_clients_redirect_leads_the_server_nowhere() -> None:
    """Where a client is sent is never where the server fetches from with its own credential."""
    client = Client({CLIENTS: ELSEWHERE})
    made = remote(client, Own())
    listed(made, CLIENTS)
    assert fetch_url(made) == URL and client.asked[-1][0] == OWN
    assert value_of(Deferred.fromCoroutine(made.git_environment())) == {"for": URL}


@pytest.mark.parametrize("own", [OWN, None])
def test_the_servers_own_redirect_counts(own: str | None) -> None:
    """A repository that has moved is fetched from where the server itself is sent, with or without a credential."""
    client = Client({own: MOVED, CLIENTS: MOVED})
    made = remote(client, Own(own))
    listed(made, CLIENTS)
    assert fetch_url(made) == MOVED and fetch_url(made) == MOVED
    assert [who for who, _ in client.asked] == [CLIENTS, own]
    assert value_of(Deferred.fromCoroutine(made.git_environment())) == {"for": MOVED}
    client.bases = {}
    listed(made, CLIENTS)
    assert fetch_url(made) == URL


def test_a_redirect_that_can_not_be_learned() -> None:
    """When the server itself is refused, so is the fetch."""
    client = Client({CLIENTS: MOVED, OWN: UpstreamRefused(URL, status=404)})
    made = remote(client, Own())
    listed(made, CLIENTS)
    assert isinstance(failure_of(Deferred.fromCoroutine(made.fetch_url())), UpstreamUnreachable)


def test_what_it_can_do_is_remembered() -> None:
    """What an upstream can do is learned once, and anew when it could not be reached or has no such repository."""
    client = Client()
    made = remote(client, Own())
    for failure, known in (
        (UpstreamRefused(URL, status=401), True),
        (UpstreamRefused(URL, status=404), False),
        (UpstreamUnreachable(URL, "gone"), False),
    ):
        client.bases = {}
        listed(made, CLIENTS)
        client.bases = {CLIENTS: failure}
        assert failure_of(Deferred.fromCoroutine(made.list(None, CLIENTS))) is failure
        client.bases = {}
        listed(made, CLIENTS)
        assert (client.asked[-1][1] is not None) is known


@dataclass(frozen=True)
class Name:
    """A repository."""

    host: str
    path: str


def test_one_way_for_each() -> None:
    """Each repository has one way; a host that is not admitted has none; not all are remembered for ever."""

    def url_for(host: str, path: str) -> str:
        if host != "git.example":
            raise UnknownPath("no such host")
        return f"https://{host}/{path}"

    remotes = Remotes(url_for=url_for, client=cast(Any, Client()), credentials=Own())
    first = remotes.of(Name("git.example", "a"))
    assert remotes.of(Name("git.example", "a")) is first and first.url == "https://git.example/a"
    with pytest.raises(UnknownPath):
        remotes.of(Name("evil.example", "a"))
    for number in range(10_001):
        remotes.of(Name("git.example", str(number)))
    assert remotes.of(Name("git.example", "a")) is not first


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_of_the_servers_credential_is_not_the_clients(status: int) -> None:
    """When the upstream refuses the server itself, no client is told that their credential is bad."""
    made = remote(Client({OWN: UpstreamRefused(URL, status=status)}), Own())
    failure = failure_of(Deferred.fromCoroutine(made.list_refs()))
    assert isinstance(failure, UpstreamUnreachable) and "this server's own credential" in str(failure)
