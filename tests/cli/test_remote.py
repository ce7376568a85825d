"""``git-remote-cachew`` before it does anything."""

import os
import select
import subprocess
import sys
from pathlib import Path

from tests.fakes.archives import git

SLOW = ("re", "typing", "dataclasses", "pathlib", "subprocess", "ssl", "http", "zstandard", "click", "rich", "twisted")


def test_imports_hardly_anything() -> None:
    """Every fetch waits for what is imported, so it is the helper's own modules and next to nothing of the library."""
    said = "import sys; old = set(sys.modules); import cachew.cli.remote; print(*sorted(set(sys.modules) - old))"
    done = subprocess.run([sys.executable, "-S", "-c", said], capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert "cachew.client.relay" in found
    assert not {name.partition(".")[0] for name in found} & set(SLOW)


def test_says_what_it_is_for() -> None:
    """Whoever runs it by hand is told how it is used."""
    done = subprocess.run([sys.executable, "-m", "cachew.cli.remote"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "git clone cachew::http" in done.stderr


def test_what_has_no_line_of_its_own_gets_through(tmp_path: Path) -> None:
    """After a service has been asked for, git waits for answers to what does not end in a line break."""
    (tmp_path / "git-remote-http").write_text("#!/bin/sh\nexec cat\n")
    (tmp_path / "git-remote-http").chmod(0o755)
    argv = [sys.executable, "-m", "cachew.cli.remote", "origin", "http://127.0.0.1:1/git/git.example/org/repo"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said, heard = b"stateless-connect git-upload-archive\n0000", b""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0) as helper:
        assert helper.stdin is not None and helper.stdout is not None
        helper.stdin.write(said)
        while len(heard) < len(said) and select.select([helper.stdout], [], [], 30)[0]:
            heard += os.read(helper.stdout.fileno(), 100)
        helper.stdin.close()
    assert heard == said


def test_a_git_that_cannot_be_asked_has_its_own_way(tmp_path: Path) -> None:
    """Without its settings nothing is seeded, and what it asks its own helper for gets there."""
    git(tmp_path, "init", "-q", "--bare", "new")
    (tmp_path / "git-remote-http").write_text("#!/bin/sh\nexec /bin/cat\n")
    (tmp_path / "git-remote-http").chmod(0o755)
    argv = [sys.executable, "-m", "cachew.cli.remote", "origin", "http://127.0.0.1:1/git/git.example/org/repo"]
    environment = {**os.environ, "PATH": str(tmp_path), "GIT_DIR": str(tmp_path / "new")}
    said = b"stateless-connect git-upload-pack\n0000"
    done = subprocess.run(argv, input=said, capture_output=True, env=environment, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (said, b"", 0)
