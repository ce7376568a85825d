"""The git that is installed: looked at once, before anything starts, so that a bad one is told in a sentence."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cachew.plumbing.errors import CachewError

_VERSION = re.compile(r"git version ([0-9]+(?:\.[0-9A-Za-z]+)*)")
_LEADING = re.compile(r"[0-9]+")
_OLDEST = (2, 37)
"""Older ones take no addresses to use for a host (git-config(1), ``http.curloptResolve``)."""
_SECONDS = 10.0


@dataclass(frozen=True)
class InstalledGit:
    """The installed git.

    :param version: its version, such as ``2.39.5``.
    :param exec_path: where its own programs are.
    """

    version: str
    exec_path: Path


def installed_git(search_path: str, *, seconds: float = _SECONDS, proc: Path = Path("/proc")) -> InstalledGit:
    """Ask git what it is.

    :param search_path: ``PATH``, where it is looked for.
    :param seconds: how long it may take to answer.
    :param proc: where the system tells about processes, without which none can be started here.
    :raise CachewError: when there is none that can be used.
    """
    if not (proc / "self" / "fd").is_dir():
        raise CachewError(f"{proc} is not mounted, and without it git can't be started: mount -t proc proc {proc}")
    version = _VERSION.match(_said(search_path, "--version", seconds))
    exec_path = _said(search_path, "--exec-path", seconds).strip()
    if version is None:
        raise CachewError(f"git, as found in PATH ({search_path}), does not say its version; is it git?")
    if tuple(map(int, _LEADING.findall(version[1])[:2])) < _OLDEST:
        raise CachewError(f"git {version[1]} is too old: {'.'.join(map(str, _OLDEST))} or newer is needed")
    backend = Path(exec_path) / "git-http-backend"
    if not exec_path or "\n" in exec_path or not backend.is_file():
        raise CachewError(f"git has no git-http-backend where its programs are ({exec_path[:200]!r})")
    return InstalledGit(version[1], Path(exec_path))


def _said(search_path: str, word: str, seconds: float) -> str:
    env = {"PATH": search_path}
    try:
        done = subprocess.run(
            ["git", word], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=True
        )
    except FileNotFoundError:
        raise CachewError(f"git is not installed, or not in any directory of PATH ({search_path})") from None
    except OSError as error:
        raise CachewError(f"git, as found in PATH ({search_path}), can't be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise CachewError(f"`git {word}` has not ended after {seconds:.0f} seconds; is it git?") from None
    except subprocess.CalledProcessError as error:
        raise CachewError(f"`git {word}` failed with exit status {error.returncode}") from None
    return done.stdout.decode("utf-8", "replace")
