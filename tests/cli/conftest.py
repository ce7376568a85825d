"""What tests of commands share."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def heard_signals() -> Iterator[None]:
    """Let commands hear signals that whoever runs the tests ignores: ``nohup`` and a shell's ``&`` hand that on."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hangup)
