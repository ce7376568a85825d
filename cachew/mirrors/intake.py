"""How objects come into a repository.

They are fetched from its upstream, or out of another repository on this machine, or are in a pack that a client has
received already.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cachew.mirrors import findings, receivedpack
from cachew.mirrors.fewrefs import few_refs
from cachew.mirrors.findings import FindingsReader
from cachew.mirrors.gitfailures import met_another, told_of_upstream
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.gitwork import GitWork
from cachew.mirrors.history import shallow_of
from cachew.mirrors.leftovers import remove_tree
from cachew.mirrors.links import Links
from cachew.mirrors.objectindex import ObjectIndex
from cachew.mirrors.packanswer import NoPack, PackAnswer
from cachew.mirrors.quarantine import Quarantine
from cachew.plumbing.child import Command
from cachew.plumbing.diskspace import put_in_place
from cachew.plumbing.errors import (
    ProcessFailed,
    ProcessTimedOut,
    UpstreamError,
    UpstreamTimeout,
)
from cachew.plumbing.sharedlock import SharedLock
from cachew.plumbing.streams import FileSource, Source

_FSCK = "fsck error"
_FINDINGS = "findings.json"


class Intake:
    """Brings objects into one repository; its refs stay as they are.

    :param directory: the bare repository.
    :param object_format: ``sha1`` or ``sha256``.
    :param git: how to run git.
    :param work: where its commands run.
    :ivar links: what is known of the links between the objects that are here.
    """

    log = Logger()

    def __init__(self, *, directory: Path, object_format: str, git: GitRunner, work: GitWork) -> None:
        self.links = Links(directory=directory)
        self._directory = directory
        self._object_format = object_format
        self._git = git
        self._work = work
        self._findings: Counter[str] | None = None
        self._noting = DeferredLock()
        self._fetching = SharedLock()

    async def fetch_objects(
        self,
        url: str,
        oids: Iterable[str],
        extra: Mapping[str, str],
        near: Collection[str] = (),
        *,
        apart: bool = False,
    ) -> None:
        """Fetch objects by id; refs stay as they are.

        :param near: tips that have nearly all that is behind these; none where that is not known, and git looks at all
            refs there are.
        :param apart: whether they may come one by one; nobody sees them then until all have come.
        :raise FetchFailed: when git says no.
        """
        script = await self._git.threads(_script, oids)
        # A history that was cut off at the upstream may go further there by now.
        deepen = bool(shallow_of(self._directory))
        with self._known_to_git(() if deepen else near) as place, told_of_upstream(url):
            await self._fetch(
                lambda extra: self._git.commands.fetch(place, url, extra=extra, deepen=deepen),
                extra,
                script,
                apart=apart,
            )

    def _known_to_git(self, tips: Collection[str]) -> AbstractContextManager[Path]:
        return few_refs(self._directory, tips) if tips else nullcontext(self._directory)

    async def fetch_refs(self, url: str, extra: Mapping[str, str]) -> None:
        """Fetch all mirrored refs by their names, to a place below the hidden ones.

        :raise FetchFailed: when git says no.
        """
        with told_of_upstream(url):
            await self._fetch(
                lambda extra: self._git.commands.fetch_refs(self._directory, url, extra=extra), extra, b""
            )

    async def take(self, donor: Path, oids: Iterable[str]) -> None:
        """Fetch those of the objects that another repository on this machine has, with what they reach.

        :raise ProcessFailed: when git says no.
        """
        wanted = sorted(oids)
        other = ObjectIndex(directory=donor, object_format=self._object_format, opened=self._git.indexes)
        try:
            absent = set(await self._work.missing(other, wanted))
        finally:
            other.close()
        script = await self._git.threads(_script, [oid for oid in wanted if oid not in absent])
        if script:
            await self._fetch(
                lambda extra: self._git.commands.fetch(self._directory, str(donor), extra=extra),
                {"GIT_ALLOW_PROTOCOL": "file"},
                script,
            )

    async def take_pack(self, response: FileSource) -> None:
        """Take the pack that a response of upload-pack carries, and close that.

        :raise ProcessFailed: when git does not take it.
        :raise CorruptObject: when it carries none.
        """
        place, digits = self._directory / "objects" / "pack", 64 if self._object_format == "sha256" else 40
        try:
            pack = await self._git.threads(receivedpack.extract, response.file, response.length, place, digits // 2)
        finally:
            response.close()
        reader = FindingsReader()
        command = self._git.commands.index_pack(self._directory, pack)
        await self._work.write(command, seconds=self._git.fetch_timeout, on_stderr=reader.feed, replaced=False)
        await self._note(reader)

    async def take_answer(self, answer: Source) -> bool:
        """Take the pack that an upstream answers with, and close the answer.

        :return: whether git has taken it; otherwise it is as if nothing had come.
        :raise UpstreamTimeout: when the upstream hangs.
        """
        reader, pack = FindingsReader(), PackAnswer(answer)
        try:
            async with self._fetching.together():
                await self._work.write(
                    self._git.commands.index_stream(self._directory),
                    seconds=self._git.fetch_timeout,
                    stdin=pack,
                    on_stderr=reader.feed,
                    replaced=False,
                    waits=True,
                    blamed=False,
                )
        except UpstreamTimeout:
            raise
        except (ProcessFailed, NoPack, UpstreamError) as error:
            self.log.debug("a pack was not taken as it came: {error}", error=str(error))
            return False
        finally:
            pack.close()
        await self._note(reader)
        return True

    async def _fetch(
        self,
        command: Callable[[Mapping[str, str]], Command],
        extra: Mapping[str, str],
        script: bytes,
        *,
        apart: bool = False,
    ) -> None:
        if not apart:
            await self._fetch_here(command, extra, script)
            return
        quarantine = Quarantine(directory=self._directory, object_format=self._object_format)
        async with self._work.writing():
            try:
                await self._git.threads(quarantine.open)
                extra = {**extra, **quarantine.environment}
                await self._fetch_here(command, extra, script, checked=False)
                await self._release(quarantine)
            finally:
                await self._git.threads(remove_tree, quarantine.place)

    async def _release(self, quarantine: Quarantine) -> None:
        if loose := await self._git.threads(quarantine.loose):
            pack = self._git.commands.upkeep.pack(self._directory, quarantine.place, quarantine.environment)
            await self._work.write(pack, seconds=self._git.fetch_timeout, stdin=_script(loose))
        await self._git.threads(quarantine.release)
        await self._work.take_up(replaced=False)

    async def _fetch_here(
        self,
        command: Callable[[Mapping[str, str]], Command],
        extra: Mapping[str, str],
        script: bytes,
        *,
        checked: bool = True,
    ) -> None:
        """Fetch what git itself takes, and count what it has to say of that.

        :param checked: whether git looks at what the objects name.
        """
        reader = FindingsReader()
        try:
            await self._run_fetch(command(extra), script, reader, checked=checked)
        except ProcessFailed as error:
            # There are findings that git can't be told to only warn of.
            if isinstance(error, ProcessTimedOut) or _FSCK not in error.stderr:
                raise
            unchecked = command(self._git.commands.unchecked(extra))
            await self._run_fetch(unchecked, script, FindingsReader(), checked=False)
        await self._note(reader)

    async def _run_fetch(self, command: Command, script: bytes, reader: FindingsReader, *, checked: bool) -> None:
        """Fetch, again where another fetch has changed meanwhile which commits are cut off: git lets one of them fail.

        At last no other goes on beside it.
        """
        for side_by_side in (True, True, False):
            try:
                async with self._fetching.together() if side_by_side else self._fetching.alone():
                    with self.links.uncertain(checked=checked):
                        await self._work.write(
                            command,
                            seconds=self._git.fetch_timeout,
                            stdin=script,
                            on_stderr=reader.feed,
                            replaced=False,
                            waits=True,
                        )
                return
            except ProcessFailed as error:
                if not side_by_side or not met_another(error):
                    raise
                reader.forget()

    async def _note(self, reader: FindingsReader) -> None:
        """Count what git disliked; where that can't be written down, what has come is as good."""
        if not reader.counts:
            return
        self._git.disliked(reader.counts)
        self._findings = self.findings() + reader.counts
        try:
            await self._noting.run(self._write_findings)
        except OSError as error:
            self.log.info("{directory}: findings are not kept: {error}", directory=self._directory, error=str(error))

    async def _write_findings(self) -> None:
        await self._git.threads(put_in_place, self._directory / _FINDINGS, findings.encode(self.findings()))

    def findings(self) -> Counter[str]:
        """Return how often git disliked an object that came, by what it disliked."""
        if self._findings is None:
            try:
                self._findings = findings.decode((self._directory / _FINDINGS).read_bytes())
            except OSError:
                self._findings = Counter()
        return self._findings


def _script(oids: Iterable[str]) -> bytes:
    """Return what a fetch is told to bring."""
    return "".join(f"{oid}\n" for oid in oids).encode()
