"""Which addresses are connected to, of those that a name has at the moment."""

from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IAddress, IProtocol, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.web.client import URI

from cachew.plumbing.errors import UpstreamUnreachable
from cachew.plumbing.resolver import Resolution
from cachew.upstream.agent import Endpoints
from cachew.upstream.checked_endpoint import CheckedEndpoint
from cachew.upstream.connectionfailures import explain
from cachew.upstream.hosts import AddressRefused, Hosts
from tests.fakes.settled import failure_of

TIMEOUT = 5


class Names:
    """Names and their addresses; of others nothing is ever heard.

    :ivar asked: for which addresses were asked.
    """

    def __init__(self, **found: list[str]) -> None:
        self._found = found
        self.asked: list[str] = []
        self._waiting: list[IResolutionReceiver] = []

    def resolveHostName(self, receiver: IResolutionReceiver, name: str, port: int = 0, *_: object) -> Resolution:
        """Tell the addresses of a name."""
        self.asked.append(name)
        receiver.resolutionBegan(Resolution(name))
        if name not in self._found:
            self._waiting.append(receiver)
            return Resolution(name)
        for host in self._found[name]:
            address: IAddress = IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
            receiver.addressResolved(address)
        receiver.resolutionComplete()
        return Resolution(name)

    def answer(self) -> None:
        """Let those who still wait hear that there are none."""
        for receiver in self._waiting:
            receiver.resolutionComplete()


class Net:
    """A network on a clock."""

    def __init__(self, names: Names) -> None:
        self.names, self.reactor = names, MemoryReactorClock()
        self.reactor.nameResolver = cast(Any, names)

    def connect(self, host: str, *, private: bool = False) -> Deferred[IProtocol]:
        """Connect to a host."""
        endpoint = CheckedEndpoint(reactor=self.reactor, host=host, port=80, timeout=TIMEOUT, private=private)
        return endpoint.connect(Factory.forProtocol(Protocol))

    def tried(self) -> list[str]:
        """Return the addresses that are connected to, after a while."""
        self.reactor.pump([0.5] * 4)
        return [client[0] for client in self.reactor.tcpClients]


@pytest.mark.parametrize(
    ("private", "tried"), [(False, ["192.0.3.1", "2a00::1"]), (True, ["10.0.0.5", "192.0.3.1", "::1", "2a00::1"])]
)
def test_private_addresses_are_for_hosts_whose_url_the_operator_wrote(private: bool, tried: list[str]) -> None:
    """A stranger's name that has some besides public ones leads to these alone."""
    net = Net(Names(host=["10.0.0.5", "192.0.3.1", "::1", "2a00::1"]))
    connecting = net.connect("host", private=private)
    assert net.tried() == tried
    connecting.addErrback(lambda failure: None)
    connecting.cancel()


@pytest.mark.parametrize("host", ["git_server", "my_project_gitea_1", "a--b", "ab--cd.example", "-x", "10.0.0.5"])
def test_a_host_may_be_called_what_its_network_calls_it(host: str) -> None:
    """Names that no registry would take are those of containers; git connects to them."""
    net = Net(Names(**{host: ["10.0.0.5"]}))
    connecting = net.connect(host, private=True)
    assert net.tried() == ["10.0.0.5"] and net.names.asked == [host]
    connecting.addErrback(lambda failure: None)
    connecting.cancel()


def test_the_address_that_answers_is_noted() -> None:
    """Of two the first is dead: it is given up soon, and whoever connects next is told of the other."""
    net, answered = Net(Names(host=["192.0.3.1", "192.0.3.2"])), list[str]()
    endpoint = CheckedEndpoint(
        reactor=net.reactor, host="host", port=80, timeout=TIMEOUT, private=True, answered=answered.append
    )
    connecting = endpoint.connect(Factory.forProtocol(Protocol))
    assert net.tried() == ["192.0.3.1", "192.0.3.2"] and answered == []
    address = IPv4Address("TCP", "192.0.3.2", 80)
    protocol: Any = net.reactor.tcpClients[1][2].buildProtocol(address)
    protocol.makeConnection(StringTransport(peerAddress=address))
    assert connecting.called and answered == ["192.0.3.2"]


def test_who_has_no_public_address_is_refused_by_name() -> None:
    """That is told apart from a name that has no address at all."""
    refused = failure_of(Net(Names(host=["127.0.0.1", "fe80::1"])).connect("host"))
    assert isinstance(refused, AddressRefused) and "host has no" in str(refused)
    for private in (True, False):
        unknown = failure_of(Net(Names(host=[])).connect("host", private=private))
        assert isinstance(unknown, DNSLookupError) and "host" in str(unknown) and "invalid" not in str(unknown)


def test_a_name_server_that_does_not_answer_is_waited_for_as_long_as_a_host() -> None:
    """What it says afterwards is nobody's business."""
    net = Net(Names())
    connecting = net.connect("host")
    net.reactor.advance(TIMEOUT - 0.1)
    assert not connecting.called
    net.reactor.advance(0.1)
    assert isinstance(failure_of(connecting), ConnectTimeout)
    net.names.answer()
    assert not net.reactor.tcpClients and not net.reactor.getDelayedCalls()


def test_who_gives_up_is_not_told_of_a_time_out() -> None:
    """No attempt goes on that nobody waits for."""
    net = Net(Names(host=["192.0.3.1"]))
    connecting = net.connect("host")
    connecting.cancel()
    assert isinstance(failure_of(connecting), ConnectingCancelledError | CancelledError)
    assert not net.reactor.getDelayedCalls()


@pytest.mark.parametrize("host", ["a_b.example.org", "xn--a.example.org", "ab--cd.example.org"])
def test_a_host_that_can_have_no_certificate_is_told_as_such(host: str) -> None:
    """A client that asks for it hears of its host's name, and not of what the server is made of."""
    endpoints = Endpoints(reactor=MemoryReactorClock(), hosts=Hosts(upstreams={"*": None}), timeout=TIMEOUT)
    endpoint = endpoints.endpointForURI(URI.fromBytes(f"https://{host}/org/repo".encode()))
    failure = failure_of(endpoint.connect(Factory.forProtocol(Protocol)))
    assert isinstance(failure, Exception)
    told = explain(f"https://{host}/org/repo", failure)
    assert isinstance(told, UpstreamUnreachable) and "certificate" in str(told)
