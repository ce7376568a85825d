"""The small object that makes a large one visible in an object store (pure).

The content lies under a name that is used once. The manifest lies under the name that readers look for, and replacing
it is one atomic step, so that nobody ever sees half an object or a mixture of two.
"""

import json
from dataclasses import dataclass, replace

from cachew.cache.interface import ObjectInfo
from cachew.cache.objectrecord import ObjectRecord, is_moment
from cachew.plumbing.errors import CorruptObject

MANIFESTS = "manifests"
CONTENTS = "contents"


def manifest_path(namespace: str, key: str) -> str:
    """Return where an object's manifest lies."""
    return f"{MANIFESTS}/{namespace}/{key}"


def content_path(namespace: str, key: str, nonce: str) -> str:
    """Return where an object's content lies.

    :param nonce: never used before.
    """
    return f"{CONTENTS}/{namespace}/{key}/{nonce}"


def name_in(path: str) -> tuple[str, str] | None:
    """Return namespace and key out of a manifest's or a content's path, None for anything else."""
    parts = path.split("/")
    if (parts[0], len(parts)) in ((MANIFESTS, 3), (CONTENTS, 4)):
        return parts[1], parts[2]
    return None


def content_in(data: bytes) -> str | None:
    """Return where the content lies that a manifest makes visible, None when it is damaged."""
    try:
        content = json.loads(data)["content"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return content if isinstance(content, str) else None


@dataclass(frozen=True)
class Manifest:
    """What a shared store knows of one object: where its content lies, its headers, its end.

    :param record: the object's information and the digests of its blocks.
    :param content: where its content lies.
    :param slides: whether using it puts off its expiry.
    :param used: when a use was last written down, in seconds since the epoch.
    """

    record: ObjectRecord
    content: str
    slides: bool
    used: float

    @property
    def info(self) -> ObjectInfo:
        """What is known of the object."""
        return self.record.info

    def encode(self) -> bytes:
        """Return it as bytes."""
        return self.record.encode(content=self.content, slides=self.slides, used=self.used)

    @classmethod
    def decode(cls, data: bytes, namespace: str, key: str) -> "Manifest":
        """Read what :meth:`encode` gave.

        :raise CorruptObject: when it is not that, or belongs to another object.
        """
        record, fields = ObjectRecord.decode(data)
        content, slides, used = fields.get("content"), fields.get("slides"), fields.get("used")
        if not isinstance(content, str) or not isinstance(slides, bool) or not is_moment(used):
            raise CorruptObject("a manifest is damaged")
        manifest = cls(record, content, slides, used)
        if (record.info.namespace, record.info.key) != (namespace, key):
            raise CorruptObject("a manifest lies under another's name")
        return manifest

    def refreshed(self, now: float, max_ttl: float | None) -> "Manifest | None":
        """Return the manifest after a use.

        :return: None when that isn't worth writing down yet.
        """
        if now - self.used < (86400.0 if max_ttl is None else max_ttl / 2):
            return None
        if not self.slides or max_ttl is None:
            return replace(self, used=now)
        info = replace(self.info, expires=now + max_ttl)
        return replace(self, used=now, record=replace(self.record, info=info))
