"""Zstandard with whatever is there: the ``zstandard`` library, Python's own module (3.14), or the ``zstd`` program.

What is installed has the first one. The client that a server hands out has to do with what it finds.
"""

import io
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, BinaryIO

from cachew.client.clienterrors import ArchiveBroken, BadUsage
from cachew.client.libraries import find_libraries

_OUTPUT = 1024 * 1024


@lru_cache(maxsize=1)
def _installed() -> Any:
    """Return the library, None when there is none; it is imported beside the download, which it would hold up."""
    find_libraries()
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard


def inflate_into(data: memoryview, room: memoryview) -> None:
    """Decompress one frame into memory of its content's size.

    :raise ArchiveBroken: when it is damaged or of another size.
    """
    library = _installed()
    if library is None:
        room[:] = inflate(bytes(data), size=len(room))
        return
    try:
        reader = library.ZstdDecompressor().stream_reader(data)
        count = reader.readinto(room)
        rest = reader.read(1)
    except library.ZstdError as error:
        raise ArchiveBroken(f"the archive is damaged: {error}") from error
    if count != len(room) or rest:
        raise ArchiveBroken("the archive is damaged: a zstd frame is not as long as its table says")


def inflate(data: bytes, *, size: int) -> bytes:
    """Decompress one frame.

    :raise ArchiveBroken: when it is damaged or of another size.
    """
    content: bytes
    library = _installed()
    if library is not None:
        try:
            content = library.ZstdDecompressor().decompress(data, max_output_size=size)
        except library.ZstdError as error:
            raise ArchiveBroken(f"the archive is damaged: {error}") from error
    elif (module := _of_python()) is not None:
        try:
            content = module.ZstdDecompressor().decompress(data, max_length=size + 1)
        except module.ZstdError as error:
            raise ArchiveBroken(f"the archive is damaged: {error}") from error
    else:
        content = b"".join(by_program(io.BytesIO(data), size + 1))
    if len(content) != size:
        raise ArchiveBroken("the archive is damaged: a zstd frame is not as long as it says")
    return content


def inflate_stream(source: BinaryIO) -> Iterator[bytes]:
    """Decompress what a file gives, in pieces of bounded size.

    :raise ArchiveBroken: when it is damaged.
    """
    library = _installed()
    if library is not None:
        # stream_reader bounds its output, which decompressobj does not: a few bytes may stand for megabytes.
        reader, error_type = library.ZstdDecompressor().stream_reader(source), library.ZstdError
    elif (module := _of_python()) is not None:
        reader, error_type = module.ZstdFile(source), module.ZstdError
    else:
        yield from by_program(source, None)
        return
    try:
        while content := reader.read(_OUTPUT):
            yield content
    except (error_type, EOFError) as error:
        raise ArchiveBroken(f"the archive is damaged: {error}") from error


def deflate(content: bytes, *, level: int) -> bytes:
    """Compress one frame, with its checksum and its size."""
    compressed: bytes
    library = _installed()
    if library is not None:
        compressor = library.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
        compressed = compressor.compress(content)
    elif (module := _of_python()) is not None:
        options = {module.CompressionParameter.compression_level: level, module.CompressionParameter.checksum_flag: 1}
        compressed = module.compress(content, options=options)
    else:
        compressed = deflated_by_program(content, level=level)
    return compressed


def _of_python() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    return zstd


def _program() -> str:
    import shutil  # which whoever has the library need not wait for

    found = shutil.which("zstd")
    if found is None:
        raise BadUsage("there is nothing here that reads zstd", "Install zstd, or zstandard for this Python.")
    return found


def by_program(source: BinaryIO, most: "int | None") -> Iterator[bytes]:
    """Decompress what a file gives by the ``zstd`` program.

    :param most: the bytes after which no more is wanted, None for all.
    :raise ArchiveBroken: when it is damaged.
    """
    import tempfile  # which whoever has the library need not wait for

    with tempfile.TemporaryFile() as kept:
        while piece := source.read(_OUTPUT):
            kept.write(piece)
        kept.seek(0)
        yield from _said(kept, most)


def deflated_by_program(content: bytes, *, level: int) -> bytes:
    """Compress one frame by the ``zstd`` program."""
    argv = [_program(), "-q", "-c", f"-{level}", "--check", f"--stream-size={len(content)}"]
    return subprocess.run(argv, input=content, capture_output=True, check=True).stdout


def _said(compressed: Any, most: "int | None") -> Iterator[bytes]:
    """Give what the program makes of a file, and no more than asked for."""
    child = subprocess.Popen(
        [_program(), "-q", "-d", "-c"], stdin=compressed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout is not None
    left = most
    try:
        while left != 0 and (content := child.stdout.read(_OUTPUT if left is None else min(_OUTPUT, left))):
            yield content
            left = None if left is None else left - len(content)
        if left != 0 and child.wait():
            raise ArchiveBroken("the archive is damaged: zstd does not read it")
    finally:
        child.stdout.close()
        child.kill()
        child.wait()
