"""What stands between git and its http helper, when it is told to end."""

import subprocess
import sys

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
