"""Under which key the answer to a fetch is kept.

An answer stays right for as long as the key says the same, whatever the mirror receives or loses meanwhile:

- the pack holds what the wants reach and the haves don't; haves are the client's own word, so it does not matter
  whether the mirror still has them, and a have that the mirror did not know made the pack larger, never wrong;
- an acknowledgment says that an object was common, and the next round names it again: a kept negotiation round can
  cost another round, never an object;
- ``include-tag`` adds the tags that point into the pack, ``deepen-not`` stops at refs, and ``sparse:oid`` may name its
  blob by a ref: these look at the refs, so the refs they look at are part of the key.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256

from cachew.mirrors.mirror import Mirror
from cachew.plumbing.remembered import Remembered
from cachew.smarthttp.clientcommands import Fetch
from cachew.upstream.refviews import TipsByName

_OWNER = 16
"""Digits of a key that tell whose it is; the others are enough to tell answers apart."""


class MirrorKeys:
    """The keys of answers that mirrors give."""

    def __init__(self) -> None:
        self._marks: Remembered[str] = Remembered()

    def of(self, mirror: Mirror, command: Fetch) -> str:
        """Return the key of an answer, which is one of the mirror's instance and of its present packs."""

        def marks(prefix: str) -> str:
            state = mirror.refs.state
            return self._marks.of(state, prefix, lambda: mark(state.refs, prefix))

        return pack_key(f"{mirror.life.instance.name} {mirror.life.pack_source}", command, marks)


def pack_key(repository: str, command: Fetch, marks: Callable[[str], str]) -> str:
    """Return the key of a fetch's answer.

    ``agent`` and ``session-id`` don't count, nor does the order of the wants.

    :param repository: the repository's name, a space, and which of its mirrors; no two repositories share an answer.
    :param marks: gives :func:`mark` of the mirror's refs for a prefix; called only if the answer looks at refs.
    :return: 64 hex digits, of which the first are the repository's (:func:`owner_key`).
    """
    parts = [
        repository,
        f"v{command.version}",
        command.wanted,
        command.shape,
        *(f"refs {marks(prefix)}" for prefix in command.looks_at),
    ]
    digest = sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        digest.update(b"%d:%b" % (len(encoded), encoded))
    owner = owner_key(repository.partition(" ")[0])
    return owner + digest.hexdigest()[: -len(owner)]


def owner_key(repository: str) -> str:
    """Return what the keys of a repository's answers begin with, which tells how much is kept of it.

    :param repository: its name.
    """
    return sha256(repository.encode("utf-8", "surrogateescape")).hexdigest()[:_OWNER]


def mark(refs: Mapping[str, str], prefix: str) -> str:
    """Return a digest of the refs below a prefix."""
    digest = sha256()
    if isinstance(refs, TipsByName):
        for block in refs.many.within([prefix]).blocks:
            digest.update(block.digest)
        return digest.hexdigest()
    for name in sorted(refs):
        if name.startswith(prefix):
            digest.update(f"{refs[name]} {name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
