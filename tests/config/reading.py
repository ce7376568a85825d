"""Reads config files for tests of what is said about them."""

import pytest

from cachew.config.load import ConfigErrors, load
from cachew.config.settings import Settings


def read(text: str, **environ: str) -> Settings:
    """Return the settings of a file."""
    return load(text, file="cachew.toml", environ=environ)


def complaints(text: str, **environ: str) -> list[str]:
    """Return what is wrong with a file."""
    with pytest.raises(ConfigErrors) as caught:
        read(text, **environ)
    return [str(problem) for problem in caught.value.problems]
