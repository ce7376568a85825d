"""What every sub-command works with, made from the global options, the environment and the machine.

Imports of the client are inside functions: ``cachew --help`` loads click and nothing else.
"""

import os
import sys
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cachew.cli.terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cachew.cli.progressbar import BarProgress, LineProgress
    from cachew.client.archives import Archives
    from cachew.client.connections import Connections
    from cachew.client.download import Downloads
    from cachew.client.gitcommand import Git
    from cachew.client.gitcredentials import Offer
    from cachew.client.http import Http
    from cachew.client.objectapi import Objects
    from cachew.client.retries import Retries

DEFAULT_URL = "http://127.0.0.1:8080"
DAILY = "%Y-%m-%d-"
HOURLY = f"{DAILY}%H-"
_CONNECTIONS = 6


def _none(url: str, challenge: str) -> "Iterable[Offer]":
    return ()


class Context:
    """The global options.

    :param url: the server's base URL, None when the user named none.
    :param authorization: the ``Authorization`` header's value, None for none.
    :param platform: whether keys get a platform prefix.
    :param stamp: what date keys get as a prefix, in the letters of strftime; empty for none.
    :param learnt: is told what no message may show.
    :param json: whether results are written as JSON.
    :param quiet: whether only results and failures are written.
    """

    def __init__(
        self,
        *,
        url: str | None,
        authorization: str | None,
        platform: bool,
        stamp: str,
        learnt: "Callable[[str], object]" = lambda secret: None,
        json: bool = False,
        quiet: bool = False,
    ) -> None:
        self.url = url
        self.authorization = authorization
        self.platform = platform
        self.stamp = stamp
        self.learnt = learnt
        self.json = json
        self.quiet = quiet

    def show(self, value: object, lines: "Sequence[str]") -> None:
        """Write what a command has found: as one JSON document a line, or as lines for people."""
        import click

        if self.json:
            import json  # which those who print lines need not wait for

            click.echo(json.dumps(value).replace("\x7f", r"\u007f"))
        else:
            for line in lines:
                click.echo(harmless(line))

    def say(self, text: str) -> None:
        """Tell the person at the terminal what happens, unless nothing is to be told."""
        if not self.quiet:
            import click

            with suppress(OSError, ValueError):  # nobody need see it
                click.echo(harmless(text), err=True)

    @cached_property
    def server(self) -> str:
        """The server's base URL, checked."""
        from cachew.client.addresses import parse_server

        return parse_server(self.url or DEFAULT_URL)

    @cached_property
    def progress(self) -> "BarProgress | LineProgress":
        """Who shows progress."""
        from cachew.cli.progressbar import LineProgress, choose_progress
        from cachew.plumbing.clock import machine_clock

        if self.quiet:
            # Kept open: it is needed to the end of the process.
            return LineProgress(stream=open(os.devnull, "w"), clock=machine_clock())
        return choose_progress(sys.stderr, clock=machine_clock())

    @property
    def threads(self) -> int:
        """How many threads compress or decompress."""
        return min(4, os.cpu_count() or 1)

    @property
    def tar(self) -> str | None:
        """The system's tar."""
        from cachew.cli.programs import find_program

        return find_program("gtar", "tar")

    def http(self, server: str | None = None, *, offers: "Callable[[str, str], Iterable[Offer]]" = _none) -> "Http":
        """Return a client of a server.

        :param offers: gives credentials for an address and a challenge when the user has given none.
        :param server: one that is named by a repository's URL. When ``--url`` names another one, the credentials are
            meant for that other one and stay at home.
        """
        from cachew.client.http import Http

        theirs = server is not None and self.url is not None and urlsplit(server)[:2] != urlsplit(self.server)[:2]
        authorization = None if theirs else self.authorization
        server = server or self.server
        return Http(server=server, authorization=authorization, connections=_connections(), offers=offers)

    def objects(self) -> "Objects":
        """Return the object API."""
        from cachew.client.objectapi import Objects

        return Objects(http=self.http())

    def downloads(self, http: "Http | None" = None) -> "Downloads":
        """Return what downloads."""
        from cachew.client.download import Downloads

        return Downloads(
            http=http or self.http(), progress=self.progress, retries=self.retries, connections=_CONNECTIONS
        )

    @property
    def retries(self) -> "Retries":
        """When requests that failed are sent again."""
        from cachew.client.retries import Retries

        return Retries(pause=time.sleep, say=self.progress.say)

    def archives(self, downloads: "Downloads") -> "Archives":
        """Return what fetches archives."""
        from cachew.client.archives import Archives

        return Archives(downloads=downloads, threads=self.threads)

    def git(self) -> "Git":
        """Return the git program.

        :raise BadUsage: when there is none.
        """
        from cachew.cli.programs import find_program
        from cachew.client.clienterrors import BadUsage
        from cachew.client.gitcommand import Git

        program = find_program("git")
        if program is None:
            raise BadUsage("there is no git on the PATH", "Install git.")
        return Git(program=program, environ=os.environ)

    def key(self, text: str) -> str:
        """Return a key with the prefixes that the global options ask for."""
        import platform
        from datetime import datetime

        from cachew.client.keys import platform_prefix, prefixed

        prefix = platform_prefix(system=sys.platform, machine=platform.machine()) if self.platform else ""
        return prefixed(text, platform=prefix, now=datetime.now(), stamp=self.stamp)


def directory_path(text: str) -> Path:
    """Return the directory that an argument names; an empty one, a script's unset variable, is not the current one."""
    import click

    if not text:
        raise click.UsageError("DIRECTORY is empty; write . for the current one.")
    return Path(text)


def _connections() -> "Connections":
    from cachew.cli.environmentproxy import environment_proxy
    from cachew.client.connections import Connections

    return Connections(proxy=environment_proxy())
