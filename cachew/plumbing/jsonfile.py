"""Small files, JSON mostly, that are whole or as they were, whatever happens while they are written."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

UNFINISHED_SUFFIX = ".unfinished"
"""What is added to a file's name while it is written beside its place."""
UNFINISHED = f".*{UNFINISHED_SUFFIX}"
"""What is left of a file beside it when its writer was killed (a pattern)."""


def _set_aside(path: Path) -> None:
    """Make room where somebody has put a directory; what was set aside before goes."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def write_json(path: Path, document: Any) -> None:
    """Replace a file's content with a document of JSON's types.

    :raise OSError: when it can't be written; then it is as it was.
    """
    replace_content(path, json.dumps(document).encode())


def replace_content(path: Path, content: bytes) -> None:
    """Replace a file's content.

    :raise OSError: when it can't be written; then it is as it was.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED_SUFFIX)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.is_dir() and not path.is_symlink():
            _set_aside(path)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
