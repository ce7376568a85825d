"""What it takes to run git on mirrors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from cachew.mirrors.commands import GitCommands
from cachew.mirrors.packindex import OpenIndexes
from cachew.plumbing.jobs import Slots
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads


@dataclass(frozen=True)
class GitRunner:
    """What it takes to run git on mirrors.

    :param processes: where children are started.
    :param commands: their argv and environment.
    :param threads: for blocking file work.
    :param fetch_timeout: seconds that one fetch may take.
    :param clone_timeout: seconds that the first fetch of a clone may take.
    :param maintenance_timeout: seconds that one repack or check may take.
    :param fetches: bounds how many fetches run at once.
    :param by_id: bounds how many fetches run at once of what clients ask for by id.
    :param checks: bounds how many mirrors are read through at once.
    :param disliked: told what git dislikes about objects that came, and how often.
    :param min_free: bytes that what comes from upstreams leaves free on its disk; 0 for no floor.
    :param indexes: what is open of the mirrors' pack indexes.
    """

    processes: Processes
    commands: GitCommands
    threads: Threads
    fetch_timeout: float = 600.0
    clone_timeout: float = 7200.0
    maintenance_timeout: float = 3600.0
    fetches: Slots = field(default_factory=lambda: Slots(limit=8))
    by_id: Slots = field(default_factory=lambda: Slots(limit=8))
    checks: Slots = field(default_factory=lambda: Slots(limit=2, queue_limit=1_000_000))
    disliked: Callable[[Mapping[str, int]], object] = lambda counts: None
    min_free: int = 0
    indexes: OpenIndexes = field(default_factory=OpenIndexes)

    @cached_property
    def for_clones(self) -> "GitRunner":
        """The same with the patience that a first fetch needs; each of thousands of mirrors has it from its start."""
        return replace(self, fetch_timeout=self.clone_timeout)
