"""Git's going away is noticed, however the one who is to notice it is occupied."""

import subprocess
import sys

DEAF = """
import os, signal, sys
from cachew.client.peer import watched

told = 0

def tell(number, frame):
    global told
    told += 1
    if told == 3:
        raise KeyboardInterrupt

signal.signal(signal.SIGTERM, tell)
reading, writing = os.pipe()
os.close(writing)
try:
    with watched(reading):
        while True:
            signal.pause()
except KeyboardInterrupt:
    print("ended", flush=True)
"""


def test_one_who_does_not_hear_is_told_again() -> None:
    """A signal that was lost, because it came just before a wait began, is followed by others."""
    ended = subprocess.run([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, check=False, timeout=30)
    assert (ended.returncode, ended.stdout) == (0, b"ended\n")
