"""What strangers say can't steer the terminal of whoever reads it."""

import io

import pytest

from cachew.cli.progressbar import BarProgress, LineProgress
from cachew.cli.terminal import harmless
from tests.fakes.clock import FakeClock


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("one\rtwo", "one\\rtwo"),
        ("\x9b31m", "\\x9b31m"),
        ("right \u202eleft", "right \\u202eleft"),
        ("lines\n\tand tabs, é 🦊", "lines\n\tand tabs, é 🦊"),
        ("no text: \udcff", "no text: \udcff"),
    ],
)
def test_what_steers_stands_there_escaped(said: str, shown: str) -> None:
    """Escapes, carriage returns and marks of direction are seen; all else is as it was."""
    assert harmless(said) == shown


def test_progress_says_nothing_else() -> None:
    """Neither lines nor a bar pass on an escape."""
    for progress in (LineProgress(stream=(lines := io.StringIO()), clock=FakeClock()), BarProgress(stream=lines)):
        progress.begin("Downloading", 1)
        progress.warn("the branch is \x1b]0;evil\x07 now")
        progress.finish()
        progress.say("\x1b]0;evil\x07")
        assert "]0;evil" in lines.getvalue() and "\x1b]" not in lines.getvalue()
