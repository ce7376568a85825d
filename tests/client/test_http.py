"""Requests to one server: what they carry, whose credential goes where, and how failures are told."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from cachew.client.clienterrors import BadUsage, ClientError, NotCached, ServerRefused, ServerUnreachable
from cachew.client.gitcredentials import Offer
from cachew.client.http import Http, refusal

SERVER = "http://cachew.example"
URL = f"{SERVER}/x"


class Answer:
    """An answer that knows whether it was let go of."""

    def __init__(self, status: int = 200, body: bytes = b"{}", reason: str = "", **headers: str) -> None:
        self.status, self.reason = status, reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.closed = False
        self._body = body

    def read(self, limit: int) -> bytes:
        if self.closed:
            raise OSError("it is closed")
        return self._body[:limit]

    def close(self) -> None:
        self.closed = True


class Server:
    """Ways to a server, which answer as a test says, by the credential that is shown.

    :param answer: gives the answer.
    """

    def __init__(self, answer: Callable[[str | None], Answer]) -> None:
        self._answer = answer
        self.answers: list[Answer] = []
        self.seen: list[dict[str, str]] = []
        self.timeouts: list[float] = []

    def request(self, method: str, url: str, *, headers: dict[str, str], body: object, timeout: float) -> Answer:
        self.seen.append(headers)
        self.timeouts.append(timeout)
        self.answers.append(self._answer(headers.get("Authorization")))
        return self.answers[-1]

    @property
    def left(self) -> list[Answer]:
        """Those that are held still."""
        return [answer for answer in self.answers if not answer.closed]


def http(server: Server, authorization: str | None = None, **options: Any) -> Http:
    """Return a client."""
    return Http(server=SERVER, authorization=authorization, connections=cast(Any, server), **options)


def private(credential: str | None) -> Answer:
    """Answer as a server that lets one credential in."""
    return Answer(200 if credential == "good" else 401, WWW_Authenticate="Basic")


class Offers:
    """Credentials that are given one after the other, and what was told of each."""

    def __init__(self, *credentials: str, fails: Exception | None = None) -> None:
        self.credentials, self.fails = credentials, fails
        self.asked: list[tuple[str, str]] = []
        self.told: list[tuple[str, bool]] = []

    def __call__(self, url: str, challenge: str) -> Iterator[Offer]:
        self.asked.append((url, challenge))
        for one in self.credentials:
            yield Offer(one, (), lambda good, one=one: self.told.append((one, good)))  # type: ignore[misc]
        if self.fails is not None:
            raise self.fails


def test_what_every_request_carries() -> None:
    """The credential and what else is for the server go there and nowhere else."""
    here, there = Server(lambda _: Answer()), Server(lambda _: Answer())
    client = http(here, "good", headers={"X-Ours": "1"}, elsewhere=lambda url: cast(Any, there))
    client.request("GET", URL, headers={"Range": "bytes=0-1"})
    client.request("GET", "http://store.example/x")
    common = {"Accept-Encoding": "identity", "User-Agent": "cachew-client"}
    assert here.seen == [{**common, "X-Ours": "1", "Range": "bytes=0-1", "Authorization": "good"}]
    assert there.seen == [common]


@pytest.mark.parametrize(
    "url",
    [
        "https://cachew.example/x",
        "http://cachew.example:81/x",
        "http://cachew.example.evil/x",
        "http://u@cachew.example/x",
    ],
)
def test_only_the_server_s_own_address_is_its_own(url: str) -> None:
    """Another scheme, port or name is another server."""
    there = Server(lambda _: Answer(401))
    offers = Offers("good")
    answer = http(Server(lambda _: Answer()), offers=offers, elsewhere=lambda url: cast(Any, there)).request("GET", url)
    assert answer.status == 401
    assert offers.asked == []


def test_other_servers_keep_their_ways() -> None:
    """Connections there are made once for each."""
    made: list[str] = []

    def elsewhere(url: str) -> Any:
        made.append(url)
        return Server(lambda _: Answer())

    client = http(Server(lambda _: Answer()), elsewhere=elsewhere)
    for path in ("http://one.example/a", "http://one.example/b", "http://two.example/a"):
        client.request("GET", path)
    assert made == ["http://one.example/a", "http://two.example/a"]


def test_a_credential_is_looked_for_when_the_server_asks() -> None:
    """One after the other, until one is good, which is shown at once from then on."""
    server, offers = Server(private), Offers("bad", "good", "another")
    client = http(server, offers=offers)
    assert client.request("GET", URL).status == 200
    assert client.request("GET", URL).status == 200
    assert [seen.get("Authorization") for seen in server.seen] == [None, "bad", "good", "good"]
    assert offers.asked == [(URL, "Basic")]
    assert offers.told == [("bad", False), ("good", True)]
    assert [answer.status for answer in server.left] == [200, 200]


def test_when_none_is_good_the_refusal_is_the_last_one() -> None:
    """What was answered before is let go of."""
    server, offers = Server(private), Offers("bad", "worse")
    answer = http(server, offers=offers).request("GET", URL)
    assert answer.status == 401
    assert len(server.left) == 1
    assert offers.told == [("bad", False), ("worse", False)]


def test_a_search_that_fails_holds_no_answer() -> None:
    """As when git can't be run for its helpers, or the user breaks off at the prompt."""
    for failure in (OSError("no git"), KeyboardInterrupt()):
        server = Server(private)
        with pytest.raises(type(failure)):
            http(server, offers=Offers("bad", fails=cast(Any, failure))).request("GET", URL)
        assert server.left == []


def test_a_credential_that_the_user_has_given_is_the_only_one() -> None:
    """Nobody is asked for another when it is refused."""
    server, offers = Server(private), Offers("good")
    assert http(server, "old", offers=offers).request("GET", URL).status == 401
    assert offers.asked == []


def test_a_body_that_can_be_sent_only_once_is_not_sent_again() -> None:
    """The refusal is the answer; bytes can be sent again."""
    server, offers = Server(private), Offers("good")
    client = http(server, offers=offers)
    assert client.request("POST", URL, body=iter([b"x"])).status == 401
    assert client.request("POST", URL, body=b"x").status == 200


@pytest.mark.parametrize(
    ("name", "value"), [("X-A", "a\r\nB: c"), ("X-A", "\u20ac"), ("X A", "a"), ("", "a"), ("X-A", "\0")]
)
def test_what_no_header_can_hold_is_not_sent(name: str, value: str) -> None:
    """Neither another header nor half a name."""
    server = Server(lambda _: Answer())
    with pytest.raises(BadUsage, match="can't be sent"):
        http(server).request("GET", URL, headers={name: value})
    assert server.seen == []


def test_a_server_that_is_not_to_be_reached_is_named() -> None:
    """Without the number that the system gives its error."""

    def broken(_: str | None) -> Answer:
        raise OSError(111, "Connection refused")

    with pytest.raises(ServerUnreachable, match=r"at http://cachew\.example: Connection refused$"):
        http(Server(broken)).request("GET", URL)

    def silent(_: str | None) -> Answer:
        raise TimeoutError

    with pytest.raises(ServerUnreachable, match="TimeoutError"):
        http(Server(silent)).request("GET", URL)


def test_json_is_asked_for_with_patience() -> None:
    """And what is not JSON, or too long to be it, is a failure like others."""
    server = Server(lambda _: Answer(body=b'{"a": [1]}'))
    assert http(server, idle_timeout=7).json("POST", URL, value={"b": 2}, patience=900) == {"a": [1]}
    assert http(server, idle_timeout=7).json("GET", URL) == {"a": [1]}
    assert server.timeouts == [900, 7]
    assert [seen.get("Content-Type") for seen in server.seen] == ["application/json", None]
    assert server.left == []
    for body in (b"", b"<html>", b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(ClientError, match="JSON"):
            http(Server(lambda _, body=body: Answer(body=body))).json("GET", URL)  # type: ignore[misc]


def test_a_status_that_was_not_expected_is_a_refusal() -> None:
    """Whatever its body."""
    with pytest.raises(ServerRefused) as caught:
        http(Server(lambda _: Answer(500))).json("GET", URL)
    assert caught.value.status == 500
    assert http(Server(lambda _: Answer(500))).json("GET", URL, expected=(200, 500)) == {}


def test_a_refusal_tells_the_start_of_the_server_s_words() -> None:
    """In one line, without what a terminal would obey."""
    answer = Answer(502, b"it\n failed\x1b[2J " + b"x" * 10_000, "Bad Gateway")
    error = refusal(cast(Any, answer), URL)
    assert str(error).startswith(f"{URL}: 502 Bad Gateway: it failed[2J xxx")
    assert len(str(error)) < 400
    assert "\n" not in str(error)


def test_a_refusal_whose_words_do_not_come_is_told_all_the_same() -> None:
    """As when the connection breaks within them."""
    answer = Answer(404)
    answer.close()
    error = refusal(cast(Any, answer), URL)
    assert isinstance(error, NotCached)
    assert str(error) == f"{URL}: 404"


def test_a_redirect_is_told_and_not_followed() -> None:
    """It would carry the credential elsewhere."""
    error = refusal(cast(Any, Answer(301, b"", Location="http://other.example/")), URL)
    assert "http://other.example/" in error.advice
    assert "nowhere" in refusal(cast(Any, Answer(302, b"")), URL).advice
