"""How long things may take, in seconds, and how much may be in use: what is promised in docs/reliability.md."""

READY = 20.0
"""From the start of a server, on whatever an earlier one has left, until it is ready."""
RELIEF = 30.0
"""From the end of a fault until everything is as before, unattended: suspect mirrors are decided and made anew, too."""
DECIDED = 15.0
"""Until it is decided whether a mirror in doubt is sound, on a machine that is not overloaded."""
WAIT = 20.0
"""A client's longest wait while something is being found out or made anew: the upstream answers meanwhile."""
TIDY = 20.0
"""Until nothing is left of work that has ended or was broken off: processes, temporary files, locks."""
DESCRIPTORS = 90
"""Open descriptors of a server that has nothing to do."""
MEMORY = 300 * 2**20
"""Bytes resident in a server that has nothing to do."""
