"""A bucket of an object store: blocking calls made in threads, failures told in the house's own terms.

The threads should be a pool of their own: a store that hangs holds one for as long as its timeout allows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore
from twisted.logger import Logger

from cachew.plumbing import tracing
from cachew.plumbing.errors import Conflict, StorageRefused, StorageUnavailable
from cachew.plumbing.storereading import range_of, small_object, strong
from cachew.plumbing.storewords import StoreWords
from cachew.plumbing.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")

PART = 8 * 1024 * 1024
"""Bytes of one part of a multipart upload; S3 allows ten thousand of them."""
_PARTS_AT_ONCE = 2


@dataclass(frozen=True)
class ListedObject:
    """An object in a listing.

    :param path: its name.
    :param size: its bytes.
    :param version: changes whenever its content changes.
    """

    path: str
    size: int
    version: str


class Upload(Protocol):
    """A multipart upload; blocks."""

    def write(self, buffer: bytes, /) -> int:
        """Take the next bytes."""

    def close(self) -> None:
        """Complete it."""


class StoreFailed(StorageUnavailable):
    """An object store failed.

    :param said: what it said.
    """

    def __init__(self, said: StoreWords) -> None:
        super().__init__(f"the object store failed ({said.brief})")
        self.said = said


class Bucket:
    """A bucket of an object store, whose blocking calls are made in threads.

    :param store: the store, as obstore knows it.
    :param threads: where its calls are made.
    :param plain: the same, asked with less, for a store that doesn't know checksums in headers.
    """

    log = Logger()

    def __init__(self, *, store: ObjectStore, threads: Threads, plain: ObjectStore | None = None) -> None:
        self._store, self._threads = store, threads
        self._plain = plain
        self._heeds_conditions = True

    async def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make one blocking call in a thread.

        :raise FileNotFoundError: when there is no such object.
        :raise Conflict: when a condition didn't hold.
        :raise StorageUnavailable: when the store fails in any other way.
        """
        try:
            with tracing.spanning(f"store {getattr(function, '__name__', 'call')}", leaves=True):
                return await self._threads(function, *args, **kwargs)
        except FileNotFoundError as error:
            # Whoever is told that an object is not there removes the copies of it that he has.
            if StoreWords.of(error).code != "NoSuchBucket":
                raise
            raise _without_bucket(self.log) from error
        except (AlreadyExistsError, PreconditionError) as error:
            raise Conflict("somebody else changed the record first") from error
        except (BaseError, OSError) as error:
            said = StoreWords.of(error)
            self.log.warn("object store: {reason}", reason=said.text)
            raise StoreFailed(said) from error

    async def send(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make one blocking call that stores, removes or lists something: its absence says nothing of an object.

        :raise Conflict: when a condition didn't hold.
        :raise StorageRefused: when the store lets us read at most.
        :raise StorageUnavailable: when the store fails, also by saying that there is no such bucket.
        """
        try:
            return await self.call(function, *args, **kwargs)
        except FileNotFoundError as error:
            raise _without_bucket(self.log) from error
        except StoreFailed as failure:
            if self._plain is not None and failure.said.knows_no_checksums:
                self.log.info("the object store knows no checksums in headers and is sent none from now on")
                self._store, self._plain = self._plain, None
            _tell_refusal(failure)
            raise

    async def get(self, path: str) -> tuple[bytes, str] | None:
        """Return a small object and its version, None when there is none.

        What can't be one of ours, because it is large or archived, is given without content: it can be replaced.
        """
        try:
            return await self.call(small_object, self._store, path)
        except FileNotFoundError:
            return None

    async def size(self, path: str) -> int | None:
        """Return the bytes of an object, None when there is none."""
        try:
            return (await self.call(obstore.head, self._store, path))["size"]
        except FileNotFoundError:
            return None

    def read_range(self, path: str, start: int, end: int) -> memoryview:
        """Return a range of an object, less when it ends before; blocks, to be run by :meth:`call`.

        :raise FileNotFoundError: when there is no such object, or only in an archive.
        """
        return range_of(self._store, path, start, end)

    async def presigned(self, path: str, seconds: float) -> str:
        """Return an address at which whoever has it can read an object (AWS Signature Version 4, in its query).

        :param seconds: for which the store takes it.
        """
        return await self.call(self._presigned, path, timedelta(seconds=seconds))

    def _presigned(self, path: str, lifetime: timedelta) -> str:
        store: Any = self._store  # those in memory can't
        return obstore.sign(store, "GET", path, lifetime)

    async def put(self, path: str, data: bytes) -> str:
        """Store a small object whatever is there, and return its version."""
        return await self._put(path, data, "overwrite")

    async def put_if(self, path: str, data: bytes, version: str | None) -> str:
        """Store a small object in the place of a certain version.

        A store that takes no conditions is asked what is there before: one replica by itself has no need of more.

        :param version: None when there must be none.
        :return: the new version.
        :raise Conflict: when there is another.
        """
        if self._heeds_conditions:
            try:
                return await self._put(path, data, "create" if version is None else {"e_tag": version})
            except StoreFailed as failure:
                if not failure.said.knows_no_conditions:
                    raise
            self._heeds_conditions = False
            self.log.error(
                "the object store refuses the conditions of puts (If-Match, If-None-Match): each replica makes what "
                "one should make for all; have a store that heeds them, or only one replica"
            )
        found = await self.get(path)
        if (None if found is None else found[1]) != version:
            raise Conflict("somebody else changed the record first")
        return await self.put(path, data)

    async def _put(self, path: str, data: bytes, mode: Any) -> str:
        store = self._store
        try:
            return await self._put_in(store, path, data, mode)
        except StoreFailed:
            if self._store is store:
                raise
        return await self._put_in(self._store, path, data, mode)

    async def _put_in(self, store: ObjectStore, path: str, data: bytes, mode: Any) -> str:
        result = await self.send(obstore.put, store, path, data, mode=mode, use_multipart=False)
        return strong(result["e_tag"])

    async def delete(self, path: str) -> None:
        """Remove an object, if there is one.

        :raise StorageRefused: when the store removes nothing for us.
        """
        try:
            await self.call(obstore.delete, self._store, path)
        except FileNotFoundError:
            return
        except StoreFailed as failure:
            _tell_refusal(failure)
            raise

    async def listing(self, prefix: str) -> list[ListedObject]:
        """Return what lies below a prefix."""
        return await self.send(_list, self._store, prefix)

    async def upload(self, path: str) -> Upload:
        """Begin an upload of any size in parts; its calls are made by :meth:`send`."""
        return await self.send(obstore.open_writer, self._store, path, buffer_size=PART, max_concurrency=_PARTS_AT_ONCE)


def _list(store: ObjectStore, prefix: str) -> list[ListedObject]:
    found: dict[str, ListedObject] = {}
    for piece in obstore.list(store, prefix):
        known = len(found)
        for meta in piece:
            version = meta["e_tag"] or meta["last_modified"].isoformat()
            found[meta["path"]] = ListedObject(meta["path"], meta["size"], version)
        if len(found) == known:
            raise OSError("it lists the same objects again and again")
    return list(found.values())


def _without_bucket(log: Logger) -> StorageUnavailable:
    log.warn("object store: the bucket is not there")
    return StorageUnavailable("the object store has no such bucket")


def _tell_refusal(failure: StoreFailed) -> None:
    """Raise what a failure to store, remove or list means that is a refusal: whoever meets one may read for all that.

    :raise StorageRefused: when it is one.
    """
    said = failure.said
    if said.full or said.refused or said.unlistable:
        raise StorageRefused(f"the object store refuses to store, remove or list ({said.brief})") from failure
