"""Installation tokens against an API in memory."""

import datetime
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from cachew.plumbing.errors import CredentialUnavailable, UpstreamTimeout, UpstreamUnreachable
from cachew.upstream.credentials import Credentials
from cachew.upstream.credentialsources import basic
from cachew.upstream.githubapp import GitHubApp, GitHubApps
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EPOCH = 1_700_000_000.0


class Api(Resource):
    """GitHub's API, as far as Apps are concerned."""

    isLeaf = True

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.installed: dict[str, dict[str, int]] = {"1": {"org/repo": 77}}
        self.asked: list[str] = []
        self.status: int | None = None
        self.refusal = b"{}"
        self.troubled: dict[str, int] = {}
        self.life = 3600.0
        self.silent = False
        self.key = KEY

    def render(self, request: Any) -> Any:
        proof = request.requestHeaders.getRawHeaders("authorization")[0].removeprefix("Bearer ")
        claims = jwt.decode(proof, self.key.public_key(), ["RS256"], options={"verify_exp": False, "verify_iat": False})
        now = EPOCH + self._clock.seconds()
        assert claims["iat"] <= now < claims["exp"] <= now + 600
        path = request.path.decode()
        self.asked.append(f"{claims['iss']} {path}")
        if self.silent:
            return NOT_DONE_YET
        if status := self.troubled.get(claims["iss"], self.status):
            request.setResponseCode(status)
            return self.refusal
        return self._answer(request, claims["iss"], path)

    def _answer(self, request: Any, app: str, path: str) -> bytes:
        if path.startswith("/repos/"):
            found = self.installed.get(app, {}).get(path.removeprefix("/repos/").removesuffix("/installation"))
            request.setResponseCode(404 if found is None else 200)
            return json.dumps({"id": found}).encode()
        request.setResponseCode(201)
        expires = datetime.datetime.fromtimestamp(EPOCH + self._clock.seconds() + self.life, datetime.UTC)
        token = f"token{len(self.asked)}-{path.split('/')[3]}"
        return json.dumps({"token": token, "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=EPOCH)


@pytest.fixture
def api(clock: FakeClock) -> Api:
    return Api(clock)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Return a file with the Apps' private key."""
    path = tmp_path / "app.pem"
    path.write_bytes(pem_of(KEY))
    return path


def pem_of(key: rsa.RSAPrivateKey) -> bytes:
    """Return a key as it stands in a file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def apps_of(api: Api, clock: FakeClock, *apps: GitHubApp) -> GitHubApps:
    return GitHubApps(
        apps=apps,
        http=StubTreq(api),
        reactor=clock,
        clock=clock,
        in_thread=InlineThreads(),
        api="https://api.example",
    )


def token(apps: GitHubApps, url: str = "https://github.com/org/repo") -> str | None:
    """Return the token that an App gives at once, without its header's form."""
    results: list[Any] = []
    Deferred.fromCoroutine(apps.header_for(url)).addBoth(results.append)
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    if results[0] is None:
        return None
    user, _, found = b64decode(results[0].removeprefix("Basic ")).decode().partition(":")
    assert user == "x-access-token"
    return found


def test_installation_is_found(api: Api, clock: FakeClock, key_file: Path) -> None:
    """An App finds its installation and gets its token, once for many uses."""
    apps = apps_of(api, clock, GitHubApp("1", key_file))
    assert token(apps) == token(apps) == token(apps, "https://github.com/Org/Repo.git") == "token2-77"
    assert api.asked == ["1 /repos/org/repo/installation", "1 /app/installations/77/access_tokens"]


def test_token_is_renewed(api: Api, clock: FakeClock, key_file: Path) -> None:
    """A token is renewed ten minutes before it expires, with a fresh proof; when that fails the old one still goes."""
    apps = apps_of(api, clock, GitHubApp("1", key_file))
    first = token(apps)
    clock.advance(2999)
    assert token(apps) == first
    clock.advance(2)
    api.status = 500
    assert token(apps) == first
    api.status = None
    token(apps)
    clock.advance(3)
    assert token(apps) != first


def test_expired_token_is_not_used(api: Api, clock: FakeClock, key_file: Path) -> None:
    """An expired token is never used, whatever the API does."""
    apps = apps_of(api, clock, GitHubApp("1", key_file, {"org": "5"}))
    token(apps)
    clock.advance(3600)
    api.status = 503
    with pytest.raises(UpstreamUnreachable, match="answered 503 to the GitHub App 1"):
        token(apps)


def test_several_apps(api: Api, clock: FakeClock, key_file: Path) -> None:
    """The first App that is installed for the repository gives the token."""
    api.installed["2"] = {"other/repo": 88}
    apps = apps_of(api, clock, GitHubApp("1", key_file), GitHubApp("2", key_file))
    found = token(apps, "https://github.com/other/repo")
    assert found is not None and found.endswith("-88")


def test_configured_installation(api: Api, clock: FakeClock, key_file: Path) -> None:
    """A configured installation needs no look-up."""
    token(apps_of(api, clock, GitHubApp("1", key_file, {"org": "5"})))
    assert api.asked == ["1 /app/installations/5/access_tokens"]


def test_not_installed(api: Api, clock: FakeClock, key_file: Path) -> None:
    """Where no App is installed there is no credential, which is remembered for a while."""
    apps = apps_of(api, clock, GitHubApp("1", key_file))
    assert token(apps, "https://github.com/x/y") is None
    assert token(apps, "https://github.com/x/y") is None
    assert len(api.asked) == 1
    clock.advance(301)
    token(apps, "https://github.com/x/y")
    assert len(api.asked) == 2


def test_fallback(api: Api, clock: FakeClock, key_file: Path) -> None:
    """Where no App is installed the fallback installation's token is used."""
    apps = apps_of(api, clock, GitHubApp("1", key_file, fallback="9"))
    found = token(apps, "https://github.com/x/y")
    assert found is not None and found.endswith("-9")


@pytest.mark.parametrize("path", ["", "org", "org/%2e", "../repo", "org/a b"])
def test_no_repository(api: Api, clock: FakeClock, key_file: Path, path: str) -> None:
    """The API is not asked about what can't be a repository."""
    assert token(apps_of(api, clock, GitHubApp("1", key_file)), f"https://github.com/{path}") is None
    assert api.asked == []


def test_refused_app(api: Api, clock: FakeClock, key_file: Path) -> None:
    """A refusal of the App is the server's trouble and never looks like a refusal of the client."""
    api.status = 401
    with pytest.raises(UpstreamUnreachable, match="answered 401 to the GitHub App 1"):
        token(apps_of(api, clock, GitHubApp("1", key_file)))


def test_why_an_app_is_refused(api: Api, clock: FakeClock, key_file: Path) -> None:
    """A clock that is wrong, or an App that is gone, is told in GitHub's own words."""
    api.status, api.refusal = 401, b"{\"message\": \"'Expiration time' claim ('exp') is too far in the future\"}"
    with pytest.raises(UpstreamUnreachable, match=r"App 1: 'Expiration time' claim \('exp'\) is too far in the future"):
        token(apps_of(api, clock, GitHubApp("1", key_file)))


def test_a_key_that_was_rotated(api: Api, clock: FakeClock, key_file: Path) -> None:
    """Once the API refuses what the old one has signed, the file is read anew, without a restart."""
    apps, new = apps_of(api, clock, GitHubApp("1", key_file)), rsa.generate_private_key(65537, 2048)
    assert token(apps) is not None
    key_file.write_bytes(pem_of(new))
    clock.advance(3600)
    api.status = 401
    with pytest.raises(UpstreamUnreachable):
        token(apps)
    api.status, api.key = None, new
    assert token(apps) is not None


def test_api_hangs(api: Api, clock: FakeClock, key_file: Path) -> None:
    """An API that does not answer is given up after its time."""
    api.silent = True
    failures: list[Any] = []
    Deferred.fromCoroutine(
        apps_of(api, clock, GitHubApp("1", key_file)).header_for("https://github.com/o/r")
    ).addErrback(failures.append)
    clock.advance(9)
    assert not failures
    clock.advance(2)
    failures[0].trap(UpstreamTimeout)


@pytest.mark.parametrize(
    "content",
    [None, b"junk", b"-----BEGIN PRIVATE KEY-----\nMBECAQAwBQYDKgMEBAUEA2FiYw==\n-----END PRIVATE KEY-----\n"],
    ids=["missing", "junk", "of a kind that nobody knows"],
)
def test_bad_key(api: Api, clock: FakeClock, tmp_path: Path, content: bytes | None) -> None:
    """A key that is missing or unusable is named by its file."""
    path = tmp_path / "bad.pem"
    if content:
        path.write_bytes(content)
    with pytest.raises(UpstreamUnreachable, match=r"bad\.pem"):
        token(apps_of(api, clock, GitHubApp("1", path)))


def second_app_of(api: Api) -> None:
    """Have the second App installed where the first is not."""
    api.installed = {"1": {}, "2": {"org/repo": 88}}


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_one_apps_trouble_is_no_others(api: Api, clock: FakeClock, key_file: Path, status: int) -> None:
    """An App whose API refuses or fails keeps no repository from the App that is installed for it."""
    second_app_of(api)
    api.troubled["1"] = status
    apps = apps_of(api, clock, GitHubApp("1", key_file), GitHubApp("2", key_file))
    assert token(apps, "https://github.com/org/repo") == "token3-88"


def test_one_apps_missing_key_is_no_others(api: Api, clock: FakeClock, key_file: Path, tmp_path: Path) -> None:
    """A key that is gone keeps no repository from the App that is installed for it."""
    second_app_of(api)
    apps = apps_of(api, clock, GitHubApp("1", tmp_path / "gone.pem"), GitHubApp("2", key_file))
    assert token(apps, "https://github.com/org/repo") == "token2-88"


def test_where_an_app_can_not_be_asked_about_nothing_is_certain(api: Api, clock: FakeClock, key_file: Path) -> None:
    """A repository may be that App's when no other has it; then its credential can't be had, which is said."""
    second_app_of(api)
    api.troubled["1"] = 503
    apps = apps_of(api, clock, GitHubApp("1", key_file), GitHubApp("2", key_file))
    with pytest.raises(CredentialUnavailable, match="answered 503 to the GitHub App 1"):
        token(apps, "https://github.com/other/repo")


def forget(apps: GitHubApps, refused: str | None) -> Deferred[bool]:
    """Tell that the upstream has refused a token."""
    return Deferred.fromCoroutine(apps.forget("https://github.com/org/repo", basic("x-access-token", str(refused))))


def test_a_refused_token_is_asked_for_anew(api: Api, clock: FakeClock, key_file: Path) -> None:
    """What an upstream has refused is forgotten, and nothing else."""
    apps = apps_of(api, clock, GitHubApp("1", key_file))
    first = token(apps)
    clock.advance(60)
    assert value_of(forget(apps, "another")) is False and token(apps) == first
    assert value_of(forget(apps, first)) is False
    second = token(apps)
    assert second != first
    assert value_of(forget(apps, first)) is False and token(apps) == second, "an older one's refusal is of it alone"


def test_a_new_token_is_used_when_it_is_known_everywhere(api: Api, clock: FakeClock, key_file: Path) -> None:
    """While the one before it is still good it goes on being shown for three seconds, unless it is refused."""
    apps = apps_of(api, clock, GitHubApp("1", key_file))
    first = token(apps)
    clock.advance(3001)
    assert token(apps) == first and api.asked[-1].endswith("/access_tokens") and len(api.asked) == 3
    clock.advance(2.5)
    assert token(apps) == first
    assert value_of(forget(apps, first)) is False
    second = token(apps)
    assert second != first and len(api.asked) == 3
    clock.advance(1)
    assert token(apps) == second


def test_a_refusal_of_a_new_token_counts_when_it_is_known_everywhere(
    api: Api, clock: FakeClock, key_file: Path
) -> None:
    """Who is refused with a token that has just been issued waits until it is three seconds old, and shows it again."""
    apps = apps_of(api, clock, GitHubApp("1", key_file))
    first = token(apps)
    credentials = Credentials(sources=[("https://github.com/", apps)])
    shown = basic("x-access-token", str(first))
    clock.advance(1)
    renewed = Deferred.fromCoroutine(credentials.renewed("https://github.com/org/repo", shown))
    clock.advance(1.5)
    assert not renewed.called
    clock.advance(0.5)
    assert value_of(renewed) == shown
    another = Deferred.fromCoroutine(credentials.renewed("https://github.com/org/repo", shown))
    assert value_of(another) not in (None, shown), "then it is no good"


def test_short_lived_tokens_are_kept_for_half_their_life(api: Api, clock: FakeClock, key_file: Path) -> None:
    """A token that lives for five minutes is not asked for with every request."""
    api.life = 300.0
    apps = apps_of(api, clock, GitHubApp("1", key_file))
    first = token(apps, "https://github.com/org/repo")
    clock.advance(140)
    assert token(apps, "https://github.com/org/repo") == first
    clock.advance(20)
    token(apps, "https://github.com/org/repo")
    clock.advance(3)
    assert token(apps, "https://github.com/org/repo") != first
