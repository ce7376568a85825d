"""What Linux tells about a server's processes: memory and children (proc(5))."""

import os
from pathlib import Path


def parse_kilobytes(text: str, name: str) -> int:
    """Return a field of ``/proc/PID/status`` or ``smaps_rollup`` in bytes; 0 when it isn't there."""
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def tree(root: int) -> list[int]:
    """Return a process and all its descendants; nothing when it is gone."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
            found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes; 0 when it is gone."""
    return parse_kilobytes(_read(pid, "status"), "VmRSS")


def proportional(pid: int) -> int:
    """Return a process's memory in bytes, with its share of what it shares with others; 0 when it is gone."""
    return parse_kilobytes(_read(pid, "smaps_rollup"), "Pss")


def command_line(pid: int) -> list[str]:
    """Return a process's arguments; none when it is gone."""
    return _read(pid, "cmdline").split("\0")[:-1]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
