"""What every cache is, whatever it stores its objects in.

One contract suite (``tests/contracts``) holds every backend to the MUSTs written here. Objects may go away at any time;
what a cache never does is to give out something that was not stored.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.streams import Source

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
"""What an object stored without headers has."""


@dataclass(frozen=True)
class ObjectInfo:
    """What is known of an object besides its content.

    :param namespace: the namespace it lies in.
    :param key: its key as 64 hex digits (see :mod:`cachew.cache.interface`).
    :param size: bytes of content.
    :param etag: its strong entity tag, without quotes.
    :param headers: what was stored with it, names as they were given.
    :param modified: when its content was stored first, in seconds since the epoch.
    :param expires: when it goes, in seconds since the epoch; None for never.
    :param digest: the SHA-256 of its content, in hex.
    """

    namespace: str
    key: str
    size: int
    etag: str
    headers: Mapping[str, str]
    modified: float
    expires: float | None
    digest: str = ""


@dataclass(frozen=True)
class Stats:
    """How full a cache is.

    :param objects: how many objects are visible.
    :param size: bytes of their content.
    :param capacity: bytes that it may hold, 0 when it has no bound of its own.
    """

    objects: int
    size: int
    capacity: int


class ObjectOptions(TypedDict, total=False):
    """What may be said of an object when it is begun; nothing of it has to be.

    :param headers: to be stored and given back.
    :param size: how many bytes its content has, as far as that is known: a cache that can't make room for them should
        refuse at once, before anything is written or removed.
    :param ttl: seconds until it expires; the cache's maximum MUST cap it, and holds when it is None.
    :param etag: its entity tag without quotes; the SHA-256 of the content when None.
    :param digest: the SHA-256 that the content has to have, in hex; anything goes when None.
    :param modified: when the content was first stored, for a copy from another cache; the present when None.
    :param spool: a file of the caller's to which he writes the same bytes, and which is whole when the object is
        committed: a cache on the same file system may take it for its own instead of writing all of it again.
    :param unless_replaced: whether it is stored only if nobody has stored another in its place since it was begun;
        storage that replicas share MUST heed it, also when this process has stood still for a while.
    """

    headers: Mapping[str, str]
    size: int | None
    ttl: float | None
    etag: str | None
    digest: str | None
    modified: float | None
    unless_replaced: bool
    spool: Path


class Entry(Protocol):
    """An object opened for reading.

    It MUST go on giving the content it was opened with when the object is replaced, deleted or evicted meanwhile, or
    fail; it MUST never give other bytes.
    """

    @property
    def info(self) -> ObjectInfo:
        """What is known of the object."""

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a stream over a part of the content; may be called any number of times before :meth:`close`.

        Reading MUST raise rather than end early or give bytes that were not stored.

        :param offset: where it begins, in bytes, at most the object's size.
        :param length: its bytes; None, or more than there are, means up to the end.
        """

    def close(self) -> None:
        """Give the entry up; sources taken from it go on working. May be called more than once."""


class Writer(Protocol):
    """An object on its way in. Exactly one of :meth:`commit` and :meth:`abort` ends it."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes; returns when more are welcome.

        :raise TooLarge: when the object cannot fit into the cache.
        :raise StorageUnavailable: when the storage fails. The writer is still to be aborted.
        """

    async def commit(self) -> ObjectInfo:
        """Make the object visible, replacing any other under its key.

        Nobody MUST see the object before this, nor anything but the whole of it after.

        :return: what readers will see.
        :raise CorruptObject: when the content is not what ``digest`` promised.
        :raise Conflict: when it was to be stored ``unless_replaced``, and was.
        :raise StorageUnavailable: when the storage fails; the object is not visible then.
        """

    async def abort(self) -> None:
        """Forget what was written; it MUST leave no trace. Harmless after :meth:`commit` and a second time."""


class Cache(Protocol):
    """Objects by namespace and key.

    A namespace or key that breaks the rules of :mod:`cachew.cache.interface` raises
    :class:`~cachew.plumbing.errors.BadRequest` everywhere. A storage that fails raises
    :class:`~cachew.plumbing.errors.StorageUnavailable`.
    """

    async def start(self) -> None:
        """Open the storage; nothing else may be called before."""

    async def stop(self) -> None:
        """Write down what is still in memory and let go of the storage. Open entries stay readable."""

    async def open(self, namespace: str, key: str) -> Entry | None:
        """Open an object, which counts as a use of it.

        :return: an entry that the caller closes; None when there is no such object. An expired one MUST NOT be given.
        """

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object, without its content. Counts as a use; an expired one MUST NOT be given."""

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> Writer:
        """Begin an object. Of several writers under one key the last to commit wins.

        :param options: what else is known of it.
        """

    async def delete(self, namespace: str, key: str) -> bool:
        """Remove an object for everybody, at once and whole.

        :return: whether there was one.
        """

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove a local copy of an object; storage that is shared with others MUST keep it.

        :return: whether there was a local copy.
        """

    async def stats(self) -> Stats:
        """Count the visible objects."""

    async def namespaces(self) -> list[str]:
        """Return the names of the namespaces that have visible objects, sorted."""

    async def sweep(self) -> None:
        """Remove what has expired and what nobody can see any more; to be called now and then."""


@runtime_checkable
class Adopting(Protocol):
    """A cache that takes a caller's spool for its own (:class:`ObjectOptions`), which only one can do."""

    adopts_spools: bool


@runtime_checkable
class Scrubbed(Protocol):
    """A cache whose storage may forget what it holds without a word."""

    def scrub(self, pace: Callable[[int], Awaitable[object]]) -> Coroutine[Any, Any, None]:
        """Read everything; what is damaged is removed.

        :param pace: awaited after each piece with the bytes that were read.
        """


_NAMESPACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_ETAG = re.compile(r"[A-Za-z0-9._:/+=-]+")
_REMEMBERED = 1000
LONGEST_NAMESPACE = 128
"""Characters that a namespace may have: it is a directory's name."""


def namespace_name(namespace: str) -> str:
    """Return a namespace that is well formed.

    :raise BadRequest: when it is not.
    """
    if len(namespace) > LONGEST_NAMESPACE or not _NAMESPACE.fullmatch(namespace):
        raise BadRequest(
            "a namespace begins with a letter or a digit, goes on with letters, digits, '_' and '-', "
            f"and has at most {LONGEST_NAMESPACE} characters"
        )
    return namespace


def object_key(key: str) -> str:
    """Return the 64 lower-case hex digits that stand for a key.

    :param key: 64 hex digits, taken as they are, or any other text, of which this is the SHA-256.
    :raise BadRequest: when it is empty or not encodable.
    """
    if not key:
        raise BadRequest("the key is empty")
    if _DIGEST.fullmatch(key):
        return key.lower()
    try:
        return hashlib.sha256(key.encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise BadRequest("the key is not UTF-8") from error


@lru_cache(maxsize=_REMEMBERED)
def object_name(namespace: str, key: str) -> tuple[str, str]:
    """Return under which namespace and key an object is stored; each tier asks for the same one.

    :raise BadRequest: when either is not well formed.
    """
    return namespace_name(namespace), object_key(key)


def entity_tag(etag: str) -> str:
    """Return an entity tag (RFC 9110, section 8.8.3, without its quotes) that is well formed.

    :raise BadRequest: when it is not.
    """
    if not _ETAG.fullmatch(etag):
        raise BadRequest("an ETag consists of ASCII letters, digits and ._-:/+=")
    return etag
