"""Mirrors served by ``git-http-backend``: one child per request, its answer as a source.

The program itself is started, not ``git http-backend`` (which costs 1.3 times as much), with an environment made from
nothing: no word of a request becomes an argument, and no variable of the server's reaches git.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType

from twisted.internet.defer import Deferred

from cachew.mirrors.gitfailures import NOT_STARTED
from cachew.plumbing.child import Child, Command
from cachew.plumbing.errors import Busy, ProcessFailed, TooLarge
from cachew.plumbing.jobs import Slots
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import BytesSource, Source
from cachew.smarthttp.backendresponse import BackendResponse, response_of
from cachew.smarthttp.request import protocol_version

REQUEST_BUFFER = 10 * 1024 * 1024
"""The request size, in bytes, that http-backend accepts of its own accord."""
_LONG = 15
"""The niceness of what takes long: who waits for that waits a little longer, and who asks for little hardly at all.

With 5, four of them with two threads each left a small answer half of a processor of two.
"""
_QUICK = 10.0
"""Seconds that git may take to say where its programs are."""
_NO_SEARCH = {"pack.window": "0"}


class Backend:
    """Runs ``git-http-backend``.

    :param processes: starts the children.
    :param exec_path: what ``git --exec-path`` prints; asked for anew when nothing is there any more.
    :param slots: bounds how many run at once, fairly between repositories.
    :param home: an empty directory, which git takes for the user's home.
    :param search_path: the ``PATH`` of the children.
    :param silence: seconds after which a backend that gives nothing is given up, with all that it has started.
    :param niceness: how much the children stand back behind other processes, up to 19 (nice(1)).
    """

    def __init__(
        self,
        *,
        processes: Processes,
        exec_path: Path,
        slots: Slots,
        home: Path,
        search_path: str = "/usr/local/bin:/usr/bin:/bin",
        silence: float | None = None,
        niceness: int = 0,
    ) -> None:
        self._niceness = niceness
        self._processes = processes
        self._exec_path = exec_path
        self._slots = slots
        self._home = home
        self._search_path = search_path
        self._silence = silence

    async def upload_pack(
        self,
        *,
        repository: str,
        directory: Path,
        body: bytes | Source,
        length: int | None = None,
        protocol: str | None,
        long: bool = False,
        search: bool = True,
    ) -> BackendResponse:
        """Answer ``POST …/git-upload-pack``; see :meth:`serve`.

        :param search: whether deltas are looked for besides those that the repository's packs have.
        """
        return await self.serve(
            repository=repository,
            directory=directory,
            path_info="/git-upload-pack",
            method="POST",
            query="",
            content_type="application/x-git-upload-pack-request",
            body=body,
            length=length,
            protocol=protocol,
            long=long,
            settings={} if search else _NO_SEARCH,
        )

    async def info_refs(self, *, repository: str, directory: Path, protocol: str | None) -> BackendResponse:
        """Answer ``GET …/info/refs?service=git-upload-pack``; see :meth:`serve`."""
        return await self.serve(
            repository=repository,
            directory=directory,
            path_info="/info/refs",
            method="GET",
            query="service=git-upload-pack",
            content_type="",
            body=b"",
            protocol=protocol,
        )

    async def serve(
        self,
        *,
        repository: str,
        directory: Path,
        path_info: str,
        method: str,
        query: str,
        content_type: str,
        body: bytes | Source,
        length: int | None = None,
        protocol: str | None,
        long: bool = False,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> BackendResponse:
        """Start a backend and wait for its header; its place is free again when it has ended.

        :param repository: the identity's name: whose turn it counts as.
        :param directory: the bare repository.
        :param body: the request's body, without content encoding; it is closed in the end.
        :param length: bytes of a body that streams, None when that isn't known.
        :param protocol: the client's ``Git-Protocol`` header.
        :param long: whether it is likely to take long, so that what is not must find a place beside it.
        :param settings: further configuration for git.
        :raise Busy: when too many wait for a place.
        :raise ProcessFailed: as :func:`~cachew.smarthttp.backendresponse.response_of` raises it.
        """
        source, length = (BytesSource(body), len(body)) if isinstance(body, bytes) else (body, length)
        environment = self._environment(directory, method, length, settings) | {
            "PATH_INFO": path_info,
            "REQUEST_METHOD": method,
            "QUERY_STRING": query,
            "CONTENT_TYPE": content_type,
        }
        if version := protocol_version(protocol):
            environment["GIT_PROTOCOL"] = f"version={version}"
        try:
            began = await self._slots.acquire(repository, long=long)
            release = partial(self._slots.release, repository, long=long, began=began)
            child = self._start(environment, source, release, max(self._niceness, _LONG if long else 0))
        except BaseException as failure:
            source.close()
            if isinstance(failure, ProcessFailed) and failure.code == NOT_STARTED:
                await self._look_for_programs()
            raise
        return await response_of(child)

    async def _look_for_programs(self) -> None:
        """Ask git anew where its programs are: another one may have been installed, somewhere else."""
        command = Command(("git", "--exec-path"), {"PATH": self._search_path})
        with suppress(ProcessFailed, Busy, TooLarge):
            said = (await self._processes.run(command, timeout=_QUICK, limit=4096)).stdout
            place = Path(os.fsdecode(said.rstrip(b"\n")))
            if (place / "git-http-backend").is_file():
                self._exec_path = place

    def _start(self, environment: Mapping[str, str], body: Source, release: Callable[[], None], niceness: int) -> Child:
        command = Command((str(self._exec_path / "git-http-backend"),), environment)
        try:
            child = self._processes.start(command, stdin=body, silence=self._silence)
        except BaseException:
            release()
            raise
        if niceness:
            # It starts nothing before it has read the request, so all that it starts stands back with it.
            child.stand_back(niceness)
        Deferred.fromCoroutine(child.wait()).addBoth(lambda _: release())
        return child

    def _environment(self, directory: Path, method: str, length: int | None, more: Mapping[str, str]) -> dict[str, str]:
        settings = {
            "safe.directory": str(directory),
            "http.receivepack": "false",
            "http.getanyfile": "false",
            # Clients tell theirs when an upstream has asked for it; upload-pack refuses what it would not ask for.
            "transfer.advertiseSID": str(method == "POST").lower(),
            **more,
        }
        environment = {
            "PATH": self._search_path,
            "HOME": str(self._home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": str(directory),
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_CONFIG_COUNT": str(len(settings)),
        }
        for number, (key, value) in enumerate(settings.items()):
            environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        if length is not None:
            environment["CONTENT_LENGTH"] = str(length)
            environment["GIT_HTTP_MAX_REQUEST_BUFFER"] = str(max(length, REQUEST_BUFFER))
        return environment
