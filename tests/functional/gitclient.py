"""Stock git as users run it, but with nothing of this machine's configuration and beside a running reactor."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.functional.gitcgi import git_environment

IDENTITY = {
    name: value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (
        (f"GIT_{role}_NAME", "A U Thor"),
        (f"GIT_{role}_EMAIL", "author@example.org"),
        (f"GIT_{role}_DATE", "2024-01-02T03:04:05Z"),
    )
}


@dataclass(frozen=True)
class Result:
    """How a command ended.

    :param code: its exit code, minus the signal when one ended it.
    :param raw: standard output.
    :param err: standard error, as text.
    """

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output as text, without the white space at its ends."""
        return self.raw.decode(errors="replace").strip()


class GitFailed(AssertionError):
    """A git command that should have worked did not."""


class Run(ProcessProtocol):
    """One run of a command.

    :param stdin: what it reads.
    """

    def __init__(self, stdin: bytes) -> None:
        self._stdin = stdin
        self._out, self._err = bytearray(), bytearray()
        self._process: Any = None
        self.done: Deferred[Result] = Deferred(lambda _: self.kill())

    def connectionMade(self) -> None:
        """Feed the input."""
        self._process = self.transport
        self._process.write(self._stdin)
        self._process.closeStdin()

    def kill(self) -> None:
        """End the command and the transport that it has started, which git would leave running."""
        if self._process.pid is not None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def outReceived(self, data: bytes) -> None:
        """Keep standard output."""
        self._out += data

    def errReceived(self, data: bytes) -> None:
        """Keep standard error."""
        self._err += data

    def processEnded(self, reason: Failure) -> None:
        """Give the result, unless nobody waits for it any more."""
        if not self.done.called:
            ended: Any = reason.value
            code = 0 if reason.check(ProcessDone) else ended.exitCode if ended.exitCode is not None else -ended.signal
            self.done.callback(Result(code, bytes(self._out), self._err.decode(errors="replace")))


class Git:
    """A user's git.

    :param reactor: runs the processes.
    :param home: an existing directory, the user's home.
    :param timeout: seconds after which a command is ended.
    """

    def __init__(self, reactor: Any, home: Path, *, timeout: float = 50) -> None:
        self.home = home
        self.config: dict[str, str] = {
            "init.defaultBranch": "main",
            "advice.detachedHead": "false",
            "gc.auto": "0",
            "maintenance.auto": "false",
            "safe.directory": "*",
            "protocol.file.allow": "always",
        }
        self._reactor = reactor
        self._timeout = timeout

    def instead_of(self, original: str, replacement: str) -> None:
        """Send requests for URLs that begin with ``original`` to ``replacement``, as users of cachew do."""
        self.config[f"url.{replacement}.insteadOf"] = original

    async def run(
        self,
        *words: str | os.PathLike[str],
        cwd: Path | None = None,
        stdin: bytes = b"",
        check: bool = True,
        protocol: int | None = None,
        config: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Run ``git WORDS…``.

        :param cwd: the directory it works in; the user's home by default.
        :param protocol: 0, 1 or 2; git's own choice by default.
        :param config: settings for this command.
        :param environment: variables for this command.
        :raise GitFailed: when it fails and ``check`` is true.
        """
        settings = self.config | dict(config or {})
        if protocol is not None:
            settings["protocol.version"] = str(protocol)
        variables = git_environment(self.home, settings) | IDENTITY | {"GIT_TERMINAL_PROMPT": "0"}
        argv = ["git", "-C", os.fspath(cwd or self.home), *(os.fspath(word) for word in words)]
        result = await self._spawn(argv, variables | dict(environment or {}), stdin)
        if check and result.code != 0:
            raise GitFailed(f"{' '.join(argv)} ended with {result.code}:\n{result.err}")
        return result

    async def _spawn(self, argv: list[str], environment: dict[str, str], stdin: bytes) -> Result:
        run = Run(stdin)
        self._reactor.spawnProcess(run, "setsid", ["setsid", *argv], env=environment, path=None)
        timer = self._reactor.callLater(self._timeout, run.kill)
        try:
            return await run.done
        finally:
            if timer.active():
                timer.cancel()
