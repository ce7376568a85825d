"""Programs that are started before anybody has time for their answers."""

import os

import pytest

from cachew.client.asking import AskedProgram


def test_says_what_a_program_has_said() -> None:
    """However much that is; the program reads nothing, and what it complains about nobody sees."""
    script = "cat; echo $WORD >&2; head -c 300000 /dev/zero; exit 3"
    asked = AskedProgram("sh", "-c", script, environ={**os.environ, "WORD": "unseen"})
    assert asked.answer() == bytes(300_000)


def test_a_program_that_is_not_there() -> None:
    """Is told at once, and nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        AskedProgram("no-such-program", environ=os.environ)
    assert len(os.listdir("/proc/self/fd")) == before
