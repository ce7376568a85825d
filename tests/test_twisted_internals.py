"""What is used of Twisted that Twisted does not promise: each of these fails clearly when a release changes it.

Each internal is used in one module, which its test names.
"""

import inspect
from typing import Any, cast

import pytest
from OpenSSL.SSL import Context
from twisted.internet import tcp
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.abstract import FileDescriptor
from twisted.internet.process import Process, ProcessReader
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactor
from twisted.web._newclient import HTTPClientParser, TransportProxyProducer
from zope.interface import implementer

from cachew.plumbing.wideprocess import WideProcess
from cachew.upstream.tlsfiles import SystemAndFile


class Wire(FileDescriptor):
    """A socket whose peer takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(cast(Any, MemoryReactor()))
        self.connected = 1
        self.taken = b""

    def writeSomeData(self, data: bytes) -> int:
        """Have the peer take half of it."""
        half = (len(data) + 1) // 2
        self.taken += data[:half]
        return half


class Producer:
    """Counts how often it is told to go on."""

    def __init__(self) -> None:
        self.resumed = 0

    def resumeProducing(self) -> None:
        """Go on."""
        self.resumed += 1

    def pauseProducing(self) -> None:
        """Wait."""

    def stopProducing(self) -> None:
        """End."""


def waiting(wire: Wire) -> int:
    return len(wire.dataBuffer) - wire.offset + sum(map(len, wire._tempDataBuffer))


def test_transports_show_what_has_not_left() -> None:
    """``cachew.http.outgoing``: dataBuffer, offset and _tempDataBuffer together are what was written and not sent."""
    wire = Wire()
    wire.write(b"abcdef")
    assert waiting(wire) == 6
    wire.doWrite()
    wire.write(b"gh")
    assert wire.taken == b"abc" and waiting(wire) == 5
    assert issubclass(tcp.Connection, FileDescriptor)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_paused_producer_is_resumed_once_all_has_left(streaming: bool) -> None:
    """``cachew.http.outgoing``: who sets producerPaused is resumed as soon as the transport's buffers are empty."""
    wire, producer = Wire(), Producer()
    wire.registerProducer(cast(Any, producer), streaming)
    producer.resumed = 0
    wire.producerPaused = True
    wire.startWriting()
    wire.doWrite()
    assert producer.resumed == 1 and not wire.producerPaused


def test_bodies_of_responses_have_a_transport_behind_their_transport() -> None:
    """``cachew.upstream.responsebodies``: what a body's protocol gets wraps the connection in _producer."""
    connection = Producer()
    assert TransportProxyProducer(cast(Any, connection))._producer is connection
    parser = HTTPClientParser(cast(Any, None), lambda rest: None)
    parser.makeConnection(cast(Any, TransportProxyProducer(cast(Any, connection))))
    assert cast(Any, parser.transport)._producer is connection


def test_trust_roots_add_certificates_to_contexts() -> None:
    """``cachew.upstream.agent``: a trust root is asked by _addCACertsToContext to put its certificates in."""
    seen: list[object] = []

    @implementer(IOpenSSLTrustRoot)
    class Root:
        def _addCACertsToContext(self, context: Context) -> None:
            seen.append(context)

    CertificateOptions(trustRoot=cast(Any, Root())).getContext()
    assert len(seen) == 1 and isinstance(seen[0], Context)
    assert IOpenSSLTrustRoot.implementedBy(SystemAndFile)


def test_processes_read_their_pipes_by_a_reader_of_our_own() -> None:
    """``plumbing/wideprocess.py``: a process makes its readers by processReaderFactory, and doRead reads from fd."""
    assert issubclass(WideProcess, Process) and issubclass(WideProcess.processReaderFactory, ProcessReader)
    assert Process.processReaderFactory is ProcessReader
    assert callable(ProcessReader.doRead) and callable(ProcessReader.dataReceived)


def test_processes_are_spawned_by_a_method_of_our_own() -> None:
    """``plumbing/wideprocess.py``: Twisted tries _trySpawnInsteadOfFork first, with the arguments that ours takes."""
    assert "_trySpawnInsteadOfFork" in Process._fork.__code__.co_names
    ours, theirs = (inspect.signature(kind._trySpawnInsteadOfFork) for kind in (WideProcess, Process))
    assert list(ours.parameters) == list(theirs.parameters)
