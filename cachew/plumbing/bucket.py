"""A bucket of an object store: blocking calls made in threads, failures told in the house's own terms.

The threads should be a pool of their own: a store that hangs holds one for as long as its timeout allows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore, S3Store
from twisted.logger import Logger

from cachew.plumbing import tracing
from cachew.plumbing.errors import Conflict, StorageUnavailable
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


class Bucket:
    """A bucket of an object store, whose blocking calls are made in threads.

    :param store: the store, as obstore knows it.
    :param threads: where its calls are made.
    """

    log = Logger()

    def __init__(self, *, store: ObjectStore, threads: Threads) -> None:
        self._store, self._threads = store, threads

    async def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make one blocking call in a thread.

        :raise FileNotFoundError: when there is no such object.
        :raise Conflict: when a condition didn't hold.
        :raise StorageUnavailable: when the store fails in any other way.
        """
        try:
            with tracing.spanning(f"store {getattr(function, '__name__', 'call')}", leaves=True):
                return await self._threads(function, *args, **kwargs)
        except FileNotFoundError:
            raise
        except (AlreadyExistsError, PreconditionError) as error:
            raise Conflict("somebody else changed the record first") from error
        except (BaseError, OSError) as error:
            reason = str(error).partition("\n")[0]
            self.log.warn("object store: {reason}", reason=reason[:500])
            raise StorageUnavailable(f"the object store failed ({type(error).__name__})") from error

    async def send(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make one blocking call that stores or lists something: that it is not there says nothing of an object.

        :raise Conflict: when a condition didn't hold.
        :raise StorageUnavailable: when the store fails, also by saying that there is no such bucket.
        """
        try:
            return await self.call(function, *args, **kwargs)
        except FileNotFoundError as error:
            self.log.warn("object store: the bucket is not there")
            raise StorageUnavailable("the object store has no such bucket") from error

    async def get(self, path: str) -> tuple[bytes, str] | None:
        """Return a small object and its version, None when there is none."""
        try:
            return await self.call(self._get, path)
        except FileNotFoundError:
            return None

    def _get(self, path: str) -> tuple[bytes, str]:
        result = obstore.get(self._store, path)
        return bytes(result.bytes()), result.meta["e_tag"] or ""

    async def size(self, path: str) -> int | None:
        """Return the bytes of an object, None when there is none."""
        try:
            return (await self.call(obstore.head, self._store, path))["size"]
        except FileNotFoundError:
            return None

    def read_range(self, path: str, start: int, end: int) -> memoryview:
        """Return a range of an object; blocks, to be run by :meth:`call`."""
        return memoryview(obstore.get_range(self._store, path, start=start, end=end))

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

        :param version: None when there must be none.
        :return: the new version.
        :raise Conflict: when there is another.
        """
        return await self._put(path, data, "create" if version is None else {"e_tag": version})

    async def _put(self, path: str, data: bytes, mode: Any) -> str:
        result = await self.send(obstore.put, self._store, path, data, mode=mode, use_multipart=False)
        return result["e_tag"] or ""

    async def delete(self, path: str) -> None:
        """Remove an object, if there is one."""
        try:
            await self.call(obstore.delete, self._store, path)
        except FileNotFoundError:
            return

    async def listing(self, prefix: str) -> list[ListedObject]:
        """Return what lies below a prefix."""
        return await self.send(_list, self._store, prefix)

    async def upload(self, path: str) -> Upload:
        """Begin an upload of any size in parts; its calls are made by :meth:`send`."""
        return await self.send(obstore.open_writer, self._store, path, buffer_size=PART, max_concurrency=_PARTS_AT_ONCE)


def _list(store: ObjectStore, prefix: str) -> list[ListedObject]:
    return [
        ListedObject(meta["path"], meta["size"], meta["e_tag"] or "")
        for piece in obstore.list(store, prefix)
        for meta in piece
    ]


def s3_store(
    *,
    bucket: str,
    endpoint: str | None = None,
    region: str = "us-east-1",
    prefix: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    session_token: str | None = None,
    timeout: float = 60.0,
    connect_timeout: float = 5.0,
    retries: int = 2,
    path_style: bool = True,
) -> ObjectStore:
    """Describe a bucket of S3 or of a store that speaks its protocol; nothing is asked of it yet.

    :param endpoint: the store's URL; Amazon's own when None. ``http`` is allowed, it is the operator's word.
    :param prefix: what every object's name begins with.
    :param access_key: with ``secret_key`` the credentials; when None the machine's own are looked for (instance role).
    :param timeout: seconds that one request may take.
    :param retries: how often a request that failed is made again.
    :param path_style: whether the bucket is part of the path rather than of the host name.
    """
    chosen = {
        "endpoint": endpoint,
        "access_key_id": access_key,
        "secret_access_key": secret_key,
        "session_token": session_token,
    }
    config: Any = {name: value for name, value in chosen.items() if value is not None}
    config["virtual_hosted_style_request"] = not path_style
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=region,
        # The store refuses an upload that was damaged on its way.
        checksum_algorithm="SHA256",
        client_options={
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "timeout": timedelta(seconds=timeout),
            "connect_timeout": timedelta(seconds=connect_timeout),
        },
        retry_config={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=timeout),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        },
        **config,
    )
