"""The Git LFS batch API as far as downloads can be taken over (pure).

An upstream's answer to a `download` batch says where its storage has each object. Whatever of it can be taken over is
changed to an address of this server; everything else stays as it came, so that a client is never worse off.

Source: git-lfs ``docs/api/batch.md`` and ``docs/api/basic-transfers.md``.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MEDIA_TYPE = "application/vnd.git-lfs+json"
LONGEST = 3600.0
"""The longest that an address is good for, in seconds, though the upstream's own be good for longer."""
USUAL = 900.0
"""How long an address is good for, in seconds, when the upstream says nothing about its own."""

_OID = re.compile(r"[0-9a-f]{64}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,8192}")
_BASIC = (None, "", "basic")
_SHA256 = (None, "", "sha256")


@dataclass(frozen=True)
class WantedObject:
    """An object as a client asks for it.

    :param oid: its SHA-256, 64 hex digits in lower case.
    :param size: its bytes.
    """

    oid: str
    size: int

    def __str__(self) -> str:
        return f"LFS object {self.oid} of {self.size} bytes"


@dataclass(frozen=True)
class LfsDownload:
    """An object that the upstream lets the client download.

    :param href: where the upstream has it.
    :param headers: what its storage wants to be shown.
    :param seconds: how long that is good for, at most :data:`LONGEST`.
    """

    wanted: WantedObject
    href: str
    headers: tuple[tuple[str, str], ...]
    seconds: float


@dataclass(frozen=True)
class Address:
    """Where the client shall get an object instead.

    :param href: where.
    :param headers: what to show there.
    :param authenticated: whether it needs no credentials besides.
    """

    href: str
    headers: Mapping[str, str]
    authenticated: bool


def is_oid(text: str) -> bool:
    """Whether a text is an object's id."""
    return _OID.fullmatch(text) is not None


def wanted_in(body: bytes) -> frozenset[WantedObject]:
    """Return what a batch request wants to download by the basic transfer; nothing when it is any other request."""
    request = _document(body)
    transfers = request.get("transfers")
    basic = not isinstance(transfers, list) or not transfers or "basic" in transfers
    if request.get("operation") != "download" or not basic or request.get("hash_algo") not in _SHA256:
        return frozenset()
    return frozenset(wanted for one in _objects(request) if (wanted := _wanted(one)) is not None)


def asking_for(*wanted: WantedObject) -> bytes:
    """Return a batch request for downloads."""
    return json.dumps(
        {
            "operation": "download",
            "transfers": ["basic"],
            "objects": [{"oid": one.oid, "size": one.size} for one in wanted],
            "hash_algo": "sha256",
        }
    ).encode()


def allows(body: bytes, wanted: WantedObject, *, now: float) -> bool:
    """Say whether the answer to a batch request lets an object be downloaded.

    :param now: the time of day, in seconds since the epoch.
    """
    return wanted in downloads_in(body, now=now)


def downloads_in(body: bytes, *, now: float) -> dict[WantedObject, LfsDownload]:
    """Return what the answer to a batch request lets be downloaded.

    :param now: the time of day, in seconds since the epoch.
    """
    answer = _document(body)
    if answer.get("transfer") not in _BASIC or answer.get("hash_algo") not in _SHA256:
        return {}
    found = (_download(entry, now) for entry in _objects(answer))
    return {download.wanted: download for download in found if download is not None}


def take_over(
    body: bytes, *, wanted: frozenset[WantedObject], now: float, address_of: Callable[[LfsDownload], Address | None]
) -> bytes | None:
    """Change the addresses in the answer to a batch request.

    :param body: the upstream's answer.
    :param wanted: what was asked for; nothing else is changed.
    :param now: the time of day, in seconds since the epoch.
    :param address_of: says where a download is had instead, None when it is to stay.
    :return: the changed answer, None when nothing in it is to be changed.
    """
    answer = _document(body)
    if answer.get("transfer") not in _BASIC or answer.get("hash_algo") not in _SHA256:
        return None
    changed = False
    for entry in _objects(answer):
        download = _download(entry, now)
        address = address_of(download) if download is not None and download.wanted in wanted else None
        if address is not None:
            _redirect(entry, address, now)
            changed = True
    return json.dumps(answer, separators=(",", ":")).encode() if changed else None


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _objects(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    objects = document.get("objects")
    return [one for one in objects if isinstance(one, dict)] if isinstance(objects, list) else []


def _wanted(entry: Mapping[str, Any]) -> WantedObject | None:
    oid, size = entry.get("oid"), entry.get("size")
    if not isinstance(oid, str) or not is_oid(oid) or type(size) is not int or not 0 <= size < 2**63:
        return None
    return WantedObject(oid, size)


def _download(entry: Mapping[str, Any], now: float) -> LfsDownload | None:
    wanted, actions = _wanted(entry), entry.get("actions")
    action = actions.get("download") if isinstance(actions, dict) and not entry.get("error") else None
    if wanted is None or not isinstance(action, dict) or not isinstance(href := action.get("href"), str):
        return None
    headers, seconds = _headers(action.get("header")), _seconds(action, now)
    if headers is None or seconds is None or seconds <= 0:
        return None
    return LfsDownload(wanted, href, headers, min(seconds, LONGEST))


def _headers(given: object) -> tuple[tuple[str, str], ...] | None:
    if given is None:
        return ()
    if not isinstance(given, dict):
        return None
    for name, value in given.items():
        if not isinstance(value, str) or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            return None
    return tuple(given.items())


def _seconds(action: Mapping[str, Any], now: float) -> float | None:
    """Return how long an action is good for; None when what it says makes no sense."""
    within, until = action.get("expires_in"), action.get("expires_at")
    if within:
        return float(within) if type(within) in (int, float) and abs(within) < 1e12 else None
    if not until:
        return USUAL
    try:
        date = datetime.fromisoformat(until)
    except (TypeError, ValueError):
        return None
    if date.year == 1:  # what Go calls no time at all
        return USUAL
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now


def _redirect(entry: dict[str, Any], address: Address, now: float) -> None:
    action = entry["actions"]["download"]
    seconds = _seconds(action, now) or USUAL
    kept = {name: value for name, value in action.items() if name not in ("href", "header", "expires_in", "expires_at")}
    expires_in = max(1, int(min(seconds, LONGEST)))
    entry["actions"]["download"] = kept | {
        "href": address.href,
        "header": dict(address.headers),
        "expires_in": expires_in,
    }
    if address.authenticated:
        entry["authenticated"] = True
    else:
        entry.pop("authenticated", None)
