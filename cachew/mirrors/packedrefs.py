"""Very many refs in one write: into ``packed-refs`` itself, under git's own lock (gitrepository-layout(5)).

``git update-ref`` makes a file for each ref, and a lock file for each before, also of those that it deletes: a hundred
thousand take longer than a fetch. What is a loose ref already is left to git, because that is what git reads first.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

_PEELED = b"# pack-refs with: peeled fully-peeled sorted \n"
_SORTED = b"# pack-refs with: sorted \n"


def rewrite(
    directory: Path, refs: Mapping[str, str], peeled: Mapping[str, str], *, deletions: Collection[str] = ()
) -> set[str]:
    """Put refs into the file, and take others out of it.

    :param directory: the bare repository.
    :param refs: full name to object id.
    :param peeled: what the annotated tags among these objects lead to.
    :param deletions: the names of refs that are to be no more.
    :return: the names that are where they should be; the others are loose refs. None are when another process has the
        lock.
    :raise OSError: when the disk fails; the file is then as it was.
    """
    lock = directory / "packed-refs.lock"
    try:
        descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return set()
    try:
        with os.fdopen(descriptor, "wb") as file:
            done = {name for name in (*refs, *deletions) if not _is_loose(directory, name)}
            added = {name: oid for name, oid in refs.items() if name in done}
            file.write(_merged(directory, added, peeled, done.difference(refs)))
            file.flush()
            os.fsync(file.fileno())
        lock.replace(directory / "packed-refs")
    except BaseException:
        lock.unlink(missing_ok=True)
        raise
    return done


def _is_loose(directory: Path, name: str) -> bool:
    path = os.path.join(os.fsencode(directory), _bytes(name))
    # An empty directory may be left of refs that were below.
    return os.path.lexists(path) and not os.path.isdir(path)


def _merged(directory: Path, refs: Mapping[str, str], peeled: Mapping[str, str], deletions: Collection[str]) -> bytes:
    header, entries = _read(directory)
    for name in deletions:
        entries.pop(_bytes(name), None)
    for name, oid in refs.items():
        encoded = _bytes(name)
        tail = b"^%b\n" % peeled[oid].encode() if oid in peeled else b""
        entries[encoded] = b"%b %b\n%b" % (oid.encode(), encoded, tail)
    return header + b"".join(entries[name] for name in sorted(entries))


def _read(directory: Path) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the first line for a file with more refs, and each ref's lines by its name."""
    try:
        content = (directory / "packed-refs").read_bytes()
    except FileNotFoundError:
        content = b""
    # At newlines only: names may hold what else ends a line.
    lines = [line + b"\n" for line in content.split(b"\n") if line]
    whole = not lines or (lines[0].startswith(b"#") and b" fully-peeled" in lines[0])
    entries: dict[bytes, bytes] = {}
    name = b""
    for line in lines:
        if line.startswith(b"^"):
            # What is told below no ref is of none: git would take the whole file for broken.
            if entries.get(name, b"").count(b"\n") == 1:
                entries[name] += line
        elif not line.startswith(b"#"):
            name = line.rstrip(b"\n").partition(b" ")[2]
            entries[name] = line
    return _PEELED if whole else _SORTED, entries


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
