"""What is damaged of a mirror's files, and how it is mended where that needs nobody (blocking).

What git derives from packs is removed and made again. Configuration, HEAD and refs are written anew from what the
server knows. Packs and their indexes can only come from elsewhere.
"""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cachew.mirrors.checksums import is_derived
from cachew.mirrors.ledger import Ledger
from cachew.mirrors.refs import HIDDEN, of_listing, packed_refs
from cachew.mirrors.shape import OBJECTS, misshapen
from cachew.plumbing.diskspace import put_in_place, remove
from cachew.upstream.listing import Listing

_HEADER = b"# pack-refs with: \n"


@dataclass(frozen=True)
class DamagedFiles:
    """What is damaged, by its files' names.

    :param objects: what can only be had from elsewhere.
    :param derived: what git makes again out of the objects.
    :param shape: configuration, HEAD and refs.
    """

    objects: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.objects or self.derived or self.shape)

    def __str__(self) -> str:
        names = [*self.objects, *self.derived, *self.shape]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def examine(directory: Path, ledger: Ledger, *, config: str, digits: int, contents: bool) -> DamagedFiles:
    """Find out what is damaged of what git gives a checksum or a form.

    :param config: what the configuration has to be.
    :param digits: hexadecimal digits of an object id.
    :param contents: whether every file of objects is read, or only those that were written to.
    :raise OSError: when a file can't be read for a reason that says nothing of it.
    """
    bad = ledger.verify() if contents else ledger.verify(ledger.unverified())
    shape = misshapen(directory, config=config, digits=digits)
    return DamagedFiles(
        objects=(*(name for name in bad if not is_derived(name)), *(name for name in shape if name in OBJECTS)),
        derived=tuple(name for name in bad if is_derived(name)),
        shape=tuple(name for name in shape if name not in OBJECTS),
    )


def remove_derived(directory: Path, found: DamagedFiles) -> None:
    """Remove what git makes again."""
    for name in found.derived:
        remove(directory / name)


def rewrite(directory: Path, listing: Listing, *, digits: int, lost: Collection[str] = ()) -> None:
    """Write HEAD and the refs anew; those that keep objects alive stay as far as they can be read.

    :param listing: what HEAD and the refs should be.
    :param lost: objects that are not there, which nothing can keep alive.
    """
    hidden = {
        os.fsencode(name): oid.encode() for name, oid in hidden_refs(directory, digits).items() if oid not in lost
    }
    lines = [line for line in packed_refs(listing).splitlines(keepends=True) if not line.startswith(b"#")]
    lines += [b"%s %s\n" % (oid, name) for name, oid in sorted(hidden.items())]
    remove(directory / "refs")
    (directory / "refs" / "heads").mkdir(parents=True, exist_ok=True)
    put_in_place(directory / "packed-refs", _HEADER + b"".join(lines))
    head = (of_listing(listing).head or "refs/heads/main").encode(errors="surrogateescape")
    put_in_place(directory / "HEAD", (b"ref: %s\n" if head.startswith(b"refs/") else b"%s\n") % head)


def hidden_refs(directory: Path, digits: int) -> dict[str, str]:
    """Return the refs that keep objects alive, as far as they can be read."""
    oid = re.compile(rb"(?!0{%d})[0-9a-f]{%d}" % (digits, digits))
    return {os.fsdecode(name): value.decode() for name, value in _hidden(directory, oid)}


def _hidden(directory: Path, oid: re.Pattern[bytes]) -> Iterator[tuple[bytes, bytes]]:
    prefix = HIDDEN.encode()
    packed = directory / "packed-refs"
    for line in packed.read_bytes().split(b"\n") if packed.is_file() else ():
        value, _, name = line.partition(b" ")
        if oid.fullmatch(value) and re.fullmatch(rb"%s[0-9a-z/]+" % prefix, name):
            yield name, value
    for path in (directory / HIDDEN).rglob("*"):
        if path.is_file() and oid.fullmatch(value := path.read_bytes().strip()):
            yield bytes(path.relative_to(directory)), value
