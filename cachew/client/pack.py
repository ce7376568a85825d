"""Archives a directory: the system's tar, compressed in frames that can be decompressed in parallel."""

import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cachew.client import zstd
from cachew.client.archiverules import DirectoryRules
from cachew.client.clienterrors import ArchiveRefused, BadUsage, ClientError
from cachew.client.tarscan import TarScanner

_FRAME = 8 * 1024 * 1024
_LEVEL = 3


def check_paths(directory: Path, paths: Sequence[str]) -> None:
    """Check that everything that is to be archived is there.

    :raise BadUsage: when something is not.
    """
    if not directory.is_dir():
        raise BadUsage(f"{directory} is not a directory")
    for path in paths:
        if not os.path.lexists(directory / path):
            raise BadUsage(f"there is no {path} in {directory}")


def packed(directory: Path, paths: Sequence[str], *, exclude: Sequence[str], tar: str, threads: int) -> Iterator[bytes]:
    """Yield a zstd-compressed tar of paths within a directory.

    :param exclude: patterns in the syntax of ``tar --exclude``.
    :param tar: the path of the system's tar.
    :param threads: frames that are compressed at a time.
    :raise BadUsage: when there is something that could not be restored.
    :raise ClientError: when tar fails, after which the archive is not complete.
    """
    arguments = [tar, "-c", "-f", "-", "-C", os.fspath(directory), *(f"--exclude={p}" for p in exclude), "--", *paths]
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor(threads, "compress") as pool:
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        assert child.stdout is not None
        pending: deque[Future[bytes]] = deque()
        try:
            scanner = TarScanner(rules=DirectoryRules())
            while content := child.stdout.read(_FRAME):
                _check(scanner, content)
                pending.append(pool.submit(_compress, content))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
            if code := child.wait():
                said.seek(0)
                raise ClientError(f"tar failed (exit {code}): {said.read(2000).decode('utf-8', 'replace').strip()}")
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def _check(scanner: TarScanner, content: bytes) -> None:
    """Look through an archive as restoring it will: a refusal then would come too late."""
    try:
        for _ in scanner.feed(content):
            pass
    except ArchiveRefused as refused:
        reason = f"what is to be saved could not be restored: {refused.reason}"
        raise BadUsage(reason, "Leave it out with --exclude.") from refused


def _compress(content: bytes) -> bytes:
    return zstd.deflate(content, level=_LEVEL)
