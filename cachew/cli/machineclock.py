"""The clock of the machine on which the client runs."""

import time

from cachew.plumbing.clock import Clock


def machine_clock() -> Clock:
    """Return it, for those whose work is inside; only who is called by the user knows of it."""
    return Clock(seconds=time.monotonic, now=time.time)
