"""``cachew doctor``: looks at whatever a fast clone needs, and says what to do about what is missing."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from cachew.client.clienterrors import ClientError
from cachew.client.connections import BROKEN
from cachew.client.gitcommand import Git
from cachew.client.gitsetup import ALLOWED, FAST, servers
from cachew.client.http import Http
from cachew.plumbing.clock import Clock

_OLDEST = (2, 31)
_ANYWHERE, _HERE = Path("/"), Path(".")
_SKEW = 300.0
_LONGEST = 4096


@dataclass(frozen=True)
class Finding:
    """What a look has shown.

    :param subject: what was looked at.
    :param good: whether it is as it should be.
    :param says: what was found.
    :param advice: what to do about it.
    """

    subject: str
    good: bool
    says: str
    advice: str = ""


class Diagnosis:
    """Looks at a machine and a server.

    :param http: the server.
    :param git: the git program.
    :param find: tells where a program is, None when it is nowhere.
    :param clock: what time it is.
    :param version: this client's.
    """

    def __init__(
        self,
        *,
        http: Http,
        git: Git,
        find: Callable[[str], str | None],
        clock: Clock,
        version: str,
    ) -> None:
        self._http = http
        self._git = git
        self._find = find
        self._clock = clock
        self._version = version

    def findings(self) -> Iterator[Finding]:
        """Look at one thing after the other."""
        yield self._git_version()
        yield from self._server()
        known = self._git.listed(_HERE)
        yield self._configuration(known)
        yield from self._helper(known)
        yield from self._credentials(known)

    def _git_version(self) -> Finding:
        said = self._git.text(_ANYWHERE, "version")
        match = re.search(r"(\d+)\.(\d+)", said)
        good = match is not None and (int(match[1]), int(match[2])) >= _OLDEST
        return Finding("git", good, said or "does not run", "" if good else "Install git 2.31 or newer.")

    def _server(self) -> Iterator[Finding]:
        url = f"{self._http.server}/_liveness"
        try:
            with closing(self._http.request("GET", url)) as answer:
                headers, status = answer.headers, answer.status
        except ClientError as error:
            yield Finding("server", False, str(error), error.advice)
            return
        name, _, version = headers.get("Server", "").partition("/")
        if status != 200 or name != "cachew":
            says = f"{self._http.server} answers {status} and is no cachew server"
            yield Finding(
                "server", False, says, "Name the server with --url or CACHEW_URL, and look for a proxy between."
            )
            return
        yield Finding("server", True, f"{self._http.server} is alive")
        yield self._readiness()
        same = version == self._version
        advice = "" if same else f"Install the client that the server hands out: {self._http.server}/client/install.sh."
        yield Finding("versions", same, f"server {version}, client {self._version}", advice)
        yield from self._time_difference(headers.get("Date", ""))

    def _readiness(self) -> Finding:
        try:
            with closing(self._http.request("GET", f"{self._http.server}/_readiness")) as answer:
                good, told = answer.status == 200, answer.read(_LONGEST).decode("utf-8", "replace")
        except ClientError as error:
            return Finding("readiness", False, str(error), error.advice)
        except BROKEN as error:
            return Finding("readiness", False, f"its answer broke off: {error}", "Try again in a moment.")
        says = "; ".join(["ready" if good else "not ready", *filter(str.isprintable, told.split("\n")[1:-1])])
        return Finding("readiness", good, says, "" if good else "Try again in a moment.")

    def _time_difference(self, date: str) -> Iterator[Finding]:
        try:
            ahead = self._clock.now() - parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError):
            return
        good = abs(ahead) <= _SKEW
        says = (
            "agrees with the server's" if good else f"is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} it"
        )
        yield Finding("clock", good, says, "" if good else "Set the clock: certificates and tokens are judged by it.")

    def _configuration(self, known: Sequence[tuple[str, str]]) -> Finding:
        found = servers(known)
        if self._http.server in found:
            return Finding("configuration", True, f"git goes to {self._http.server}")
        says = f"git goes to {', '.join(found)}" if found else "git goes to no server"
        return Finding("configuration", False, says, f"`cachew git setup {self._http.server}` sends it there.")

    def _helper(self, known: Sequence[tuple[str, str]]) -> Iterator[Finding]:
        fast = any(name.startswith(f"url.{FAST}") for name, _ in known)
        where = self._find("git-remote-cachew")
        advice = "" if where or not fast else "Put the directory of the cachew command on the PATH."
        says = where or "git-remote-cachew is not on the PATH" + ("" if fast else ", and nothing needs it")
        yield Finding("helper", bool(where) or not fast, says, advice)
        if fast:
            good = (ALLOWED, "always") in known
            advice = "" if good else f"`git config --global {ALLOWED} always` lets submodules take the helper's way."
            yield Finding("submodules", good, f"{ALLOWED} is {'' if good else 'not '}set", advice)

    def _credentials(self, known: Sequence[tuple[str, str]]) -> Iterator[Finding]:
        for name, host in self._hosts(known):
            base = f"{name}/git/{host}/"
            helped = any(key.startswith((f"credential.{base}", f"http.{base}")) for key, _ in known)
            advice = "" if helped else f"`cachew git setup {name} {host}` has git ask for {host}'s own."
            says = f"those of {host} are asked for" if helped else f"nothing says whose are sent for {host}"
            yield Finding("credentials", helped, says, advice)

    def _hosts(self, known: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for name, value in known:
            if name.startswith("url.") and name.endswith(".insteadof") and f"{self._http.server}/git/" in name:
                yield self._http.server, value.removeprefix("https://").rstrip("/")
