"""How much room there is."""

import os
from pathlib import Path


def free_bytes(directory: Path) -> int:
    """Return the bytes that the file system of a directory has left for us."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize
