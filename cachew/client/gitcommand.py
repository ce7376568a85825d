"""Runs git on a fresh checkout: no hooks, no monitors, no prompts, no shell.

Settings travel in the environment (git-config(1), ``GIT_CONFIG_COUNT``), because one of them may be a credential and
everybody on the machine can read a command line.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cachew.client.clienterrors import GitFailed

_QUIET_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.splitIndex": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.diverging": "false",
    "protocol.ext.allow": "never",
}
# What a caller's own git says about another repository must not reach ours; how to connect may.
_KEPT_PREFIXES = ("GIT_SSL_", "GIT_SSH", "GIT_PROXY_", "GIT_TRACE", "GIT_CURL_", "GIT_HTTP_", "GIT_ASKPASS")
_OF_THE_SYSTEM = ("/usr/bin/git", "/bin/git") if sys.platform == "linux" else ()
_KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH")


class Git:
    """The git program.

    :param program: its path.
    :param environ: the environment of whoever uses the client.
    """

    def __init__(self, *, program: str, environ: Mapping[str, str]) -> None:
        self.program = program
        self._environ = environ

    def run(
        self,
        directory: Path,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        check: bool = True,
        prompts: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a git command in a repository.

        :param settings: configuration for this command only.
        :param prompts: whether it may ask the user on the terminal, unless he has forbidden that.
        :raise GitFailed: when it fails, unless ``check`` is false.
        """
        done = subprocess.run(
            [self.program, "-C", directory, *(word.encode("utf-8", "surrogateescape") for word in arguments)],
            input=stdin,
            capture_output=True,
            env=self._environment({**_QUIET_SETTINGS, **(settings or {})}) | (self._prompting() if prompts else {}),
            check=False,
        )
        if check and done.returncode:
            raise GitFailed(arguments[0], done.stderr.decode("utf-8", "replace"))
        return done

    def text(self, directory: Path, *arguments: str) -> str:
        """Run a git command and return what it printed, without the last newline; empty when it failed."""
        done = self.run(directory, *arguments, check=False)
        return "" if done.returncode else done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def listed(self, directory: Path, *scope: str) -> list[tuple[str, str]]:
        """Return all settings, each as its name and value.

        :param scope: such as ``--global``; none for all that count in a directory, but for what is set for one command.
        """
        return settings_told(self.run(directory, "config", *scope, "--null", "--list", check=False).stdout)

    def rewritings(self) -> list[tuple[str, str]]:
        """Return the user's ``url.BASE.insteadOf = PREFIX``, each as base and prefix."""
        if not self._own_settings() and not any(map(_may_rewrite, _config_files(self.program, self._environ))):
            return []
        arguments = ("config", "--null", "--get-regexp", r"^url\..*\.insteadof$")
        # Not where a repository is, whose own config would count too.
        found = settings_told(self.run(Path("/"), *arguments, check=False).stdout)
        return [(key.removeprefix("url.").removesuffix(".insteadof"), prefix) for key, prefix in found]

    def has_object(self, directory: Path, oid: str) -> bool:
        """Tell whether a repository holds an object."""
        return self.run(directory, "cat-file", "-e", f"{oid}^{{object}}", check=False).returncode == 0

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        kept = {
            name: value
            for name, value in self._environ.items()
            if not name.startswith("GIT_") or name.startswith(_KEPT_PREFIXES) or name in _KEPT
        }
        kept |= {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
        pairs = [*self._own_settings(), *settings.items()]
        for number, (key, value) in enumerate(pairs):
            kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return kept | {"GIT_CONFIG_COUNT": str(len(pairs))}

    def _prompting(self) -> dict[str, str]:
        return {"GIT_TERMINAL_PROMPT": self._environ.get("GIT_TERMINAL_PROMPT", "1")}

    def _own_settings(self) -> list[tuple[str, str]]:
        count = self._environ.get("GIT_CONFIG_COUNT", "0")
        numbers = range(int(count)) if count.isdigit() else range(0)
        found = [
            (self._environ.get(f"GIT_CONFIG_KEY_{n}"), self._environ.get(f"GIT_CONFIG_VALUE_{n}")) for n in numbers
        ]
        return [(key, value) for key, value in found if key and value is not None]


def settings_told(said: bytes) -> "list[tuple[str, str]]":
    """Return what ``git config --null`` has printed, each setting as its name and value."""
    entries = said.decode("utf-8", "surrogateescape").split("\0")
    return [(name, value) for name, _, value in (entry.partition("\n") for entry in entries if entry)]


def _config_files(program: str, environ: Mapping[str, str]) -> "list[str | None]":
    """Return the files in which git would look for the user's settings, None among them for one that only git knows."""
    home = environ.get("HOME", "")
    system = environ.get("GIT_CONFIG_SYSTEM") or ("/etc/gitconfig" if program in _OF_THE_SYSTEM else None)
    if "GIT_CONFIG_GLOBAL" in environ:
        return [system, environ["GIT_CONFIG_GLOBAL"]]
    more = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return [system, f"{home}/.gitconfig", f"{more}/git/config"]


def _may_rewrite(file: "str | None") -> bool:
    """Tell whether addresses may be rewritten because of a file: reading it takes less than starting git."""
    try:
        with open(file or "", "rb") as text:
            said = text.read().lower()
    except OSError:
        return file is None or os.path.exists(file)
    return b"insteadof" in said or b"include" in said
