"""A control group per server, which counts CPU time to the nanosecond, whoever waits for whom (cgroups(7)).

Adding up processes would not do for the peer: fcgiwrap ignores SIGCHLD, so what its CGI programs used is lost when they
end. Groups are made below the one that this process is in, which takes root or a session that owns its group.
"""

import contextlib
import os
import time
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


class ControlGroup:
    """One group.

    :param directory: its directory, None where groups can't be made: then there are no figures.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def command(self, *words: str) -> list[str]:
        """Return a command that runs another one in this group."""
        if self._directory is None:
            return list(words)
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self._directory / "cgroup.procs"), *words]

    def cpu(self) -> float:
        """Return the CPU seconds used so far, NaN where that isn't known."""
        if self._directory is None:
            return float("nan")
        usage = self._directory / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text()) / 1e9
        fields = dict(line.split() for line in (self._directory / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def remove(self) -> None:
        """Remove it; its processes have ended, or will soon."""
        for _ in range(50):
            with contextlib.suppress(OSError):
                if self._directory is not None:
                    self._directory.rmdir()
                return
            time.sleep(0.02)


def make_group(name: str) -> ControlGroup:
    """Make a group.

    :param name: that no other group of this process has.
    """
    for parent in _own_groups(Path("/proc/self/cgroup").read_text()):
        directory = parent / f"cachew-bench-{os.getpid()}-{name}"
        with contextlib.suppress(OSError):
            directory.mkdir()
            if (directory / "cpuacct.usage").exists() or (directory / "cpu.stat").exists():
                return ControlGroup(directory)
            directory.rmdir()
    return ControlGroup(None)


def _own_groups(text: str) -> list[Path]:
    """Return where this process's own group may be mounted.

    :param text: ``/proc/self/cgroup``.
    """
    found = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            found += [_MOUNT / mounted / path.lstrip("/") for mounted in ("cpuacct", controllers)]
        elif not controllers:
            found += [_MOUNT / path.lstrip("/"), _MOUNT / "unified" / path.lstrip("/")]
    return found
