"""What stands between git and its http helper, when it is told to end."""

import subprocess
import sys

import pytest

TIDYING = """
import os, signal
from cachew.client.relay import Relay, Stopped

relay = Relay(program="sleep", arguments=[b"60"], environ=os.environ)
relay.start()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
except Stopped:
    os.kill(os.getpid(), signal.SIGINT)
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    print("tidied", flush=True)
"""


def test_tidying_up_is_not_broken_off() -> None:
    """After the first signal neither a second one nor the end of git's helper, which follows, is in the way."""
    ended = subprocess.run([sys.executable, "-c", TIDYING], stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"tidied\n")


DROPPED = """
import os, signal, sys, threading
from cachew.client.relay import HelperEnded, Relay, Stopped

class Last:
    def __init__(self, end):
        self.end = end

    def __del__(self):
        self.end()
        threading.Event().wait(30)

relay = Relay(program="cat", arguments=[], environ=os.environ)
relay.start()
end = {end}
try:
    del end
    threading.Event().wait(30)
except (Stopped, HelperEnded) as error:
    os.write(2, type(error).__name__.encode())
    os._exit(0)
"""


@pytest.mark.parametrize(
    ("end", "name"),
    [
        ("Last(lambda: os.kill(os.getpid(), signal.SIGTERM))", "Stopped"),
        ("Last(lambda: os.close(relay._to_helper))", "HelperEnded"),
    ],
)
def test_an_end_that_python_drops_comes_again(end: str, name: str) -> None:
    """Also when it comes while the process is in a destructor, where nothing can be raised."""
    words = [sys.executable, "-c", DROPPED.format(end=end)]
    done = subprocess.run(words, capture_output=True, timeout=20, check=True)
    assert done.stderr.decode() == name
