"""The repository that git runs its remote helper for: where it lies, and whether anything is in it.

Looks at files alone, since every fetch waits for it: no process, and no import but ``os``.
"""

import os

_HEX = b"0123456789abcdef"


class GitDirectory:
    """A repository's directory.

    :param path: what git calls ``GIT_DIR``.
    """

    def __init__(self, path: bytes) -> None:
        self.path = os.path.abspath(path)
        self.common = self._common()
        self.objects = os.path.join(self.common, b"objects")

    def is_empty(self) -> bool:
        """Tell whether it has no object and no ref of its own, and borrows none."""
        return os.path.isdir(self.objects) and not (self._has_objects() or self._has_refs())

    @property
    def has_reftable(self) -> bool:
        """Whether its refs are kept in another way than as files, or will be: ``git clone`` makes their place late."""
        return os.path.isdir(self.reftable) or b"refstorage" in self.config().lower()

    @property
    def reftable(self) -> bytes:
        """Where tables of refs lie, if there are any."""
        return os.path.join(self.common, b"reftable")

    @property
    def is_bare(self) -> bool:
        """Whether it has no working tree, as ``git init`` and ``git clone`` write that down."""
        return b"bare = true" in self.config()

    def config(self) -> bytes:
        """Return the text of its own config."""
        return _content(os.path.join(self.common, b"config"))

    def lacks_lfs_address(self, remote: bytes, address: bytes) -> bool:
        """Tell whether its config may have a remote without an address for git-lfs; who has time asks git itself.

        So it is also where another one on the same server is written down, which may be what the remote's was before
        it got a new one.

        :param address: the remote's.
        """
        config = self.config()
        if b'[remote "%s"]' % remote not in config:
            return False
        beginning = b"lfsurl = " + address.partition(b"/git/")[0] + b"/git/"
        other = beginning in config and b"lfsurl = %s/info/lfs" % address not in config
        return other or b"lfsurl" not in config.lower()

    def _common(self) -> bytes:
        # A linked worktree's directory names the one that it shares (gitrepository-layout(5)).
        said = _content(os.path.join(self.path, b"commondir")).strip()
        return os.path.normpath(os.path.join(self.path, said)) if said else self.path

    def _has_objects(self) -> bool:
        if os.path.exists(os.path.join(self.objects, b"info", b"alternates")):
            return True
        if any(len(name) == 2 and all(letter in _HEX for letter in name) for name in _names(self.objects)):
            return True
        return any(name.endswith((b".pack", b".idx")) for name in _names(os.path.join(self.objects, b"pack")))

    def _has_refs(self) -> bool:
        if any(
            line[:1] not in (b"#", b"") for line in _content(os.path.join(self.common, b"packed-refs")).split(b"\n")
        ):
            return True
        return any(files for _, _, files in os.walk(os.path.join(self.common, b"refs")))


def _names(directory: bytes) -> "list[bytes]":
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _content(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
