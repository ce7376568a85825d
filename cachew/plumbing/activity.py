"""Whether a child does anything: what its session has computed, read and written so far, as Linux counts it.

A child that was stopped, or that waits for what never comes, is told from one that takes long; see proc(5).
"""

import os
from contextlib import suppress
from pathlib import Path

NOTHING_KNOWN = 0
"""What is told of a session that can't be looked at."""
_SESSION, _TIMES = 3, slice(11, 15)
"""Where these are among what comes after the program's name in ``/proc/PID/stat``."""


def work_of_session(leader: int, *, proc: Path = Path("/proc")) -> int:
    """Return a number that grows with whatever any process of a session does.

    :param leader: the process id of the session's leader.
    :param proc: where the kernel tells of processes.
    """
    done = 0
    for name in os.listdir(proc):
        if name.isdecimal():
            with suppress(OSError, IndexError, ValueError):  # it may end while it is looked at
                done += _work_of(proc / name, leader)
    return done


def _work_of(process: Path, leader: int) -> int:
    fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
    if int(fields[_SESSION]) != leader:
        return 0
    counted = [line.split() for line in (process / "io").read_bytes().split(b"\n") if line]
    # One is for its being there: a child that has just started another has done something.
    return 1 + sum(map(int, fields[_TIMES])) + sum(int(count) for _, count in counted)
