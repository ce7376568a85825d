"""``git-remote-cachew`` before it does anything."""

import subprocess
import sys

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
