"""Writes the config of a restored repository (pure), which is never taken from an archive. See git-config(1)."""

import re
from collections.abc import Iterable

_REF = re.compile(r"refs/(?!.*(?:\.\.|@\{|\.$))[^\x00-\x20\x7f~^:?*\[\\]+")
_HEAD = re.compile(r"ref: (refs/heads/([^\x00-\x20\x7f~^:?*\[\\]+))\n?")

_PLAIN_ORIGIN = re.compile(
    r"""^\[remote\ "origin"\]\n (?:\t\w+\ =\ [^\n\\"\#;]*\n)*? \turl\ =\ (?P<quote>"?)([\w.:/@~+%-]+)(?P=quote)\n""",
    re.MULTILINE | re.VERBOSE,
)


def is_branch(name: str) -> bool:
    """Say whether a full name is one that git takes for a branch."""
    return name.startswith("refs/heads/") and is_ref(name)


def is_ref(name: str) -> bool:
    """Say whether a full name is one that git takes for a ref (git-check-ref-format(1))."""
    return bool(_REF.fullmatch(name)) and not any(
        not part or part.startswith(".") or part.endswith(".lock") for part in name.split("/")
    )


def branch_of(head: str) -> str | None:
    """Return the branch that a ``HEAD`` file names, None when it names a commit.

    :raise ValueError: when it is neither.
    """
    match = _HEAD.fullmatch(head)
    if match and is_branch(match[1]):
        return match[2]
    if re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\n?", head):
        return None
    raise ValueError("HEAD is neither a branch nor a commit")


def config_text(*, origin: str, branch: str | None, sha256: bool, folds_case: bool) -> str:
    """Return the text of ``.git/config``.

    :param origin: the upstream's URL.
    :param branch: the branch that is checked out, None when HEAD is detached.
    :param sha256: whether the repository's object names are SHA-256.
    :param folds_case: whether the file system takes ``A`` and ``a`` for one name.
    """
    lines = ["[core]", f"\trepositoryformatversion = {int(sha256)}", "\tfilemode = true", "\tbare = false"]
    lines += ["\tlogallrefupdates = true"]
    if folds_case:
        lines += ["\tignorecase = true", "\tprecomposeunicode = true"]
    if sha256:
        lines += ["[extensions]", "\tobjectformat = sha256"]
    lines += ['[remote "origin"]', f"\turl = {_quoted(origin)}", "\tfetch = +refs/heads/*:refs/remotes/origin/*"]
    if branch is not None:
        lines += [f"[branch {_quoted(branch)}]", "\tremote = origin", f"\tmerge = {_quoted('refs/heads/' + branch)}"]
    return "\n".join(lines) + "\n"


def plain_origin(config: str) -> str | None:
    """Return the URL of ``origin`` when a config says it as git itself writes it, so that git need not be asked.

    :return: None when it is said otherwise, more than once or not at all.
    """
    found = _PLAIN_ORIGIN.search(config)
    once = len(re.findall(r"url\s*=", config, re.IGNORECASE)) == 1
    return found[2] if found and once else None


def rewritten(url: str, rules: Iterable[tuple[str, str]]) -> str:
    """Return what git makes of a URL.

    :param rules: of every ``url.BASE.insteadOf = PREFIX``, the base and the prefix; the longest prefix wins.
    """
    fitting = [(prefix, base) for base, prefix in rules if url.startswith(prefix)]
    prefix, base = max(fitting, key=lambda rule: len(rule[0]), default=("", ""))
    return base + url[len(prefix) :]


def _quoted(value: str) -> str:
    if any(ord(c) < 0x20 for c in value):
        raise ValueError("a control character in a config value")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
