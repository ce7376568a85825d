"""The LFS side of the test upstream: the batch request and the storage it points to.

Source: git-lfs ``docs/api/batch.md`` and ``docs/api/basic-transfers.md``.
"""

import hashlib
import json
from dataclasses import dataclass
from urllib.parse import quote

from tests.functional.canary import marked
from tests.functional.exchanges import Exchange

MEDIA_TYPE = "application/vnd.git-lfs+json"


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    body: bytes
    content_type: str = MEDIA_TYPE


class LfsStore:
    """LFS objects per repository, in memory.

    :param token: what the storage wants to see, given to whoever the batch request was allowed to.

    ``said`` is what an action says besides, or instead of, what it usually does.
    """

    def __init__(self, *, token: str = f"RemoteAuth {marked('storage')}") -> None:
        self.objects: dict[str, dict[str, bytes]] = {}
        self.said: dict[str, object] = {}
        self.token = token

    def put(self, repository: str, data: bytes) -> str:
        """Store an object and return its oid."""
        oid = hashlib.sha256(data).hexdigest()
        self.objects.setdefault(repository, {})[oid] = data
        return oid

    def answer(self, exchange: Exchange, body: bytes, *, url: str, may_push: bool) -> Answer:
        """Answer a request below ``info/lfs/``.

        :param body: the whole body.
        :param url: the upstream's own address.
        :param may_push: whether uploads are allowed.
        """
        if exchange.operation == "info/lfs/objects/batch" and exchange.method == "POST":
            return self._batch(exchange.repository, json.loads(body), url=url, may_push=may_push)
        if exchange.kind == "lfs-object":
            return self._storage(exchange, body)
        return Answer(404, b'{"message": "not here"}')

    def _batch(self, repository: str, request: dict[str, object], *, url: str, may_push: bool) -> Answer:
        operation = request["operation"]
        if operation == "upload" and not may_push:
            return Answer(403, b'{"message": "read only"}')
        wanted = request["objects"]
        assert isinstance(wanted, list)
        entries = [self._entry(repository, str(operation), one, url) for one in wanted]
        return Answer(200, json.dumps({"transfer": "basic", "objects": entries, "hash_algo": "sha256"}).encode())

    def _entry(self, repository: str, operation: str, wanted: dict[str, object], url: str) -> dict[str, object]:
        oid = str(wanted["oid"])
        have = oid in self.objects.get(repository, {})
        entry: dict[str, object] = {"oid": oid, "size": wanted["size"], "authenticated": True}
        if operation == "download" and not have:
            return entry | {"error": {"code": 404, "message": "no such object"}}
        if operation == "upload" and have:
            return entry
        href = f"{url}{quote(repository)}.git/info/lfs/storage/{oid}"
        action = {"href": href, "header": {"Authorization": self.token}}
        return entry | {"actions": {operation: action | self.said}}

    def _storage(self, exchange: Exchange, body: bytes) -> Answer:
        oid = exchange.operation.rpartition("/")[2]
        if exchange.headers.get("authorization") != self.token:
            return Answer(403, b"no batch request has allowed this", "text/plain")
        if exchange.method == "PUT":
            stored = self.put(exchange.repository, body) == oid
            return Answer(200 if stored else 422, b"", "text/plain")
        data = self.objects.get(exchange.repository, {}).get(oid)
        return Answer(404, b"", "text/plain") if data is None else Answer(200, data, "application/octet-stream")
