"""What the upstreams have, and what they have ever had: no client may be given anything else."""

from dataclasses import dataclass, field

from tests.functional.gate import basic
from tests.functional.repositories import Repository
from tests.functional.server import HOST
from tests.functional.upstream import Upstream

TLS_HOST, SLOW_HOST = "tls.example", "slow.example"
PUBLIC, BIG, PRIVATE = f"{HOST}/org/public", f"{HOST}/org/big", f"{HOST}/org/private"
SECURE, SLOW = f"{TLS_HOST}/org/secure", f"{SLOW_HOST}/org/slow"
LONG = f"{HOST}/org/long"
"""One of many small commits, whose pack has a large index."""
READER, PUSHER, OWN = basic("alice", "s3cret"), basic("pusher", "s3cret"), basic("x-access-token", "0wn")
LFS_DATA = b"an object of LFS" * 5000


@dataclass
class Hosted:
    """A repository at an upstream.

    :param upstream: the one that has it.
    :param path: its name there.
    :param private: whether it wants a password.
    """

    upstream: Upstream
    path: str
    repository: Repository
    private: bool = False
    heads: set[str] = field(default_factory=set)

    def note(self) -> str:
        """Note where it is now, and return that."""
        head = self.repository.commit()
        self.heads.add(head)
        return head
