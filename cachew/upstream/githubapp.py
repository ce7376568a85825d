"""Installation tokens of GitHub Apps.

An App proves itself with a signed token (JWT), finds its installation for a repository and gets a token for that
installation, which is good for an hour. Tokens are kept and renewed well before they expire. See GitHub's
"Authenticating as a GitHub App installation".

A token that has just been issued is not known yet to all that GitHub consists of, and is answered 401 or 403 there
(octokit/auth-app.js#65 and #589). So the one before it goes on being used for some seconds, and where there is none, a
refusal of it counts only after these.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import (
    CachewError,
    CredentialTimeout,
    CredentialUnavailable,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from cachew.plumbing.remembered import Expiring
from cachew.plumbing.shared import Shared
from cachew.plumbing.threads import InThread
from cachew.upstream.credentialsources import ANYONE, basic
from cachew.upstream.jsonapi import JsonApi, reason_in

API = "https://api.github.com"

RENEW_BEFORE = 600.0
"""Seconds before its expiry at which a token is renewed, or half its life if that is shorter."""

_SETTLED_AFTER = 3.0
"""Seconds after which a new token is known everywhere."""

_FOUND_FOR, _MISSING_FOR = 3600.0, 300.0
_PROOF_FOR = 540.0
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ANSWER_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class GitHubApp:
    """One GitHub App.

    :param app_id: its id or client id.
    :param key_file: its private key, PEM.
    :param installations: installation ids by lower-case owner, which saves looking them up.
    :param fallback: the installation for repositories where no App is installed; its token raises rate limits.
    """

    app_id: str
    key_file: Path
    installations: Mapping[str, str] = field(default_factory=dict)
    fallback: str | None = None


@dataclass(frozen=True)
class _Token:
    value: str = field(repr=False)
    renew_at: float
    settled_at: float


class GitHubApps:
    """Gives installation tokens for repositories.

    :param apps: the Apps, in the order in which they are tried.
    :param http: a treq client or :mod:`treq` itself.
    :param reactor: ends what takes too long.
    :param clock: what time it is.
    :param in_thread: runs reading the key and signing.
    :param api: the base URL of the API, without a trailing slash.
    :param timeout: seconds that one question to the API may take.
    """

    def __init__(
        self,
        *,
        apps: Sequence[GitHubApp],
        http: Any,
        reactor: IReactorTime,
        clock: Clock,
        in_thread: InThread,
        api: str = API,
        timeout: float = 10.0,
    ) -> None:
        self._apps = tuple(apps)
        self._reactor = reactor
        self._clock = clock
        self._in_thread = in_thread
        self._api = api.rstrip("/")
        self._questions = JsonApi(url=self._api, http=http, reactor=reactor, timeout=timeout, limit=_ANSWER_LIMIT)
        self._keys: dict[str, RSAPrivateKey] = {}
        self._proofs: Expiring[str, str] = Expiring(clock=clock, by_date=True, capacity=100)
        self._found: Expiring[tuple[str, str], str] = Expiring(clock=clock, by_date=True, capacity=10_000)
        self._tokens: Expiring[tuple[str, str], _Token] = Expiring(clock=clock, by_date=True, capacity=1000)
        self._former: Expiring[tuple[str, str], str] = Expiring(clock=clock, capacity=1000)
        self._given: Expiring[str, tuple[str, str]] = Expiring(clock=clock, by_date=True, capacity=1000)
        self._lookups: Shared[tuple[str, str], str] = Shared()
        self._renewals: Shared[tuple[str, str], _Token] = Shared()

    async def header_for(self, url: str) -> str | None:
        """Return the ``Authorization`` value for a URL, None when no App is installed there.

        :param url: a repository's, or an owner's with a slash at its end.

        :raise CredentialUnavailable: when the API can't be asked about one of the Apps, or refuses it, and no other has
            an installation for this repository.
        """
        path = urlsplit(url).path
        parts = path.strip("/").removesuffix(".git").split("/")
        if len(parts) < 2 and not path.endswith("/"):
            return None
        if not all(_NAME.fullmatch(part) and part.strip(".") for part in parts[:2]):
            return None
        where = await self._installation(*map(str.lower, parts[:2]))
        if where is None:
            return None
        try:
            token = await self._token(*where)
        except UpstreamError as failure:
            raise _unavailable(failure) from failure
        key = (where[0].app_id, where[1])
        header = basic(ANYONE, self._former.get(key) or token.value)
        self._given.put(header, key, _FOUND_FOR)
        return header

    async def forget(self, url: str, header: str) -> bool:
        """Have the next token asked for, because the upstream has refused this one; one that is new is waited for.

        :return: whether it may be taken by now.
        """
        key = self._given.get(header)
        token = None if key is None else self._tokens.get(key)
        if key is None or token is None:
            return False
        if header != basic(ANYONE, token.value):
            self._former.forget(key)
        elif (wait := token.settled_at - self._clock.seconds()) > 0:
            await deferLater(self._reactor, wait)
            return True
        else:
            self._tokens.forget(key)
        return False

    async def _installation(self, owner: str, *name: str) -> tuple[GitHubApp, str] | None:
        """Find the App that is installed for a repository, or without a name for an owner.

        What is wrong with one App is no matter of the others.
        """
        failure: UpstreamError | None = None
        for app in self._apps:
            try:
                found = app.installations.get(owner) or await self._look_up(app, "/".join((owner, *name)))
            except UpstreamError as error:
                failure = failure or error
                continue
            if found:
                return app, found
        if failure is not None:
            raise _unavailable(failure) from failure
        return next(((app, app.fallback) for app in self._apps if app.fallback), None)

    async def _look_up(self, app: GitHubApp, repository: str) -> str:
        key = (app.app_id, repository)
        known = self._found.get(key)
        if known is not None:
            return known
        return await self._lookups.run(key, lambda: self._ask_installation(app, repository))

    async def _ask_installation(self, app: GitHubApp, repository: str) -> str:
        for kind in ("repos",) if "/" in repository else ("orgs", "users"):
            try:
                answer = await self._ask(app, "GET", f"/{kind}/{repository}/installation")
            except UpstreamRefused as refusal:
                if refusal.status != 404:
                    raise self._refused(app, refusal) from None
                continue
            found = str(answer.get("id", ""))
            self._found.put((app.app_id, repository), found, _FOUND_FOR)
            return found
        self._found.put((app.app_id, repository), "", _MISSING_FOR)
        return ""

    async def _token(self, app: GitHubApp, installation: str) -> _Token:
        key = (app.app_id, installation)
        kept = self._tokens.get(key)
        if kept is not None and self._clock.now() < kept.renew_at:
            return kept
        try:
            return await self._renewals.run(key, lambda: self._renew(app, installation, kept))
        except CachewError:
            if kept is None:
                raise
            return kept

    async def _renew(self, app: GitHubApp, installation: str, kept: _Token | None) -> _Token:
        try:
            answer = await self._ask(app, "POST", f"/app/installations/{installation}/access_tokens")
            expires = datetime.datetime.fromisoformat(answer["expires_at"]).timestamp()
            life = expires - self._clock.now()
            settled_at = self._clock.seconds() + _SETTLED_AFTER
            token = _Token(str(answer["token"]), expires - min(RENEW_BEFORE, life / 2), settled_at)
        except UpstreamRefused as refusal:
            raise self._refused(app, refusal) from None
        except (KeyError, ValueError, TypeError):
            raise UpstreamUnreachable(self._api, "its answer holds no installation token") from None
        key = (app.app_id, installation)
        self._tokens.put(key, token, life - min(30.0, life / 10))
        if kept is not None:
            self._former.put(key, kept.value, _SETTLED_AFTER)
        return token

    def _refused(self, app: GitHubApp, refusal: UpstreamRefused) -> UpstreamUnreachable:
        if refusal.status == 401:
            # The file may have another key by now.
            self._keys.pop(app.app_id, None)
            self._proofs.forget(app.app_id)
        # a refusal of the server's own proof must never look like a refusal of the client's credential
        what = f"answered {refusal.status} to the GitHub App {app.app_id}"
        said = reason_in(refusal)
        return UpstreamUnreachable(self._api, f"{what}: {said}" if said else what)

    async def _ask(self, app: GitHubApp, method: str, path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {await self._proof(app)}", "Accept": "application/vnd.github+json"}
        answer = await self._questions.ask(method, path, headers)
        if not isinstance(answer, dict):
            raise UpstreamUnreachable(self._api, "its answer is not a JSON object")
        return answer

    async def _proof(self, app: GitHubApp) -> str:
        kept = self._proofs.get(app.app_id)
        if kept is not None:
            return kept
        now = int(self._clock.now())
        # GitHub takes ten minutes at most and asks for a minute of slack for clocks that differ
        claims = {"iat": now - 60, "exp": now + int(_PROOF_FOR), "iss": app.app_id}
        try:
            proof: str = await self._in_thread(self._sign, app, claims)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm, jwt.PyJWTError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not a usable RSA key"
            raise UpstreamUnreachable(self._api, f"the key file {app.key_file} {reason}") from None
        self._proofs.put(app.app_id, proof, _PROOF_FOR - 60)
        return proof

    def _sign(self, app: GitHubApp, claims: dict[str, Any]) -> str:
        key = self._keys.get(app.app_id)
        if key is None:
            loaded = load_pem_private_key(app.key_file.read_bytes(), password=None)
            if not isinstance(loaded, RSAPrivateKey):
                raise ValueError("not an RSA key")
            key = self._keys[app.app_id] = loaded
        return jwt.encode(claims, key, algorithm="RS256")


def _unavailable(failure: UpstreamError) -> CredentialUnavailable:
    kind = CredentialTimeout if isinstance(failure, UpstreamTimeout) else CredentialUnavailable
    return kind(failure.upstream, failure.reason)
