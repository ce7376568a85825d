"""Brings the LFS objects of a snapshot into a fresh checkout."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from cachew.client.addresses import RepositoryAddress
from cachew.client.archives import Archives
from cachew.client.checkout import Checkout
from cachew.client.clienterrors import DownloadCorrupt, GitFailed, NotCached
from cachew.client.extract import Unpack
from cachew.client.snapshotrules import LfsRules
from cachew.client.transferprogress import TransferProgress

_PIECE = 1024 * 1024


class LfsSnapshots:
    """Fetches LFS snapshots.

    :param archives: the server.
    :param unpack: how archives are extracted.
    :param progress: is told of what happens.
    """

    def __init__(self, *, archives: Archives, unpack: Unpack, progress: TransferProgress) -> None:
        self._archives = archives
        self._unpack = unpack
        self._progress = progress

    def fetch(self, checkout: Checkout, address: RepositoryAddress, *, fresh_directory: Callable[[], Path]) -> None:
        """Download the LFS objects, check each against its oid, and put them in the place of their pointers.

        :param fresh_directory: makes an empty directory on the file system of the checkout.
        :raise ClientError: when what the server sends is not what its name says.
        """
        places: list[Path] = []

        def place() -> Path:
            places.append(fresh_directory())
            return places[-1]

        url = address.artefact("lfs-snapshot.tar.zst")
        try:
            self._archives.fetch(url, unpack=self._unpack, rules=LfsRules, fresh_directory=place)
        except NotCached:
            self._progress.warn("the server has no LFS objects of this repository (yet); `git lfs pull` gets them")
            return
        count = _adopt(places[-1] / "lfs/objects", checkout.tree / ".git/lfs/objects")
        self._progress.say(f"{count} LFS objects")
        self._check_out(checkout)

    def _check_out(self, checkout: Checkout) -> None:
        git, tree = checkout.git, checkout.tree
        if git.run(tree, "lfs", "version", check=False).returncode:
            self._progress.warn(
                "git-lfs is not installed, so large files are still pointers; install it and run "
                "`git lfs install && git lfs checkout`"
            )
            return
        try:
            # Without the filters in the config, git would see every large file as changed.
            git.run(tree, "lfs", "install", "--local", "--skip-repo")
            git.run(tree, "lfs", "checkout")
        except GitFailed as error:
            self._progress.warn(f"large files are still pointers: {error}; `git lfs checkout` tries again")


def _adopt(source: Path, target: Path) -> int:
    """Move objects whose content is what their name says, and return how many."""
    count = 0
    for path in sorted(source.glob("??/??/*")):
        if _digest(path) != path.name:
            raise DownloadCorrupt(f"LFS object {path.name} has another content", "Run the command without --lfs.")
        place = target / path.parent.relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
        count += 1
    return count


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
