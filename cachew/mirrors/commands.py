"""The git commands that keep a mirror, as argv and environment (pure).

Upstreams are hostile input: no hooks, no other protocols, no redirects that git would follow by itself, nothing fetched
from where a bundle or a submodule points. Credentials travel in the environment of the one child that needs them.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cachew.mirrors.findings import KINDS
from cachew.plumbing.child import Command

_SAFE = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "transfer.bundleURI": "false",
    "protocol.version": "2",
    "http.followRedirects": "false",
    # An upstream that counts objects sends nothing but a few bytes now and then (uploadpack.keepAlive).
    "http.lowSpeedLimit": "1",
    "credential.helper": "",
    "advice.detachedHead": "false",
    "safe.directory": "*",
}

FSCK_SAYS_OF_REFS = 8
"""The bit of fsck's exit status that says: HEAD outside of the branches, a branch that names no commit. Both occur."""

_URL = "\0"
"""Stands for what no URL is."""
_ALL = 2**31 - 1
"""The depth that means: as far as the upstream goes (git-fetch(1), ``--unshallow``)."""
_OBJECTS_ALONE = ("--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--end-of-options")
"""Have a fetch bring objects and do nothing else; after these comes where from."""
_BEHIND = 15
"""The niceness of what takes the processors for long while nobody waits for it."""
_UNCHECKED = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "fetch.fsckObjects", "GIT_CONFIG_VALUE_0": "false"}
"""What makes a fetch take whatever git takes that was never told to look."""


@dataclass(frozen=True)
class CommandSettings:
    """What the operator may tune in the git commands.

    :param path: ``PATH`` for the children.
    :param home: an empty directory that serves as their ``HOME``.
    :param threads: threads for packing.
    :param silence: how long an upstream may be silent, in seconds.
    :param user_agent: what they call themselves to upstreams.
    :param window_memory: memory for the delta search of one thread, as git writes it (``256m``).
    :param of_upstreams: git's settings for single upstreams, such as which authority is trusted there.
    """

    path: str
    home: Path
    threads: int = 2
    window_memory: str = "256m"
    silence: float = 60
    user_agent: str = "git/2 cachew/0"
    of_upstreams: Mapping[str, str] = field(default_factory=dict)


class GitCommands:
    """Makes the commands for mirrors.

    :param settings: the operator's choices.
    """

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings
        self._config_texts: dict[str, str] = {}
        self.upkeep = UpkeepCommands(self.git)

    @property
    def user_agent(self) -> str:
        """What the commands call themselves to upstreams."""
        return self._settings.user_agent

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a git child: an allowlist, safe configuration, then ``extra``.

        :param extra: e.g. a credential as ``GIT_CONFIG_*`` entries; these are merged with the safe configuration.
        """
        added = dict(extra or {})
        count = int(added.pop("GIT_CONFIG_COUNT", "0"))
        pairs = [(added.pop(f"GIT_CONFIG_KEY_{n}"), added.pop(f"GIT_CONFIG_VALUE_{n}")) for n in range(count)]
        env = {
            "PATH": self._settings.path,
            "HOME": str(self._settings.home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "http:https",
            "GIT_LFS_SKIP_SMUDGE": "1",
        }
        single = self._settings.of_upstreams.items()
        silence = ("http.lowSpeedTime", str(max(1, math.ceil(self._settings.silence))))
        entries = [*_SAFE.items(), silence, ("http.userAgent", self.user_agent), *single, *pairs]
        env["GIT_CONFIG_COUNT"] = str(len(entries))
        for number, (key, value) in enumerate(entries):
            env[f"GIT_CONFIG_KEY_{number}"] = key
            env[f"GIT_CONFIG_VALUE_{number}"] = value
        return {**env, **added}

    def git(self, directory: Path | None, *words: str, extra: Mapping[str, str] | None = None) -> Command:
        """Return any git command, in ``directory`` where one is given."""
        place = () if directory is None else (f"--git-dir={directory}",)
        return Command(argv=("git", *place, *words), env=self.environment(extra))

    def init(self, directory: Path, object_format: str) -> Command:
        """Make an empty bare repository without template, hence without hooks."""
        return self.git(
            None, "init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(directory)
        )

    def unchecked(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a fetch with what keeps git from looking at the objects that come."""
        count = int(extra.get("GIT_CONFIG_COUNT", "0"))
        moved = {name.replace("_0", f"_{count}"): value for name, value in _UNCHECKED.items()}
        return {**extra, **moved, "GIT_CONFIG_COUNT": str(count + 1)}

    def fetch(
        self, directory: Path, url: str, *, extra: Mapping[str, str] | None = None, deepen: bool = False
    ) -> Command:
        """Fetch the objects named on standard input, one a line, without touching any ref.

        :param deepen: whether what lies behind commits is fetched too whose parents are missing here.

        Refspecs that are plain object ids make git skip its own ref listing (protocol v2): the caller has made one.
        """
        return self.git(
            directory,
            "fetch",
            "--quiet",
            "--stdin",
            "--no-tags",
            "--update-shallow",
            *((f"--depth={_ALL}",) if deepen else ()),
            *_OBJECTS_ALONE,
            url,
            extra=extra,
        )

    def index_pack(self, directory: Path, pack: Path) -> Command:
        """Give a pack its index, and look at its objects as a fetch would.

        Its clients have it already, and what is small is answered meanwhile.
        """
        findings = ",".join(f"{name}=warn" for name in KINDS)
        return replace(self.git(directory, "index-pack", f"--strict={findings}", str(pack)), niceness=_BEHIND)

    def index_stream(self, directory: Path) -> Command:
        """Keep the pack that comes on standard input, whole, and look at its objects as a fetch would.

        Whatever they name has to be there.
        """
        findings = ",".join(f"{name}=warn" for name in KINDS)
        return self.git(directory, "index-pack", "--stdin", "--fix-thin", f"--strict={findings}")

    def connected(self, directory: Path) -> Command:
        """Fail unless everything is there that the object ids on standard input reach and no ref does."""
        return self.git(directory, "rev-list", "--objects", "--quiet", "--stdin", "--not", "--all")

    def fetch_refs(self, directory: Path, url: str, *, extra: Mapping[str, str] | None = None) -> Command:
        """Fetch all mirrored refs by name: for upstreams that give no object by its id alone.

        They come below the hidden refs: what becomes of the mirror's own is for the listing to say.
        """
        return self.git(
            directory,
            "fetch",
            "--quiet",
            "--prune",
            "--force",
            "--no-tags",
            "--update-shallow",
            *_OBJECTS_ALONE,
            url,
            "+refs/heads/*:refs/cachew/named/heads/*",
            "+refs/tags/*:refs/cachew/named/tags/*",
            extra=extra,
        )

    def update_refs(self, directory: Path) -> Command:
        """Apply a script of :func:`cachew.mirrors.refs.update_script` as one transaction."""
        return self.git(directory, "update-ref", "-z", "--no-deref", "--stdin")

    def set_head(self, directory: Path, head: str) -> Command:
        """Point HEAD at a ref, or detach it at an object id."""
        if head.startswith("refs/"):
            return self.git(directory, "symbolic-ref", "HEAD", head)
        return self.git(directory, "update-ref", "--no-deref", "HEAD", head)

    def config(self, upstream_url: str, object_format: str) -> str:
        """Return the text of a mirror's config file; all but the URL is put together once, not for each mirror."""
        if object_format not in self._config_texts:
            sha256 = object_format == "sha256"
            core = {"core.repositoryformatversion": "1" if sha256 else "0", "core.bare": "true"}
            if sha256:
                core["extensions.objectFormat"] = "sha256"
            self._config_texts[object_format] = config_text(core | self.configuration(_URL))
        return self._config_texts[object_format].replace(_quoted(_URL), _quoted(upstream_url))

    def configuration(self, upstream_url: str) -> dict[str, str]:
        """Return the configuration stored in a mirror: how it is served and kept. No credential is ever in it."""
        settings = self._settings
        stored = {
            "core.hooksPath": "/dev/null",
            "remote.origin.url": upstream_url,
            "uploadpack.allowFilter": "true",
            "uploadpack.allowAnySHA1InWant": "true",
            "uploadpack.keepAlive": "5",
            "transfer.hideRefs": "refs/cachew/",
            "transfer.unpackLimit": "1",
            "fetch.fsckObjects": "true",
            "gc.auto": "0",
            "maintenance.auto": "false",
            "http.receivepack": "false",
            "http.getanyfile": "false",
            "pack.threads": str(settings.threads),
            "pack.windowMemory": settings.window_memory,
            "pack.writeBitmaps": "true",
            "pack.writeBitmapLookupTable": "true",
            "repack.writeBitmaps": "true",
            "core.multiPackIndex": "true",
        }
        return stored | {f"fetch.fsck.{name}": "warn" for name in KINDS}


class UpkeepCommands:
    """Makes the commands that keep packs in shape, and look for what is missing.

    :param git: makes a git command in a directory.
    """

    def __init__(self, git: Callable[..., Command]) -> None:
        self._git = git

    def index_packs(self, directory: Path, *, bitmaps: bool = True, graph: bool = True) -> tuple[Command, ...]:
        """Give the history a commit-graph, and the packs bitmaps, without rewriting a pack."""
        indexing = (self._git(directory, "multi-pack-index", "write", "--bitmap"),) if bitmaps else ()
        return (*indexing, self._commit_graph(directory, "--split")) if graph else indexing

    def check_graph(self, directory: Path) -> Command:
        """Fail when the commit-graph that was just written tells of a commit what is not so."""
        return self._git(directory, "commit-graph", "verify", "--shallow", "--no-progress")

    def pack(self, directory: Path, place: Path, extra: Mapping[str, str]) -> Command:
        """Put the objects named on standard input, one a line, into a pack.

        :param place: the directory of objects where that comes.
        """
        return self._git(directory, "pack-objects", "--quiet", str(place / "pack" / "pack"), extra=extra)

    def repack(self, directory: Path, *, full: bool, graph: bool = True) -> tuple[Command, ...]:
        """Join packs: all into one with a bitmap, without what no ref reaches (``full``), or only the small ones."""
        if not full:
            return (self._git(directory, "repack", "--quiet", "-n", "-d", "--geometric=2", "--write-midx"),)
        return (
            self._git(directory, "pack-refs", "--all"),
            # First of all the graph forgets what is about to go: git takes for present what it finds there.
            *([self._commit_graph(directory, "--split=replace")] if graph else []),
            self._git(directory, "repack", "--quiet", "-n", "-a", "-d", "--write-bitmap-index"),
            *self.index_packs(directory, graph=graph),
        )

    def _commit_graph(self, directory: Path, how: str) -> Command:
        return self._git(directory, "commit-graph", "write", "--reachable", how, "--no-progress")

    def check(self, directory: Path, indexes: Iterable[Path]) -> tuple[Command, ...]:
        """Verify the content of every pack, and that everything the refs reach is there.

        :param indexes: the packs' indexes.
        """
        packs = [self._git(directory, "verify-pack", str(index)) for index in indexes]
        return (*packs, self.fsck(directory))

    def fsck(self, directory: Path) -> Command:
        """Verify that everything the refs reach is there."""
        return self._git(directory, "fsck", "--connectivity-only", "--no-dangling", "--no-progress")


def config_text(values: Mapping[str, str]) -> str:
    """Write values as the text of a git config file (git-config(1), "Syntax")."""
    lines = []
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        top, dot, sub = section.partition(".")
        lines.append(f"[{top} {_quoted(sub)}]" if dot else f"[{top}]")
        lines.append(f"\t{name} = {_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
