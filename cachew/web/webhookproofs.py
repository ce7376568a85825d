"""How forges prove that an event is theirs.

GitHub, Gitea and Bitbucket sign the body with a shared secret (HMAC-SHA256, in hex). GitLab sends the secret itself, or
signs what Standard Webhooks has signed when the secret is a signing token (gitlab-org/gitlab!230944). Azure DevOps logs
in with a password ("Webhooks" in the documentation of its service hooks). Gitee sends a password, or what it has signed
of a time with it, and nothing of the event (https://help.gitee.com/webhook/how-to-verify-webhook-keys). That an event
may come twice is no matter: all that it does is to have an upstream asked.
"""

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from cachew.http.incoming import Body
from cachew.http.requests import StreamingRequest
from cachew.plumbing.errors import BadRequest, Forbidden
from cachew.web.forgeevents import form_payload
from cachew.web.forms import header

FORM = "application/x-www-form-urlencoded"
_SIGNING_TOKEN = "whsec_"
_PING = "diagnostics:ping"


@dataclass(frozen=True)
class ForgeHeaders:
    """What a forge's requests tell in headers.

    :param events: the names of those that name the event; none where only the body does.
    :param signatures: the names of those that may hold its signature.
    """

    events: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()


FORGES: Mapping[str, ForgeHeaders] = {
    "github": ForgeHeaders(("X-GitHub-Event",), ("X-Hub-Signature-256",)),
    "gitlab": ForgeHeaders(("X-Gitlab-Event",)),
    "gitea": ForgeHeaders(
        ("X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event"),
        ("X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature", "X-Hub-Signature-256"),
    ),
    "bitbucket": ForgeHeaders(("X-Event-Key",), ("X-Hub-Signature",)),
    "azure-devops": ForgeHeaders(),
    "gitee": ForgeHeaders(("X-Gitee-Event",)),
}
"""The forges whose events are taken, by the names of their routes."""


def event_name(request: StreamingRequest, forge: str) -> str | None:
    """Return what a forge calls its event, None where only the body tells."""
    names = FORGES[forge].events
    return _first(request, names) if names else None


def is_form(request: StreamingRequest) -> bool:
    """Say whether an event comes in a form."""
    return header(request, "Content-Type").partition(";")[0].strip().lower() == FORM


def is_test(request: StreamingRequest, forge: str) -> bool:
    """Say whether a request only tries whether somebody is there: Bitbucket's may come without its signature."""
    signed = _first(request, FORGES[forge].signatures)
    return forge == "bitbucket" and not signed and header(request, "X-Event-Key") == _PING


def require_head(request: StreamingRequest, forge: str, secret: bytes) -> None:
    """Refuse who lacks a proof that stands in the head, before the body is read.

    :raise Forbidden: then.
    """
    if forge == "gitlab" and _signing_key(secret) is None:
        if not hmac.compare_digest(header(request, "X-Gitlab-Token").encode(), secret):
            raise Forbidden("X-Gitlab-Token is wrong")
    elif forge == "gitee" and not _is_of_gitee(request, secret):
        raise Forbidden("X-Gitee-Token is wrong")
    elif forge == "azure-devops" and not hmac.compare_digest(_password(header(request, "Authorization")), secret):
        raise Forbidden("the password is wrong")


def signature_of(request: StreamingRequest, forge: str, secret: bytes) -> "Signature | None":
    """Return what an event's body is to be compared with, None where its head has proven it."""
    if FORGES[forge].signatures:
        given = _first(request, FORGES[forge].signatures)
        of_payload = is_form(request) and forge == "gitea"
        return Signature([given.removeprefix("sha256=").lower()], secret, of_payload=of_payload)
    key = _signing_key(secret) if forge == "gitlab" else None
    if key is None:
        return None
    before = f"{header(request, 'webhook-id')}.{header(request, 'webhook-timestamp')}."
    signed = [one.removeprefix("v1,") for one in header(request, "webhook-signature").split() if one.startswith("v1,")]
    return Signature(signed, key, before=before.encode(), in_hex=False)


class Signature:
    """An event's signature.

    :param given: those that it came with, one of which is enough.
    :param key: the shared secret.
    :param before: what is signed before the body.
    :param in_hex: whether it is written in hex, else in Base64.
    :param of_payload: whether a form's payload may be what was signed, instead of the form.
    """

    def __init__(
        self, given: list[str], key: bytes, *, before: bytes = b"", in_hex: bool = True, of_payload: bool = False
    ) -> None:
        self._given = [one.encode() for one in given]
        self._key = key
        self._before = before
        self._in_hex = in_hex
        self._of_payload = of_payload

    def require(self, body: Body) -> None:
        """Check a body (blocking).

        :raise Forbidden: when the signature is not of it.
        """
        if self._is_of(body.pieces()):
            return
        if self._of_payload and (payload := _payload_of(body)) and self._is_of([payload]):
            return
        raise Forbidden("the event's signature does not match its body")

    def _is_of(self, pieces: Iterable[bytes]) -> bool:
        signed = hmac.new(self._key, self._before, hashlib.sha256)
        for piece in pieces:
            signed.update(piece)
        expected = signed.hexdigest().encode() if self._in_hex else b64encode(signed.digest())
        return any(hmac.compare_digest(one, expected) for one in self._given)


def _first(request: StreamingRequest, names: tuple[str, ...]) -> str:
    return next(filter(None, (header(request, name) for name in names)), "")


def _payload_of(form: Body) -> bytes:
    try:
        return form_payload(b"".join(form.pieces()))
    except BadRequest:
        return b""


def _signing_key(secret: bytes) -> bytes | None:
    """Return the key that a signing token of GitLab's holds, None when a secret is none."""
    if not secret.startswith(_SIGNING_TOKEN.encode()):
        return None
    try:
        return b64decode(secret.removeprefix(_SIGNING_TOKEN.encode()), validate=True) or None
    except binascii.Error:
        return None


def _is_of_gitee(request: StreamingRequest, secret: bytes) -> bool:
    shown = header(request, "X-Gitee-Token").encode()
    moment = header(request, "X-Gitee-Timestamp").encode()
    signed = b64encode(hmac.digest(secret, moment + b"\n" + secret, "sha256"))
    return hmac.compare_digest(shown, secret) or hmac.compare_digest(unquote_to_bytes(shown), signed)


def _password(shown: str) -> bytes:
    """Return the password of an ``Authorization``, empty when there is none."""
    scheme, _, said = shown.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return b64decode(said.strip(), validate=True).partition(b":")[2]
    except (ValueError, binascii.Error):
        return b""
