"""Push events of forges: a checked event makes the mirror of the pushed repository fetch at once.

GitHub and Gitea sign the body with a shared secret (HMAC-SHA256), GitLab sends a token. An endpoint whose secret is
not configured does not exist.
"""

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs

from klein import Klein
from twisted.logger import Logger

from cachew.mirrors.identity import CASE_MATTERS, Grammar, Identity
from cachew.plumbing.errors import BadRequest, Forbidden, NotFound
from cachew.plumbing.jobs import Slots
from cachew.web.app import allow_methods
from cachew.web.forms import header
from cachew.web.status import Operations

LARGEST_BODY = 25 * 1024 * 1024
"""GitHub caps its payloads at 25 MB."""

_EVENT_HEADERS = {"github": "X-GitHub-Event", "gitlab": "X-Gitlab-Event", "gitea": "X-Gitea-Event"}
_AT_A_TIME = 4
_PUSHES = frozenset({"push", "create", "delete", "push hook", "tag push hook"})
_URL_KEYS = ("clone_url", "git_http_url", "http_url", "html_url", "web_url")


class WebhookRoutes:
    """The routes ``POST /webhook/github``, ``/webhook/gitlab`` and ``/webhook/gitea``.

    :param operations: who is told of pushes.
    :param secrets: each forge's secret, None to leave its route closed.
    :param hosts: from the host of a repository's URL to the host that clients write; others stay as they are.
    :param grammar: how repositories are named.
    """

    log = Logger()

    def __init__(
        self,
        *,
        operations: Operations,
        secrets: dict[str, str | None],
        hosts: dict[str, str] | None = None,
        grammar: Grammar = CASE_MATTERS,
    ) -> None:
        self._grammar = grammar
        self._operations, self._hosts = operations, hosts or {}
        self._secrets = {forge: secret.encode() for forge, secret in secrets.items() if secret}
        # A body is held in memory before its signature can be checked.
        self._slots = Slots(limit=_AT_A_TIME, queue_limit=100)

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/webhook/<forge>")(self.event)

    async def event(self, request: Any, forge: str) -> bytes:
        """Check an event; if it is a push, have the mirror fetch."""
        allow_methods(request, "POST")
        secret = self._secrets.get(forge)
        if secret is None or forge not in _EVENT_HEADERS:
            raise NotFound("no such webhook; set its secret in [webhook]")
        if forge == "gitlab":
            # The token is a header: whoever lacks it is refused before the body is read.
            _check_token(request, secret)
        async with self._slots.take(forge):
            body = await request.read_body(LARGEST_BODY)
            if forge != "gitlab":
                _check_signature(request, forge, body, secret)
        if header(request, _EVENT_HEADERS[forge]).lower() not in _PUSHES:
            return b"ignored\n"
        identity = self._identity(pushed_repository(body))
        self.log.info("{forge} says that {repository} was pushed to", forge=forge, repository=identity.name)
        if not await self._operations.pushed(identity):
            return b"this repository is not mirrored here\n"
        request.setResponseCode(202)
        return b"fetching\n"

    def _identity(self, url: str) -> Identity:
        identity = Identity.from_url(url)
        return self._grammar.normal(Identity(self._hosts.get(identity.host, identity.host), identity.path))


def pushed_repository(body: bytes) -> str:
    """Return the URL of the repository that an event is about.

    :param body: JSON, or a form with the JSON in its field ``payload``, which GitHub sends unless told otherwise.
    :raise BadRequest: when the body is not such an event.
    """
    try:
        if body.startswith(b"payload="):
            body = parse_qs(body, max_num_fields=1)[b"payload"][0]
        event = json.loads(body)
        repository = event.get("project") or event["repository"]
        return next(str(repository[key]) for key in _URL_KEYS if repository.get(key))
    except (ValueError, KeyError, AttributeError, TypeError, StopIteration, RecursionError):
        raise BadRequest("not a push event as JSON with the repository's URL") from None


def _check_signature(request: Any, forge: str, body: bytes, secret: bytes) -> None:
    name = "X-Hub-Signature-256" if forge == "github" else "X-Gitea-Signature"
    given = header(request, name).removeprefix("sha256=")
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise Forbidden(f"{name} does not match the body")


def _check_token(request: Any, secret: bytes) -> None:
    if not hmac.compare_digest(header(request, "X-Gitlab-Token").encode(), secret):
        raise Forbidden("X-Gitlab-Token is wrong")
