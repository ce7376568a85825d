"""What is remembered of one upstream, and for whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import (
    CredentialUnavailable,
    UnknownPath,
    UpstreamNotGit,
    UpstreamRefused,
    UpstreamUnreachable,
)
from cachew.upstream.listing import Capabilities, Listing
from cachew.upstream.remotes import Remote, Remotes
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
    next: str | None = None
    unavailable: bool = False
    refused: list[str] = field(default_factory=list)

    async def header_for(self, url: str) -> str | None:
        if self.unavailable:
            raise CredentialUnavailable(url, "the key file is gone")
        return self.value if url.startswith("https://git.example/") else None

    async def renewed(self, url: str, refused: str) -> str | None:
        self.refused.append(refused)
        return self.next if refused == self.value else None

    async def git_environment(self, url: str) -> Mapping[str, str]:
        if self.unavailable:
            raise CredentialUnavailable(url, "the key file is gone")
        return {"for": url}


def remote(client: Client, own: Own) -> Remote:
    return Remote(url=URL, client=cast(Any, client), credentials=cast(Any, own))


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


def test_a_smart_upstream_is_not_empty_because_its_files_say_so() -> None:
    """A list of no refs, as a file that nobody has kept, ends no mirror; a server of files may say so."""

    class Turning(Client):
        dumb = True

        async def list_refs(self, url: str, **asked: Any) -> tuple[Listing, Capabilities]:
            return Listing(refs=()), Capabilities(protocol=0, base_url=url, dumb=self.dumb)

    client = Turning()
    made = remote(client, Own())
    listed(made, CLIENTS)
    client.dumb = False
    listed(made, CLIENTS)
    client.dumb = True
    for _ in range(2):
        assert isinstance(failure_of(Deferred.fromCoroutine(made.list(None, CLIENTS))), UpstreamNotGit)
    value_of(Deferred.fromCoroutine(made.list(("refs/pull/7/head",), CLIENTS)))


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

    remotes = Remotes(url_for=url_for, client=cast(Any, Client()), credentials=cast(Any, Own()))
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


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_where_the_server_has_no_credential(status: int) -> None:
    """It is not called one of a credential that there is not."""
    made = remote(Client({None: UpstreamRefused(URL, status=status)}), Own(value=None))
    said = str(failure_of(Deferred.fromCoroutine(made.list_refs())))
    assert f"answered {status} and this server has no credential for it" in said


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_credential_that_was_refused_is_renewed_once(status: int) -> None:
    """What was kept of the server's own, a revoked token or an old password, is renewed before anybody hears of it."""
    client = Client({OWN: UpstreamRefused(URL, status=status)})
    own = Own(next="Basic new")
    value_of(Deferred.fromCoroutine(remote(client, own).list_refs()))
    assert [shown for shown, _ in client.asked] == [OWN, "Basic new"]


def test_a_renewed_credential_that_is_refused_too_is_told() -> None:
    """It is not asked for again and again."""
    client = Client({name: UpstreamRefused(URL, status=401) for name in (OWN, "Basic new")})
    own = Own(next="Basic new")
    assert "own credential" in str(failure_of(Deferred.fromCoroutine(remote(client, own).list_refs())))
    assert own.refused == [OWN] and len(client.asked) == 2


def test_a_clients_refused_credential_is_the_clients() -> None:
    """Nothing of the server's is shown in its place."""
    client = Client({CLIENTS: UpstreamRefused(URL, status=401)})
    made = remote(client, Own(next="Basic new"))
    assert isinstance(failure_of(Deferred.fromCoroutine(made.list(None, CLIENTS))), UpstreamRefused)
    assert [shown for shown, _ in client.asked] == [CLIENTS]


def test_what_is_public_needs_no_credential() -> None:
    """A repository that its upstream serves to everybody is fetched though the server's own credential can't be had."""
    made = remote(Client(), Own(unavailable=True))
    assert value_of(Deferred.fromCoroutine(made.authorization())) is None
    assert value_of(Deferred.fromCoroutine(made.git_environment())) == {}
    value_of(Deferred.fromCoroutine(made.list_refs()))


def test_what_is_private_needs_one() -> None:
    """Otherwise it is said what is wrong with the credential, and nobody hears of a refusal."""
    made = remote(Client({None: UpstreamRefused(URL, status=401)}), Own(unavailable=True))
    for asked in (made.authorization(), made.git_environment(), made.list_refs()):
        failure = failure_of(Deferred.fromCoroutine(asked))
        assert isinstance(failure, CredentialUnavailable) and "the key file is gone" in str(failure)
