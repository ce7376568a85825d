"""A directory from which nothing can be removed, like one of a file system that has become read-only."""

import pathlib


class ReadOnly(type(pathlib.Path())):  # type: ignore[misc]
    """A path whose file can't be removed, and so are all below it."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Refuse to."""
        raise OSError(30, "Read-only file system")
