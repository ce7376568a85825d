"""Under which key the answer to a fetch is kept (pure).

An answer stays right for as long as the key says the same, whatever the mirror receives or loses meanwhile:

- the pack holds what the wants reach and the haves don't; haves are the client's own word, so it does not matter
  whether the mirror still has them, and a have that the mirror did not know made the pack larger, never wrong;
- an acknowledgment says that an object was common, and the next round names it again: a kept negotiation round can
  cost another round, never an object;
- ``include-tag`` adds the tags that point into the pack, and ``deepen-not`` stops at refs: these look at the refs, so
  the refs they look at are part of the key.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256

from cachew.plumbing.pktline import Packet, encode_all
from cachew.smarthttp.request import Fetch


def pack_key(repository: str, command: Fetch, marks: Callable[[str], str]) -> str:
    """Return the key of a fetch's answer.

    ``agent`` and ``session-id`` don't count, nor does the order of the wants.

    :param repository: the repository's name and which of its mirrors; no two repositories share an answer.
    :param marks: gives :func:`mark` of the mirror's refs for a prefix; called only if the answer looks at refs.
    :return: 64 hex digits.
    """
    parts = [
        repository,
        f"v{command.version}",
        command.wanted,
        command.shape,
        *(f"refs {marks(prefix)}" for prefix in _looked_at(command)),
    ]
    packets: list[Packet] = [part.encode("utf-8", "surrogateescape") for part in parts]
    return sha256(encode_all(packets)).hexdigest()


def _looked_at(command: Fetch) -> list[str]:
    if command.not_after:
        return ["refs/"]
    return ["refs/tags/"] if "include-tag" in command.features else []


def mark(refs: Mapping[str, str], prefix: str) -> str:
    """Return a digest of the refs below a prefix."""
    digest = sha256()
    for name in sorted(refs):
        if name.startswith(prefix):
            digest.update(f"{refs[name]} {name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
