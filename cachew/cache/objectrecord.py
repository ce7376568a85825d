"""What is written down with an object's content: its information and the digests of its blocks (pure)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard, Unpack

from cachew.cache.blocks import Blocks, ContentDigest
from cachew.cache.eviction import lifetime
from cachew.cache.interface import NO_HEADERS, ObjectInfo, ObjectOptions, entity_tag, namespace_name, object_key
from cachew.plumbing.errors import CorruptObject

_END_OF_9999 = 253402300800


@dataclass(frozen=True)
class ObjectRecord:
    """An object's information and the digests of its blocks."""

    info: ObjectInfo
    blocks: Blocks

    def encode(self, **more: Any) -> bytes:
        """Return it as JSON.

        :param more: further fields of the storage's own.
        """
        fields = {**asdict(self.info), "checks": self.blocks.to_text(), **more}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> tuple["ObjectRecord", dict[str, Any]]:
        """Read what :meth:`encode` gave.

        :return: the record, and all fields as they were written.
        :raise CorruptObject: when it is not that.
        """
        try:
            fields = json.loads(data)
            info = ObjectInfo(**{name: fields[name] for name in ObjectInfo.__dataclass_fields__})
            record = cls(info, Blocks.from_text(info.size, fields["checks"]))
            if not _well_typed(info) or not record.blocks.consistent:
                raise ValueError("fields do not fit together")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptObject(f"the record of a stored object is damaged: {error}") from error
        return record, fields


@dataclass(frozen=True)
class WriteTerms:
    """What a writer was created with; every backend makes its objects' information out of this."""

    namespace: str
    key: str
    headers: Mapping[str, str]
    ttl: float | None
    etag: str | None
    digest: str | None
    modified: float | None

    @classmethod
    def checked(
        cls, namespace: str, key: str, *, max_ttl: float | None, **options: Unpack[ObjectOptions]
    ) -> "WriteTerms":
        """Return terms whose names are well formed and whose time to live is capped.

        :raise BadRequest: when a name or the entity tag is malformed.
        """
        etag = options.get("etag")
        return cls(
            namespace_name(namespace),
            object_key(key),
            headers=options.get("headers", NO_HEADERS),
            ttl=lifetime(options.get("ttl"), max_ttl),
            etag=None if etag is None else entity_tag(etag),
            digest=options.get("digest"),
            modified=options.get("modified"),
        )

    def record(self, written: ContentDigest, now: float) -> ObjectRecord:
        """Return the record of the content that ``written`` has seen.

        :param now: seconds since the epoch.
        :raise CorruptObject: when it is not the content that was promised.
        """
        digest = written.digest
        if self.digest is not None and digest != self.digest.lower():
            raise CorruptObject(f"content has SHA-256 {digest}, promised was {self.digest}")
        info = ObjectInfo(
            namespace=self.namespace,
            key=self.key,
            size=written.size,
            etag=self.etag or digest,
            headers=dict(self.headers),
            modified=now if self.modified is None else self.modified,
            expires=None if self.ttl is None else now + self.ttl,
            digest=digest,
        )
        return ObjectRecord(info, written.blocks())


def live(info: ObjectInfo, now: float) -> bool:
    """Whether an object has not expired."""
    return info.expires is None or now < info.expires


def _well_typed(info: ObjectInfo) -> bool:
    texts = (info.namespace, info.key, info.etag, info.digest, *info.headers, *info.headers.values())
    numbers = (info.modified, 0 if info.expires is None else info.expires)
    return all(isinstance(text, str) for text in texts) and all(map(is_moment, numbers)) and type(info.size) is int


def is_moment(value: object) -> TypeGuard[float]:
    """Whether something is a time, in seconds since the epoch, that HTTP can tell."""
    return isinstance(value, int | float) and abs(value) < _END_OF_9999
