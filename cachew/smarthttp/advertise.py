"""Advertisements and ref listings made from memory, byte for byte as ``git http-backend`` makes them (pure).

A spawned process costs 4 to 8 ms of a core per answer; what a listing says is known anyway, from the upstream's own.
The formats are those of gitprotocol-v2(5), gitprotocol-pack(5) and gitprotocol-http(5).
"""

from collections.abc import Iterable, Sequence

from cachew.plumbing.pktline import FLUSH, Packet, encode_all
from cachew.smarthttp.clientcommands import V2LsRefs
from cachew.upstream.listing import Prefixes
from cachew.upstream.manyrefs import ManyRefs
from cachew.upstream.remoteref import RemoteRef

AGENT = "cachew"
"""What the server calls itself to git clients."""

FETCH_FEATURES = ("shallow", "wait-for-done", "filter", "ref-in-want")
"""What the ``fetch`` command of a mirror can do beyond the basics of v2."""

V0_CAPABILITIES = (
    "multi_ack", "thin-pack", "side-band", "side-band-64k", "ofs-delta", "shallow", "deepen-since", "deepen-not",
    "deepen-relative", "no-progress", "include-tag", "multi_ack_detailed", "allow-tip-sha1-in-want",
    "allow-reachable-sha1-in-want", "no-done",
)  # fmt: skip
"""What a mirror can do in v0, in upload-pack's order, without what depends on the repository."""


def _packet(line: str) -> Packet:
    return f"{line}\n".encode("utf-8", "surrogateescape")


def _in_order(refs: Iterable[RemoteRef]) -> list[RemoteRef]:
    """HEAD first, then by the bytes of the names."""
    return sorted(refs, key=lambda ref: (ref.name != "HEAD", ref.name.encode("utf-8", "surrogateescape")))


def v2_advertisement(
    *,
    object_format: str,
    features: Sequence[str] = FETCH_FEATURES,
    commands: Sequence[str] = (),
    agent: str = AGENT,
) -> bytes:
    """Return the body of ``GET …/info/refs?service=git-upload-pack`` in protocol v2.

    :param object_format: ``sha1`` or ``sha256``.
    :param features: what ``fetch`` can do.
    :param commands: commands beyond ``ls-refs`` and ``fetch``.
    """
    lines = (
        "version 2",
        f"agent={agent}",
        "ls-refs=unborn",
        f"fetch={' '.join(features)}",
        "server-option",
        f"object-format={object_format}",
        *commands,
    )
    return encode_all([*map(_packet, lines), FLUSH])


def v0_advertisement(
    refs: Iterable[RemoteRef],
    *,
    object_format: str,
    capabilities: Sequence[str] = V0_CAPABILITIES,
    version1: bool = False,
    agent: str = AGENT,
    shallow: Iterable[str] = (),
) -> bytes:
    """Return the body of ``GET …/info/refs?service=git-upload-pack`` in protocol v0 or v1.

    :param refs: the listing, in any order; unborn refs are left out, as v0 has no word for them.
    :param version1: whether the client asked for v1.
    :param shallow: ids of the commits whose parents are missing.
    """
    born = [ref for ref in _in_order(refs) if ref.oid is not None]
    words = [
        *capabilities,
        *(f"symref=HEAD:{ref.symref_target}" for ref in born if ref.name == "HEAD" and ref.symref_target),
        "filter",
        f"object-format={object_format}",
        f"agent={agent}",
    ]
    lines = [line for ref in born for line in _v0_lines(ref)]
    if not lines:
        lines = [f"{'0' * (64 if object_format == 'sha256' else 40)} capabilities^{{}}"]
    lines[0] += "\0" + " ".join(words)
    version = [_packet("version 1")] if version1 else []
    lines += [f"shallow {oid}" for oid in shallow]
    return encode_all([_packet("# service=git-upload-pack"), FLUSH, *version, *map(_packet, lines), FLUSH])


def _v0_lines(ref: RemoteRef) -> list[str]:
    peeled = [f"{ref.peeled} {ref.name}^{{}}"] if ref.peeled else []
    return [f"{ref.oid} {ref.name}", *peeled]


def ls_refs_response(refs: Iterable[RemoteRef], command: V2LsRefs) -> bytes:
    """Return the answer to an ``ls-refs`` command.

    :param refs: the listing, in any order; an unborn HEAD is told to clients that ask for it.
    """
    if isinstance(refs, ManyRefs) and command.peel and command.symrefs:
        # They are kept as the lines that say just that.
        some = refs.within(Prefixes(command.prefixes or [""]))
        head = [] if some.head is None or not _can_be_told(some.head, command) else [some.head]
        lines = encode_all(_packet(_ls_refs_line(ref, command)) for ref in head)
        return b"".join([lines, *(block.data for block in some.blocks), FLUSH.value])
    match = Prefixes(command.prefixes or [""]).match
    chosen = _in_order(ref for ref in refs if match(ref.name) and _can_be_told(ref, command))
    return encode_all([*(_packet(_ls_refs_line(ref, command)) for ref in chosen), FLUSH])


def _can_be_told(ref: RemoteRef, command: V2LsRefs) -> bool:
    return ref.oid is not None or bool(command.unborn and command.symrefs and ref.symref_target)


def _ls_refs_line(ref: RemoteRef, command: V2LsRefs) -> str:
    line = f"{ref.oid or 'unborn'} {ref.name}"
    if command.symrefs and ref.symref_target:
        line += f" symref-target:{ref.symref_target}"
    if command.peel and ref.peeled:
        line += f" peeled:{ref.peeled}"
    return line
