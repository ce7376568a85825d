"""``POST …/ensure-refs``: a client says what it needs and waits until the server has it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cachew.http.requests import StreamingRequest
from cachew.mirrors.mirroring import Mirroring
from cachew.mirrors.refs import valid_name
from cachew.mirrors.wants import MOST_IDS, Asker, Ensured, Supply
from cachew.plumbing.errors import BadRequest, Busy, TooMany
from cachew.web.access.guard import Right

_TRIES = 3
_LIMIT = 4 * 1024 * 1024
_OID = re.compile(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}")


@dataclass(frozen=True)
class Needs:
    """What a client needs.

    :param refs: ref names with the object id each must have, empty for any; none but full ones and HEAD exist.
    :param commits: object ids that must be there.
    """

    refs: Mapping[str, str]
    commits: tuple[str, ...]


def parse_needs(body: bytes) -> Needs:
    """Read the request's JSON; empty commits, as come from an unset variable, ask for nothing.

    :raise BadRequest: when it is malformed or asks for nothing.
    :raise TooMany: when it asks for more than one request may.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    refs, commits = document.get("refs"), document.get("commits")
    # A client in Go sends null for what it doesn't ask for.
    refs, commits = ({} if refs is None else refs), ([] if commits is None else commits)
    if not isinstance(refs, dict) or not isinstance(commits, list):
        raise BadRequest("'refs' must be an object and 'commits' a list")
    if len(refs) + len(commits) > MOST_IDS:
        raise TooMany(
            f"{len(refs) + len(commits)} refs and commits are more than the {MOST_IDS} that one request may ask for"
        )
    for name, oid in refs.items():
        if not _is_name(name):
            raise BadRequest(f"{name[:200]!r} is not a ref name")
        if oid != "" and not _is_oid(oid):
            raise BadRequest(f"the value of {name[:200]!r} is neither empty nor a full object id")
    for oid in commits:
        if oid != "" and not _is_oid(oid):
            raise BadRequest(f"{str(oid)[:100]!r} is not a full object id")
    if not refs and not commits:
        raise BadRequest("at least one of 'refs' and 'commits' must be given")
    return Needs({name: oid.lower() for name, oid in refs.items()}, tuple(oid.lower() for oid in commits if oid))


def _is_name(name: str) -> bool:
    try:
        return valid_name(name)
    except UnicodeEncodeError:  # JSON can name halves of characters, which stand for no bytes
        return False


def _is_oid(value: object) -> bool:
    return isinstance(value, str) and _OID.fullmatch(value) is not None


class EnsureRefs:
    """The route.

    :param mirroring: has the mirrors made where objects come into.
    :param supply: how they do.
    :param client_of: tells a request's client.
    :param patience: seconds that is waited until it is certain that a repository is still the same.
    """

    def __init__(
        self, *, mirroring: Mirroring, supply: Supply, client_of: Callable[[Any], str], patience: float
    ) -> None:
        self._mirroring = mirroring
        self._supply = supply
        self._client_of = client_of
        self._patience = patience

    async def handle(self, request: StreamingRequest, right: Right) -> None:
        """Answer the request.

        :raise BadRequest: when the body is malformed.
        :raise TooMany: when it asks for more than one request may.
        :raise TooOften: when its client has asked for more than it may in a minute.
        :raise UpstreamError: when the upstream had to be asked and failed.
        """
        needs = parse_needs(await request.read_body(_LIMIT, encoding=request.getHeader("content-encoding")))
        await self._mirroring.made(right.identity)
        ensured = await self._ensured(request, await right.settled(self._patience), needs)
        body = json.dumps(_document(ensured)).encode()
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Content-Length", str(len(body)).encode())
        request.write(body)

    async def _ensured(self, request: StreamingRequest, right: Right, needs: Needs) -> Ensured:
        """Have what is needed, and see that it was of the repository to which the request has a right."""
        for _ in range(_TRIES):
            right = await (await right.renewed()).settled(self._patience)
            mirror = await self._mirroring.made(right.identity)
            if not right.covers(mirror):
                continue
            asker = Asker(self._client_of(request), right.authorization)
            ensured = await self._supply.ensure(mirror, needs.refs, needs.commits, asker)
            right = await (await right.renewed()).settled(self._patience)
            if right.covers(mirror):
                return ensured
        raise Busy(f"{right.identity.name} is becoming another repository, try again")


def _document(ensured: Ensured) -> dict[str, object]:
    return {
        "refs": dict(ensured.refs),
        "missing_commits": list(ensured.missing_commits),
        "fetched": ensured.fetched,
    }
