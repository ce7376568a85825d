"""What is kept of each instance of a repository, and what becomes of that when the instance has ended."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from cachew.mirrors.freshness import Freshness
from cachew.mirrors.instance import Instance
from cachew.mirrors.succession import Succession
from cachew.plumbing.background import Background
from cachew.upstream.listing import Listing


@dataclass(frozen=True)
class InstanceHistory:
    """Tells what is kept of instances, and gives it up when they have ended; made after what knows the instances.

    :param succession: gives what knows the mirrors of instances that have ended.
    :param freshness: gives the ref gate.
    :param withdraw: removes what was made of an instance.
    :param background: where that is done.
    """

    succession: Callable[[], Succession]
    freshness: Callable[[], Freshness]
    withdraw: Callable[[Instance], Coroutine[Any, Any, None]]
    background: Background

    def shares(self, instance: Instance, listing: Listing) -> bool | None:
        """Whether the refs of an instance's mirror have anything that is listed; None when it has no mirror."""
        return self.succession().shares(instance, listing)

    def ended(self, instance: Instance) -> None:
        """Give up what is kept of an instance."""
        self.freshness().forget(instance.identity)
        self.succession().ended(instance)
        self.background.start(self.withdraw(instance), f"withdrawal of {instance.identity.name}")
