"""One bare repository on disk and the git commands run on it: no policy, no network of its own.

Whoever calls holds the mirror's lock; nothing here waits for another.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cachew.mirrors.commands import GitCommands, config_text
from cachew.mirrors.objects import ObjectIndex
from cachew.mirrors.refs import (
    HIDDEN,
    Change,
    expired,
    hidden_name,
    of_listing,
    packed_refs,
    update_script,
    valid_name,
)
from cachew.plumbing.child import Command
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.upstream.listing import Listing, RemoteRef

_QUICK = 120.0
_REF_FORMAT = "%(objectname) %(*objectname) %(refname)"


@dataclass(frozen=True)
class GitRunner:
    """What it takes to run git on mirrors.

    :param processes: where children are started.
    :param commands: their argv and environment.
    :param threads: for blocking file work.
    :param fetch_timeout: seconds that one fetch may take.
    :param clone_timeout: seconds that the first fetch of a clone may take.
    :param maintenance_timeout: seconds that one repack or check may take.
    """

    processes: Processes
    commands: GitCommands
    threads: Threads
    fetch_timeout: float = 600.0
    clone_timeout: float = 7200.0
    maintenance_timeout: float = 3600.0

    def for_clone(self) -> "GitRunner":
        """Return the same with the patience that a first fetch needs."""
        return replace(self, fetch_timeout=self.clone_timeout)


class Repository:
    """A bare repository.

    :param directory: where it is.
    :param object_format: ``sha1`` or ``sha256``.
    :param git: how to run git.
    """

    def __init__(self, *, directory: Path, object_format: str, git: GitRunner) -> None:
        self.directory = directory
        self.object_format = object_format
        self.objects = ObjectIndex(directory=directory, object_format=object_format)
        self._git = git

    async def create(self, upstream_url: str) -> None:
        """Make the repository, empty and configured."""
        commands = self._git.commands
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        await self._git.processes.run(commands.init(self.directory, self.object_format), timeout=_QUICK)
        self.configure(upstream_url)

    def configure(self, upstream_url: str) -> None:
        """Write the whole configuration anew, whatever stood there."""
        sha256 = self.object_format == "sha256"
        core = {"core.repositoryformatversion": "1" if sha256 else "0", "core.bare": "true"}
        if sha256:
            core["extensions.objectFormat"] = "sha256"
        text = config_text(core | self._git.commands.configuration(upstream_url))
        aside = self.directory / "config.new"
        aside.write_text(text)
        aside.replace(self.directory / "config")

    async def fetch_objects(self, url: str, oids: Iterable[str], extra: Mapping[str, str]) -> None:
        """Fetch objects by id; refs stay as they are.

        :raise ProcessFailed: when git says no.
        """
        script = "".join(f"{oid}\n" for oid in oids).encode()
        command = self._git.commands.fetch(self.directory, url, extra=extra)
        await self._fetch(command, script)

    async def fetch_refs(self, url: str, extra: Mapping[str, str]) -> None:
        """Fetch all mirrored refs under their names.

        :raise ProcessFailed: when git says no.
        """
        await self._fetch(self._git.commands.fetch_refs(self.directory, url, extra=extra), b"")

    async def _fetch(self, command: Command, script: bytes) -> None:
        try:
            await self._git.processes.run(command, stdin=script, timeout=self._git.fetch_timeout)
        except BaseException:
            await self._git.threads(remove_leftovers, self.directory)
            raise

    async def write_new_refs(self, listing: Listing) -> None:
        """Write the refs of a repository that has none yet."""
        (self.directory / "packed-refs").write_bytes(packed_refs(listing))
        head = of_listing(listing).head
        if head:
            await self.set_head(head)

    async def set_head(self, head: str) -> None:
        """Point HEAD at a ref or an object; a ref name that git would not take is left alone."""
        if head.startswith("refs/") and not valid_name(head):
            return
        await self._git.processes.run(self._git.commands.set_head(self.directory, head), timeout=_QUICK)

    async def apply(self, change: Change, now: float) -> None:
        """Bring the refs to where ``change`` says; what loses its ref is kept under a hidden one."""
        hidden = {hidden_name(oid, now): oid for oid in change.abandoned}
        if change.deletions or hidden:
            await self._update(hidden, change.deletions)
        if change.updates:
            await self._update(change.updates, ())
        if change.head:
            await self.set_head(change.head)

    async def keep(self, oids: Iterable[str], now: float) -> None:
        """Keep objects alive under hidden refs."""
        await self._update({hidden_name(oid, now): oid for oid in oids}, ())

    async def _update(self, updates: Mapping[str, str], deletions: Iterable[str]) -> None:
        script = update_script(updates, deletions)
        await self._git.processes.run(
            self._git.commands.update_refs(self.directory), stdin=script, timeout=_QUICK
        )

    async def read_listing(self) -> Listing:
        """List the mirrored refs and HEAD as the upstream would."""
        words = ("for-each-ref", f"--format={_REF_FORMAT}", "refs/heads/", "refs/tags/")
        output = await self._output(*words)
        refs = [_parse_ref(line) for line in output.decode(errors="surrogateescape").splitlines()]
        head = await self._head({ref.name: ref.oid for ref in refs})
        return Listing(refs=(*head, *refs), object_format=self.object_format)

    async def _head(self, oids: Mapping[str, str | None]) -> list[RemoteRef]:
        text = (self.directory / "HEAD").read_text().strip()
        if not text.startswith("ref:"):
            return [RemoteRef(name="HEAD", oid=text, symref_target=None, peeled=None)]
        target = text.removeprefix("ref:").strip()
        return [RemoteRef(name="HEAD", oid=oids.get(target), symref_target=target, peeled=None)]

    async def expire(self, now: float, *, days: int) -> int:
        """Delete the hidden refs that are older than ``days`` days; return how many."""
        output = await self._output("for-each-ref", "--format=%(refname)", HIDDEN)
        old = expired(output.decode().splitlines(), now, days=days)
        if old:
            await self._update({}, old)
        return len(old)

    async def index_packs(self) -> None:
        """Write bitmaps and the commit-graph."""
        for command in self._git.commands.index_packs(self.directory):
            await self._git.processes.run(command, timeout=self._git.maintenance_timeout)

    async def repack(self, *, full: bool) -> None:
        """Join packs, then write bitmaps and the commit-graph."""
        try:
            for command in self._git.commands.repack(self.directory, full=full):
                await self._git.processes.run(command, timeout=self._git.maintenance_timeout)
        except BaseException:
            await self._git.threads(remove_leftovers, self.directory)
            raise

    async def check(self) -> None:
        """Verify that all that the refs reach is there.

        :raise ProcessFailed: when it is not.
        """
        command = self._git.commands.check(self.directory)
        await self._git.processes.run(command, timeout=self._git.maintenance_timeout)

    async def _output(self, *words: str) -> bytes:
        done = await self._git.processes.run(self._git.commands.git(self.directory, *words), timeout=_QUICK)
        return done.stdout

    def pack_count(self) -> int:
        """Return how many packs there are."""
        return sum(name.endswith(".pack") for name in os.listdir(self.directory / "objects" / "pack"))

    def size(self) -> int:
        """Return the bytes that the packs take."""
        pack = self.directory / "objects" / "pack"
        return sum(entry.stat().st_size for entry in os.scandir(pack) if entry.is_file(follow_symlinks=False))


def _parse_ref(line: str) -> RemoteRef:
    oid, peeled, name = line.split(" ", 2)
    return RemoteRef(name=name, oid=oid, symref_target=None, peeled=peeled or None)


def remove_leftovers(directory: Path) -> None:
    """Remove the locks and temporary files that a killed git leaves; nothing else may be running there."""
    objects = str(directory / "objects")
    for place, _, names in os.walk(directory):
        inside = place.startswith(objects)
        for name in names:
            stray = inside and (name.startswith(("tmp_", ".tmp-")) or name.endswith(".keep"))
            if stray or name.endswith(".lock"):
                (Path(place) / name).unlink(missing_ok=True)


def remove_tree(directory: Path) -> None:
    """Remove a directory and all that is in it, if it is there."""
    shutil.rmtree(directory, ignore_errors=True)
