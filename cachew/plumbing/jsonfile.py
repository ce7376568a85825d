"""Small files, JSON mostly, that are whole or as they were, whatever happens while they are written."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cachew.plumbing.diskspace import replacing

_SUFFIX = ".unfinished"
UNFINISHED = f".*{_SUFFIX}"
"""What is left of a file beside it when its writer was killed (a pattern)."""


def set_aside(path: Path) -> Path:
    """Put what is in a file's place beside it, and return where that is; what was set aside before goes.

    :raise OSError: when it can't be put there.
    """
    aside = path.with_name(f"{path.name}.damaged")
    if aside.is_dir():
        shutil.rmtree(aside)
    return path.replace(aside)


def write_json(path: Path, document: Any) -> None:
    """Replace a file's content with a document of JSON's types.

    :raise OSError: when it can't be written; then it is as it was.
    """
    replace_content(path, json.dumps(document).encode())


def replace_content(path: Path, content: bytes) -> None:
    """Replace a file's content.

    :raise OSError: when it can't be written; then it is as it was.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX)
    with replacing(path, Path(temporary)):
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.is_dir() and not path.is_symlink():
            set_aside(path)
