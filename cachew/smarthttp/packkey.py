"""Under which key the answer to a fetch is kept (pure).

An answer stays right for as long as the key says the same, whatever the mirror receives or loses meanwhile:

- the pack holds what the wants reach and the haves don't; haves are the client's own word, so it does not matter
  whether the mirror still has them, and a have that the mirror did not know made the pack larger, never wrong;
- an acknowledgment says that an object was common, and the next round names it again: a kept negotiation round can
  cost another round, never an object;
- ``include-tag`` adds the tags that point into the pack, and ``deepen-not`` stops at refs: these look at the refs, so
  the refs they look at are part of the key.
"""

from collections.abc import Mapping
from hashlib import sha256

from cachew.plumbing.pktline import Packet, encode_all
from cachew.smarthttp.request import Fetch


def pack_key(repository: str, command: Fetch, refs: Mapping[str, str]) -> str:
    """Return the key of a fetch's answer.

    ``agent`` and ``session-id`` don't count, nor does the order of the wants.

    :param repository: the identity's name; no two repositories share an answer.
    :param refs: the mirror's refs, full name to object id.
    :return: 64 hex digits.
    """
    parts = [
        repository,
        f"v{command.version}",
        *(f"want {oid}" for oid in sorted(set(command.wants))),
        *command.lines,
        *_looked_at(command, refs),
    ]
    packets: list[Packet] = [part.encode("utf-8", "surrogateescape") for part in parts]
    return sha256(encode_all(packets)).hexdigest()


def _looked_at(command: Fetch, refs: Mapping[str, str]) -> list[str]:
    if command.not_after:
        return [f"ref {name} {oid}" for name, oid in sorted(refs.items())]
    if "include-tag" in command.features:
        return [f"ref {name} {oid}" for name, oid in sorted(refs.items()) if name.startswith("refs/tags/")]
    return []
