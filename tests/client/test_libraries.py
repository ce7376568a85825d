"""Libraries of a program that was started without looking for any."""

import subprocess
import sys
from pathlib import Path

import cachew

_SAID = """
import sys, threading, types
sys.path.insert(0, sys.argv[1])
from cachew.client.libraries import find_libraries

looked, together = [], threading.Barrier(4)
sys.modules["site"] = types.SimpleNamespace(main=lambda: looked.append(1))


def ask():
    together.wait(10)
    find_libraries()


threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(looked))
"""


def test_it_looks_once_however_many_ask() -> None:
    """Threads that decompress ask at the same time, and none may find the list of places half written by another."""
    argv = [sys.executable, "-S", "-c", _SAID, str(Path(cachew.__file__).parents[1])]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "1\n"
