"""LFS objects as storages send them."""

import hashlib

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import CorruptObject, UpstreamUnreachable
from cachew.plumbing.streams import PushSource, read_all
from cachew.upstream.lfsbatch import WantedObject
from cachew.upstream.lfscontent import Verified
from tests.fakes.settled import failure_of, value_of

TEXT = b"one two three"


def verified(source: PushSource, text: bytes = TEXT, size: int | None = None) -> Verified:
    wanted = WantedObject(hashlib.sha256(text).hexdigest(), len(text) if size is None else size)
    return Verified(source, wanted, "storage.example")


def sent(*pieces: bytes) -> PushSource:
    source = PushSource()
    for piece in pieces:
        source.data(piece)
    source.finish()
    return source


def given_before_the_end(source: Verified) -> tuple[bytes, BaseException]:
    """Return what a reader is given of an object that is no good, and how he is told."""
    given = b""
    while True:
        reading = Deferred.fromCoroutine(source.read(5))
        if reading.called and isinstance(reading.result, bytes):
            given += reading.result
            assert reading.result, "it was taken for whole"
        else:
            return given, failure_of(reading)


@pytest.mark.parametrize("text", [TEXT, b"", b"x"])
def test_an_object_that_is_what_its_id_says_is_given_whole(text: bytes) -> None:
    """An empty one too."""
    source = verified(sent(text[:5], text[5:]), text)
    assert value_of(Deferred.fromCoroutine(read_all(source, 100))) == text


@pytest.mark.parametrize("pieces", [[TEXT[:-1]], [TEXT[:-1], b"!"], [], [b"another text!"]])
def test_the_last_bytes_of_anything_else_are_never_given(pieces: list[bytes]) -> None:
    """So nobody can take for whole what is not: less, or of other bytes."""
    given, failure = given_before_the_end(verified(sent(*pieces)))
    assert isinstance(failure, CorruptObject) and "storage.example sent something else" in str(failure)
    assert len(given) < len(b"".join(pieces)) or not pieces


def test_more_than_was_said_is_given_up_at_once() -> None:
    """Before there is an end: it might never come."""
    source = PushSource()
    source.data(TEXT + b"!")
    given, failure = given_before_the_end(verified(source))
    assert isinstance(failure, CorruptObject) and "sent more than" in str(failure)
    assert len(given) <= len(TEXT)


def test_bytes_of_the_right_digest_and_another_size_are_refused() -> None:
    """What was asked for is both."""
    _, failure = given_before_the_end(verified(sent(TEXT), size=len(TEXT) + 1))
    assert isinstance(failure, CorruptObject)


def test_what_it_says_after_its_end_it_says_again() -> None:
    """Neither an end nor a failure is forgotten by who reads once more."""
    bad = verified(sent(b"bad"))
    given_before_the_end(bad)
    assert isinstance(failure_of(Deferred.fromCoroutine(bad.read(5))), CorruptObject)
    good = verified(sent(TEXT))
    assert value_of(Deferred.fromCoroutine(read_all(good, 100))) == TEXT
    assert value_of(Deferred.fromCoroutine(good.read(5))) == b""


def test_a_broken_connection_is_told_as_such() -> None:
    """It says nothing of the object."""
    source = PushSource()
    source.data(TEXT)
    source.fail(UpstreamUnreachable("https://storage.example/", "the response broke off"))
    given, failure = given_before_the_end(verified(source))
    assert isinstance(failure, UpstreamUnreachable) and len(given) < len(TEXT)


def test_who_gives_it_up_closes_what_comes() -> None:
    """The storage sends no more of it."""
    source = sent(TEXT)
    verified(source).close()
    assert source.closed
