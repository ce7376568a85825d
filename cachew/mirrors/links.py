"""Whether all that objects of a repository name is there too, down to the last.

``git index-pack --strict`` takes a pack only if whatever its objects name is there. If that is so of each pack that has
come, no object lacks anything, and nobody has to walk the history for it after each push. Where it is not certain a
file in the repository says so, which is there before anything comes that may break off half way.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cachew.plumbing import diskspace

_UNLINKED = "unlinked"


class Links:
    """What is known of the links between the objects of one repository.

    :param directory: the bare repository.
    """

    def __init__(self, *, directory: Path) -> None:
        self._file = directory / _UNLINKED
        self._doubted: bool | None = None
        """None until an earlier run's word has been read."""
        self._under_way = 0

    @property
    def hold(self) -> bool:
        """Whether whatever an object names is there; not while something comes of which that is not certain."""
        return not (self._is_doubted() or self._under_way)

    def _is_doubted(self) -> bool:
        if self._doubted is None:
            self._doubted = self._file.exists()
        return self._doubted

    def doubt(self) -> None:
        """Take note that something may be missing, until all is thrown away that no ref reaches."""
        self._doubted = True
        self._write()

    def restored(self) -> None:
        """Take note that nothing is there but what the refs reach, which is whole."""
        self._doubted = False
        self._write()

    def _write(self) -> None:
        # Where the disk takes nothing no object comes either, and this run knows.
        with suppress(OSError):
            if self._doubted or self._under_way:
                self._file.touch()
            else:
                diskspace.remove(self._file)

    @contextmanager
    def uncertain(self, *, checked: bool) -> Iterator[None]:
        """Have objects come while the block runs; that their links hold is certain when it has ended well.

        :param checked: whether git looks for what they name when they come.
        """
        self._is_doubted()
        self._under_way += 1
        self._write()
        certain = False
        try:
            yield
            certain = checked
        finally:
            self._under_way -= 1
            self._doubted = self._doubted or not certain
            self._write()
