"""What tests of hosts start from: the fixtures of the functional tests."""

from tests.functional.conftest import canary, command_lines, git

__all__ = ["canary", "command_lines", "git"]
