"""An object on its way into an object store: in parts, under a name of its own, until a manifest makes it visible."""

import threading
from contextlib import suppress

from cachew.cache.blocks import ContentDigest
from cachew.cache.interface import ObjectInfo
from cachew.cache.manifest import Manifest, content_in, manifest_path
from cachew.cache.objectrecord import WriteTerms
from cachew.plumbing.bucket import PART, Bucket, Upload
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Conflict, StorageUnavailable, TooLarge

_MOST_PARTS = 10_000
ANYTHING = ""
"""Says of a writer that it may replace whatever is there."""
_TRIES = 5


class ObjectStoreWriter:
    """An object on its way into an :class:`~cachew.cache.objectstore.ObjectStoreCache`.

    :param path: where its content goes.
    :param slides: whether using it puts off its expiry.
    :param over: the content of what it may replace, None of nothing; whatever it is when left out.
    """

    def __init__(
        self,
        *,
        bucket: Bucket,
        terms: WriteTerms,
        path: str,
        clock: Clock,
        slides: bool,
        over: str | None = ANYTHING,
    ) -> None:
        self._bucket = bucket
        self._terms = terms
        self._path = path
        self._clock = clock
        self._slides = slides
        self._over = over
        self._written = ContentDigest()
        self._upload: Upload | None = None
        # A cancelled call goes on in its thread, or begins only then; the upload is never used by two at once.
        self._lock = threading.Lock()
        self._ended = self._completed = self._publishing = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._check()
        if self._written.size + len(data) > PART * _MOST_PARTS:
            raise TooLarge(PART * _MOST_PARTS, "object")
        if self._upload is None:
            self._upload = await self._bucket.upload(self._path)
        await self._bucket.send(self._append, self._upload, data)

    def _append(self, upload: Upload, data: bytes) -> None:
        with self._lock:
            if not self._ended:
                self._written.update(data)
                upload.write(data)

    async def commit(self) -> ObjectInfo:
        """Complete the upload, see that it is whole, and make it visible."""
        self._check()
        now = self._clock.now()
        record = self._terms.record(self._written, now)
        await self._finish()
        manifest = Manifest(record, self._path, self._slides, now)
        self._publishing = True
        await self._publish(manifest_path(record.info.namespace, record.info.key), manifest)
        self._ended = True
        return record.info

    async def _publish(self, path: str, manifest: Manifest) -> None:
        if self._over == ANYTHING:
            await self._bucket.put(path, manifest.encode())
            return
        for _ in range(_TRIES):
            found = await self._bucket.get(path)
            there = None if found is None else content_in(found[0])
            if there == self._path:
                return
            if there is not None and there != self._over:
                break
            # What is there may be written anew though it is not replaced: its uses are written down.
            with suppress(Conflict):
                await self._bucket.put_if(path, manifest.encode(), None if found is None else found[1])
                return
        self._publishing = False
        raise Conflict("another replica has stored the object meanwhile")

    async def _finish(self) -> None:
        if self._upload is None:
            self._upload = await self._bucket.upload(self._path)
        await self._bucket.send(self._complete, self._upload)
        if await self._bucket.size(self._path) != self._written.size:
            raise StorageUnavailable("the object store has not kept all of an upload")

    def _complete(self, upload: Upload) -> None:
        with self._lock:
            if not self._ended:
                self._completed = True
                upload.close()

    async def abort(self) -> None:
        """Remove what was uploaded.

        Once the manifest is on its way nobody knows whether it arrives; then a sweep removes what it doesn't name.
        """
        if self._ended:
            return
        self._ended = True
        if self._publishing or self._upload is None:
            return
        try:
            await self._bucket.send(self._abandon, self._upload)
        finally:
            if self._completed:
                await self._bucket.delete(self._path)

    def _abandon(self, upload: Upload) -> None:
        """Complete an upload whose parts are under way, so that it can be removed: there is no other way to end it."""
        with self._lock:
            if not self._completed and self._written.size >= PART:
                self._completed = True
                upload.close()

    def _check(self) -> None:
        if self._ended:
            raise RuntimeError("the writer has ended")
