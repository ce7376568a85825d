"""Very many refs, and the responses that tell them."""

from collections.abc import Mapping

from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.upstream.listing import Listing, RemoteRef
from cachew.upstream.refblocks import line_of
from cachew.upstream.refstream import LsRefsReader

HEAD = RemoteRef("HEAD", f"{7:040x}", "refs/heads/b00007")


def refs_of(count: int, odd: str = "refs/tags/v") -> dict[str, RemoteRef]:
    """Make refs by their names, some of which lie below others' directories, and annotated tags."""
    found = {}
    for number in range(count):
        name = f"refs/heads/b{number:05}" if number % 3 else f"refs/heads/team/{number % 7}/{number:05}"
        found[name] = RemoteRef(name, f"{number:040x}")
    for number in range(50):
        found[f"{odd}{number}"] = RemoteRef(f"{odd}{number}", f"{number:020x}{1:020x}", None, f"{number:040x}")
    return found


def told(refs: Mapping[str, RemoteRef], head: RemoteRef | None = HEAD) -> bytes:
    """Return the response that tells refs."""
    ordered = sorted(refs.values(), key=lambda ref: ref.name.encode("utf-8", "surrogateescape"))
    first = [] if head is None else [f"{head.oid} HEAD symref-target:{head.symref_target}\n".encode()]
    return b"".join([encode_all(first), *map(line_of, ordered), FLUSH.value])


def read(response: bytes, before: Listing | None = None, size: int = 50_000) -> Listing:
    """Read a response in pieces."""
    reader = LsRefsReader(before=before)
    for start in range(0, len(response), size):
        reader.feed(response[start : start + size])
    return reader.result()
