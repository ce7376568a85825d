"""A git and an upstream in memory for tests of mirrors: slow and failing exactly when the test says so."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.commands import CommandSettings, GitCommands
from cachew.mirrors.discovery import Discovery
from cachew.mirrors.firstclones import FirstClones
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.identity import CASE_MATTERS, Grammar, Identity
from cachew.mirrors.listings import Listings
from cachew.mirrors.making import Seed
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirroring import Mirroring, MirrorRoom
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.packindex import OpenIndexes
from cachew.mirrors.resources import MirrorListeners, MirrorResources
from cachew.mirrors.succession import Succession
from cachew.plumbing.background import Background
from cachew.plumbing.child import Command, Completed
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.upstream.listing import Capabilities, Listing, RemoteRef
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.instances import OneInstance

P = ParamSpec("P")
T = TypeVar("T")

REPOSITORY = Identity("git.example", "org/repo")


def oid(digit: str) -> str:
    """Return an object id that is easily told from others."""
    return digit * 40


def listing(*refs: str, head: str | None = "refs/heads/main", **heads: str) -> Listing:
    """Make a listing of heads, each with the object id of one digit; ``refs`` are further ``name=digit``."""
    names = {f"refs/heads/{name}": oid(digit) for name, digit in heads.items()}
    names |= {name: oid(digit) for name, _, digit in (ref.partition("=") for ref in refs)}
    top = () if head is None else (RemoteRef("HEAD", names.get(head), head),)
    return Listing(refs=(*top, *(RemoteRef(name, value) for name, value in names.items())))


def git_settings(home: Path) -> GitCommands:
    """Return the commands for git as it is installed.

    :param home: where git looks for the user's settings.
    """
    return GitCommands(CommandSettings(path="/usr/bin:/bin", home=home))


class FakeGit:
    """Plays ``Processes`` for the git commands that keep a mirror.

    :ivar ran: git's subcommands, in order.
    :ivar there: the object ids that the upstream gives; None gives all.
    :ivar names: whether a refusal names the object.
    :ivar holding: commands whose runs wait in ``held`` until the test releases them.
    :ivar reached: commits that every new tip reaches.
    :ivar roots: the roots of histories that are asked for next; all are the same when there are none left.
    :ivar failures: for a command, the failures of its next runs.
    :ivar spoilt: object ids that make every fetch fail that asks for them, each with its failure.
    :ivar unmovable: a ref that makes every transaction fail that touches it.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.scripts: list[list[str]] = []
        self.seconds: list[float] = []
        self.there: set[str] | None = None
        self.names = True
        self.holding: set[str] = set()
        self.held: list[Deferred[None]] = []
        self.reached: set[str] = set()
        self.roots: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self.spoilt: dict[str, Exception] = {}
        self.unmovable = ""

    async def run(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout: float,  # noqa: ASYNC109
        **_: Any,
    ) -> Completed:
        words = [word for word in command.argv if not word.startswith("--git-dir=")]
        name = words[1]
        self.ran.append(name)
        if name in self.holding:
            self.held.append(Deferred())
            await self.held[-1]
        if self.failures.get(name):
            raise self.failures[name].pop(0)
        places = [Path(word.partition("=")[2]) for word in command.argv if word.startswith("--git-dir=")]
        output = b""
        if name == "init":
            self._init(Path(words[-1]))
        elif name == "fetch":
            self.seconds.append(timeout)
            self._fetch(places[0], stdin.decode().split())
        elif name == "update-ref":
            if self.unmovable and f" {self.unmovable}\0" in stdin.decode():
                raise ProcessFailed("git update-ref", 128, f"fatal: cannot update ref '{self.unmovable}'")
            _update_refs(places[0], stdin)
        elif name == "merge-base":
            output = b"" if self.roots else b"base\n"
        elif name == "rev-list" and "--max-parents=0" in words:
            output = f"{self.roots.pop(0) if self.roots else oid('0')}\n".encode()
        elif name == "rev-list":
            asked = [line for line in stdin.decode().split() if not line.startswith("^")]
            output = "".join(f"{value}\n" for value in asked if value not in self.reached).encode()
        elif name == "cat-file" and any(word.startswith("--batch-check") for word in words):
            output = "".join(f"{line} commit\n" for line in stdin.decode().split()).encode()
        elif name == "symbolic-ref":
            (places[0] / "HEAD").write_text(f"ref: {words[-1]}\n")
        elif name == "for-each-ref":
            refs = _refs(places[0])
            prefixes = tuple(word for word in words[2:] if word.startswith("refs/"))
            output = "".join(
                f"{value}  {ref}\n" for ref, value in sorted(refs.items()) if ref.startswith(prefixes)
            ).encode()
        return Completed(0, None, output, b"")

    def _init(self, directory: Path) -> None:
        (directory / "objects/pack").mkdir(parents=True)
        (directory / "refs").mkdir()
        (directory / "HEAD").write_text("ref: refs/heads/master\n")

    def _fetch(self, directory: Path, oids: list[str]) -> None:
        self.scripts.append(oids)
        for wanted in oids:
            if wanted in self.spoilt:
                raise self.spoilt[wanted]
        for wanted in oids:
            if self.there is not None and wanted not in self.there:
                raise refused(wanted) if self.names else ProcessFailed("git fetch", 128, "fatal: bad object")
        for wanted in oids:
            path = directory / "objects" / wanted[:2] / wanted[2:]
            path.parent.mkdir(exist_ok=True)
            path.touch()

    def release(self, failure: Exception | None = None) -> None:
        """Let the command that has waited longest go on, or fail."""
        held = self.held.pop(0)
        if failure is None:
            held.callback(None)
        else:
            held.errback(failure)


def refused(wanted: str) -> ProcessFailed:
    """Return what git says of an object that the upstream does not give."""
    return ProcessFailed("git fetch", 128, f"fatal: remote error: upload-pack: not our ref {wanted}")


def unreachable() -> ProcessFailed:
    """Return what git says when nobody answers."""
    return ProcessFailed("git fetch", 128, "fatal: unable to access 'http://git.example/': Failed to connect")


def _refs(directory: Path) -> dict[str, str]:
    refs = {}
    packed = directory / "packed-refs"
    if packed.exists():
        for line in packed.read_text().splitlines():
            if not line.startswith(("#", "^")):
                value, _, name = line.partition(" ")
                refs[name] = value
    return refs


def _update_refs(directory: Path, script: bytes) -> None:
    refs, fields = _refs(directory), iter(script.decode().split("\0"))
    for field in fields:
        verb, _, name = field.partition(" ")
        if verb == "update":
            refs[name] = next(fields)
        elif verb == "delete":
            refs.pop(name, None)
        if verb:
            next(fields)
    (directory / "packed-refs").write_text("".join(f"{value} {name}\n" for name, value in refs.items()))


def on_disk(mirror: Mirror) -> Mapping[str, str]:
    """Return all refs of a mirror's directory."""
    return _refs(mirror.directory)


class FakeRemote:
    """An upstream that lists what the test says."""

    capabilities = Capabilities(protocol=0)

    def __init__(self, current: Listing) -> None:
        self.url = "http://git.example/org/repo"
        self.current: Listing | Exception = current

    async def list_refs(self) -> Listing:
        if isinstance(self.current, Exception):
            raise self.current
        return self.current

    async def fetch_url(self) -> str:
        return self.url

    async def git_environment(self) -> Mapping[str, str]:
        return {}

    async def fetch(self, remote: object, question: bytes) -> None:
        return None


class MirrorHouse:
    """A collection of mirrors on a clock, with its git and its upstream."""

    def __init__(
        self, root: Path, *, seed: Seed | None = None, discovered: bool = True, grammar: Grammar = CASE_MATTERS
    ) -> None:
        self.clock, self.git, self.background = FakeClock(), FakeGit(), Background()
        self.clock.advance(1000)
        self.remote = FakeRemote(listing(main="1"))
        self.metrics, self.listings = Metrics(), Listings(limit=1_000_000)
        self.forgotten: list[Identity] = []
        self.grown: list[Identity] = []
        self.watchers: list[Callable[[Identity], object]] = []
        self.root = root
        self.made_of: list[Identity] = []
        self.damaged: list[tuple[Identity, float]] = []
        self.standing = OneInstance()
        self.free = 1000
        self.fetches, self.by_id = Slots(limit=1), Slots(limit=8)
        self.indexes = OpenIndexes()
        threads = cast(Any, InlineThreads())
        resources = MirrorResources(
            git=GitRunner(
                processes=cast(Any, self.git),
                commands=GitCommands(CommandSettings(path="/bin", home=root)),
                threads=threads,
                fetches=self.fetches,
                by_id=self.by_id,
                indexes=self.indexes,
            ),
            reactor=self.clock,
            clock=self.clock,
            metrics=self.metrics,
            listings=self.listings,
            background=self.background,
            posts=cast(Any, self.remote),
            list_refs=lambda identity: self.remote.list_refs(),
            first=FirstClones(reactor=self.clock),
        )
        listeners = MirrorListeners(
            made=self.made_of.append,
            grown=self.grown.append,
            changed=lambda identity: [told(identity) for told in self.watchers],
            forgotten=self.forgotten.append,
            damaged=self._damaged,
        )
        place = MirrorRoot(path=root, grammar=grammar)
        self.mirrors = Mirrors(
            root=place,
            remote=lambda identity: cast(Any, self.remote),
            resources=resources,
            standing=cast(Any, self.standing),
            listeners=listeners,
        )
        self.succession = Succession(mirrors=self.mirrors, clock=self.clock)
        self.discovery = Discovery(mirrors=self.mirrors, root=place, threads=threads, done=discovered)
        self.mirroring = Mirroring(
            mirrors=self.mirrors,
            discovery=self.discovery,
            resources=resources,
            listeners=listeners,
            slots=Slots(limit=2),
            room=MirrorRoom(path=root, threads=threads, least=1000, free=lambda directory: self.free),
            seed=seed,
        )

    def _damaged(self, identity: Identity, since: float) -> None:
        self.damaged.append((identity, since))
        self.mirroring.lost(identity)

    def made(self) -> Deferred[Mirror]:
        """Ask for the repository's mirror."""
        return Deferred.fromCoroutine(self.mirroring.made(REPOSITORY))

    def sync(self, mirror: Mirror, target: Listing) -> Deferred[None]:
        """Bring a mirror to a listing made now."""
        self.clock.advance(1)
        return Deferred.fromCoroutine(mirror.updates.sync(target, self.clock.seconds()))

    def ensure(self, mirror: Mirror, *oids: str, client: str = "10.0.0.1") -> Deferred[list[str]]:
        """Ask for objects."""
        return Deferred.fromCoroutine(mirror.wanted.ensure(oids, client))

    def left(self) -> Iterable[str]:
        """Return what lies under the root."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.glob("*/*"))
