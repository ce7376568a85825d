"""The manifests of an object store, which make content visible: found, removed, and passed over where it is damaged."""

from contextlib import suppress

from twisted.logger import Logger

from cachew.cache.manifest import Manifest, manifest_path
from cachew.plumbing.background import Background
from cachew.plumbing.bucket import Bucket
from cachew.plumbing.errors import CachewError, CorruptObject
from cachew.plumbing.remembered import Newest

_DAMAGED = 1000
"""How many contents that were found damaged are remembered, each until the store has removed it."""


class Manifests:
    """The manifests of one store.

    :param bucket: where they lie.
    :param background: where what is damaged is removed that could not be removed at once.
    """

    log = Logger()

    def __init__(self, *, bucket: Bucket, background: Background) -> None:
        self._bucket = bucket
        self._background = background
        self._damaged: Newest[str] = Newest(_DAMAGED)

    async def find(self, namespace: str, key: str) -> tuple[Manifest, str] | None:
        """Return a manifest and its version; None when there is none, or its content was found damaged.

        :raise StorageUnavailable: when the store fails.
        """
        found = await self._read(namespace, key)
        if found is None or found[0].content not in self._damaged:
            return found
        self._background.start(self._remove_damaged(found[0]), "removal of a damaged shared object")
        return None

    async def _read(self, namespace: str, key: str) -> tuple[Manifest, str] | None:
        found = await self._bucket.get(manifest_path(namespace, key))
        if found is None:
            return None
        data, version = found
        try:
            return Manifest.decode(data, namespace, key), version
        except CorruptObject as error:
            self.log.error("manifest of {name} ignored: {error}", name=f"{namespace}/{key}", error=str(error))
            return None

    async def remove(self, manifest: Manifest) -> None:
        """Remove an object; who reads it fails.

        :raise StorageUnavailable: when the store fails.
        """
        await self._bucket.delete(manifest_path(manifest.info.namespace, manifest.info.key))
        await self._bucket.delete(manifest.content)

    async def damaged(self, manifest: Manifest) -> None:
        """Let nobody find an object any more whose content was found damaged, and remove it, unless it was replaced.

        Where the store doesn't remove it, that is tried again whenever somebody asks for the object.
        """
        info = manifest.info
        self.log.error("shared object {namespace}/{key} is damaged", namespace=info.namespace, key=info.key)
        self._damaged.add(manifest.content)
        await self._remove_damaged(manifest)

    async def _remove_damaged(self, manifest: Manifest) -> None:
        with suppress(CachewError):
            current = await self._read(manifest.info.namespace, manifest.info.key)
            if current is not None and current[0].content == manifest.content:
                await self.remove(manifest)
