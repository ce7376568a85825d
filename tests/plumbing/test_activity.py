"""What a session has done so far."""

import os
from pathlib import Path

from cachew.plumbing.activity import NOTHING_KNOWN, work_of_session


def test_work_of_a_session(tmp_path: Path) -> None:
    """All processes of a session count, those of others and what can't be read don't."""
    assert work_of_session(os.getsid(0)) > 0
    assert work_of_session(2**22) == NOTHING_KNOWN
    for pid, session, name in ((7, 7, "git"), (8, 7, "a) 9 ("), (9, 6, "sh"), (10, 7, "gone")):
        (tmp_path / str(pid)).mkdir()
        times = "1 2 3 4" if session == 7 else "500 0 0 0"
        (tmp_path / str(pid) / "stat").write_text(
            f"{pid} ({name}) S 1 {pid} {session} 0 -1 4194560 1 0 0 0 {times} 20 0\n"
        )
        if name != "gone":
            (tmp_path / str(pid) / "io").write_text("rchar: 100\nwchar: 0\nsyscr: 1\n")
    (tmp_path / "self").mkdir()
    assert work_of_session(7, proc=tmp_path) == 2 * (1 + 10 + 101)
