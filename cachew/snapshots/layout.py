"""How a clone looks on disk that git never made: its refs, reflogs, HEAD and configuration as text (pure).

What stock ``git clone`` would have written, with ``origin`` at the upstream and never at this server, and nothing else:
no hooks, no credentials, none of the refs that cachew keeps for itself. As in a clone, the branch of HEAD is a file of
its own and every other ref is packed: whatever extracts a newer snapshot over an older one moves the branch with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cachew.mirrors.commands import config_text

_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_SOMEBODY = "cachew <cachew@localhost>"


@dataclass(frozen=True)
class Clone:
    """What is to be laid out.

    :param commit: what is checked out, in hex.
    :param branch: its branch, the short name; empty when HEAD is detached.
    :param default: the branch that the upstream's HEAD names, the short name; empty when there is none.
    :param refs: the mirror's refs.
    :param upstream_url: of ``origin``.
    :param object_format: ``sha1`` or ``sha256``.
    :param filter: the partial clone filter, or empty.
    :param made: when it is made, in seconds since the epoch.
    """

    commit: str
    branch: str
    default: str
    refs: Mapping[str, str]
    upstream_url: str
    object_format: str
    filter: str = ""
    made: int = 0


def git_files(clone: Clone) -> dict[str, str]:
    """Return the files below ``.git``, by their names, that make a clone of what has its objects."""
    files = {
        "HEAD": f"ref: {_HEADS}{clone.branch}\n" if clone.branch else f"{clone.commit}\n",
        "config": config_text(_configuration(clone)),
        "packed-refs": packed_refs(_clones_refs(clone)),
        "logs/HEAD": _reflog(clone),
    }
    if clone.branch:
        files[_HEADS + clone.branch] = f"{clone.commit}\n"
        files[f"logs/{_HEADS}{clone.branch}"] = _reflog(clone)
    if clone.default:
        files["refs/remotes/origin/HEAD"] = f"ref: refs/remotes/origin/{clone.default}\n"
        files["logs/refs/remotes/origin/HEAD"] = _reflog(clone, clone.refs.get(_HEADS + clone.default))
    return files


def _reflog(clone: Clone, oid: str | None = None) -> str:
    """Return the first line of a reflog, as ``git clone`` writes it."""
    nothing = "0" * len(clone.commit)
    return f"{nothing} {oid or clone.commit} {_SOMEBODY} {clone.made} +0000\tclone: from {clone.upstream_url}\n"


def bare_files(clone: Clone) -> dict[str, str]:
    """Return the files of a bare repository that has the mirror's own refs and lets a partial clone be made of it."""
    values = {"core.repositoryformatversion": "1" if clone.object_format != "sha1" else "0", "core.bare": "true"}
    if clone.object_format != "sha1":
        values["extensions.objectFormat"] = clone.object_format
    return {
        "HEAD": f"ref: {_HEADS}{clone.branch}\n" if clone.branch else f"{clone.commit}\n",
        "config": config_text(values | {"uploadpack.allowFilter": "true"}),
        "packed-refs": packed_refs(clone.refs),
    }


def _configuration(clone: Clone) -> dict[str, str]:
    extended = clone.object_format != "sha1" or bool(clone.filter)
    values = {
        "core.repositoryformatversion": "1" if extended else "0",
        "core.filemode": "true",
        "core.bare": "false",
        "core.logallrefupdates": "true",
    }
    if clone.object_format != "sha1":
        values["extensions.objectFormat"] = clone.object_format
    if clone.filter:
        values["extensions.partialClone"] = "origin"
    values["remote.origin.url"] = clone.upstream_url
    values["remote.origin.fetch"] = "+refs/heads/*:refs/remotes/origin/*"
    if clone.filter:
        values |= {"remote.origin.promisor": "true", "remote.origin.partialclonefilter": clone.filter}
    if clone.branch:
        values[f"branch.{clone.branch}.remote"] = "origin"
        values[f"branch.{clone.branch}.merge"] = _HEADS + clone.branch
    return values


def _clones_refs(clone: Clone) -> dict[str, str]:
    refs = {name: oid for name, oid in clone.refs.items() if name.startswith(_TAGS)}
    for name, oid in clone.refs.items():
        if name.startswith(_HEADS) and name != _HEADS + "HEAD":
            refs[f"refs/remotes/origin/{name.removeprefix(_HEADS)}"] = oid
    return refs


def packed_refs(refs: Mapping[str, str]) -> str:
    """Return the text of a ``packed-refs`` file."""
    names = sorted(refs, key=lambda name: name.encode("utf-8", "surrogateescape"))
    return "\n".join(["# pack-refs with: sorted ", *(f"{refs[name]} {name}" for name in names)]) + "\n"


def parse_refs(text: str) -> dict[str, str]:
    """Read lines of an object id, a space and a ref's full name, which may hold what Unicode takes for a line's end."""
    pairs = (line.split(" ", 1) for line in text.split("\n") if line)
    return {name: oid for oid, name in pairs}
