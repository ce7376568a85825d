"""The schedule's memory as a file: written aside and renamed, so that a crash leaves the old one or the new one."""

import os
from pathlib import Path

from cachew.snapshots.schedule import Memory


def load(path: Path) -> Memory:
    """Read the memory (blocking); what is missing or damaged is empty: then everything is due."""
    try:
        return Memory.decode(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return Memory()


def save(path: Path, memory: Memory) -> None:
    """Write the memory (blocking)."""
    aside = path.with_name(path.name + ".new")
    with aside.open("wb") as file:
        file.write(memory.encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
