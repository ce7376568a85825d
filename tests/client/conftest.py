"""What the client's tests share: a server, and the client's parts joined as the command line joins them."""

import os
import shutil
from collections.abc import Iterator

import pytest

from cachew.client.archives import Archives
from cachew.client.connections import Connections
from cachew.client.deltabundle import DeltaBundles
from cachew.client.download import Downloads
from cachew.client.extract import choose_unpacker
from cachew.client.freshen import Freshener
from cachew.client.gitcommand import Git
from cachew.client.http import Http
from cachew.client.lfssnapshots import LfsSnapshots
from cachew.client.restore import GitRestore
from cachew.client.retries import Retries
from tests.fakes.cachew_server import CachewServer, running_server
from tests.fakes.client_parts import Parts, Watcher


@pytest.fixture
def server() -> Iterator[CachewServer]:
    with running_server() as state:
        yield state


@pytest.fixture
def parts(server: CachewServer) -> Iterator[Parts]:
    connections = Connections()
    http = Http(server=server.url, authorization="Bearer secret", connections=connections, idle_timeout=10)
    progress, pauses = Watcher(), list[float]()
    retries = Retries(pause=pauses.append, say=progress.say, attempts=3)
    downloads = Downloads(http=http, progress=progress, retries=retries, connections=4, piece_size=16 * 1024)
    archives = Archives(downloads=downloads, threads=2)
    unpack = choose_unpacker(shutil.which("tar"), exact_modes=False)
    program = shutil.which("git")
    assert program is not None
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    git = Git(program=program, environ=environ)
    restore = GitRestore(
        archives=archives,
        unpack=unpack,
        bundles=DeltaBundles(downloads=downloads),
        freshener=Freshener(http=http, progress=progress, retries=retries),
        lfs=LfsSnapshots(archives=archives, unpack=unpack, progress=progress),
        git=git,
        progress=progress,
    )
    yield Parts(server, http, progress, pauses, downloads, archives, git, restore, environ)
    connections.close()
