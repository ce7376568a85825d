"""A directory that has the form of a bare repository, and nothing in it."""

from pathlib import Path

CONFIG = "[core]\n\tbare = true\n"


def repository(path: Path) -> Path:
    """Make what has its form."""
    (path / "objects/pack").mkdir(parents=True)
    (path / "refs/heads").mkdir(parents=True)
    (path / "config").write_text(CONFIG)
    (path / "HEAD").write_text("ref: refs/heads/main\n")
    return path
