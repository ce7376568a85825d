"""What comes into a repository, with git in the test's hand."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.packindex import Content, OpenIndexes, PackIndex
from cachew.mirrors.repository import Repository
from cachew.plumbing.child import Command, Completed
from cachew.plumbing.diskspace import put_in_place
from cachew.plumbing.errors import CorruptObject, ProcessFailed, ProcessTimedOut, UpstreamTimeout
from cachew.plumbing.pktline import FLUSH, Packet, encode_all
from cachew.plumbing.streams import FileSource, read_all
from tests.fakes.closable import ClosableBytes
from tests.fakes.inlinethreads import InlineThreads, P, T
from tests.fakes.mirrorgit import FakeGit, git_settings, oid
from tests.fakes.settled import failure_of, value_of

URL = "http://git.example/org/repo"
ODD = f"warning: object {oid('a')}: hasDotgit: contains '.git'\n".encode()
OTHER = f"warning: object {oid('b')}: nulInCommit: NUL byte\n".encode()
ANSWER: list[Packet] = [b"packfile\n", b"\x01PACK", FLUSH]


class TalkingGit(FakeGit):
    """Has something to say while it fetches, and reads the packs that it is given.

    :ivar says: what, for its next runs.
    :ivar taken: the packs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.says: list[bytes] = []
        self.taken: list[bytes] = []

    async def run(
        self,
        command: Command,
        *,
        stdin: Any = b"",
        on_stderr: Callable[[bytes], object] | None = None,
        **options: Any,
    ) -> Completed:
        if on_stderr is not None and self.says:
            on_stderr(self.says.pop(0))
        if not isinstance(stdin, bytes):
            self.taken.append(await read_all(stdin, 1000))
            stdin = b""
        return await super().run(command, stdin=stdin, **options)


class HeldThreads(InlineThreads):
    """Runs blocking work at once, and what is held when the test says so.

    :ivar holds: a function whose calls wait.
    :ivar within: whether work is being done.
    """

    def __init__(self) -> None:
        self.holds: Callable[..., object] | None = None
        self.held: list[Deferred[None]] = []
        self.within = False

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if function is self.holds:
            self.held.append(Deferred())
            await self.held[-1]
        self.within = True
        try:
            return await super().__call__(function, *args, **kwargs)
        finally:
            self.within = False


class Indexes(OpenIndexes):
    """Tells whether another thread has looked into it."""

    def __init__(self, threads: HeldThreads) -> None:
        super().__init__()
        self._threads = threads
        self.looks: list[bool] = []

    def content_of(self, index: PackIndex) -> Content:
        self.looks.append(self._threads.within)
        return super().content_of(index)


class House:
    """A repository into which things come."""

    def __init__(self, directory: Path) -> None:
        self.git, self.threads, self.told = TalkingGit(), HeldThreads(), Counter[str]()
        self.indexes = Indexes(self.threads)
        self.runner = GitRunner(
            processes=cast(Any, self.git),
            commands=git_settings(directory),
            threads=cast(Any, self.threads),
            disliked=self.told.update,
            indexes=self.indexes,
        )
        self.repository = self.made(directory / "repo.git")
        self.intake = self.repository.intake

    def made(self, directory: Path) -> Repository:
        """Make a repository, or open it again."""
        made = Repository(directory=directory, object_format="sha1", git=self.runner)
        if not directory.exists():
            value_of(Deferred.fromCoroutine(made.create(URL)))
        return made

    def fetch(self, digit: str, said: bytes = b"") -> Deferred[None]:
        """Fetch an object, of which git says something."""
        self.git.says.append(said)
        return Deferred.fromCoroutine(self.intake.fetch_objects(URL, [oid(digit)], {}))

    def fetch_alone(self, said: bytes = b"") -> Deferred[None]:
        """Fetch an object, which goes on alone after others have got in its way twice."""
        met = ProcessFailed("git fetch", 128, "fatal: shallow file has changed since we read it")
        self.git.failures["fetch"], self.git.holding = [met, met], {"fetch"}
        self.git.says += [said, said]
        fetch = self.fetch("1", said)
        self.git.release()
        self.git.release()
        return fetch

    def take_answer(self, packets: list[Packet]) -> tuple[Deferred[bool], ClosableBytes]:
        """Take an upstream's answer."""
        answer = ClosableBytes(encode_all(packets))
        return Deferred.fromCoroutine(self.intake.take_answer(answer)), answer

    def kept(self) -> Counter[str]:
        """Return what is known of findings after a restart."""
        return self.made(self.repository.directory).intake.findings()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_fetches_that_end_together_count_what_each_has_found(house: House) -> None:
    """The file is written by one after the other, and nothing is lost."""
    house.threads.holds = put_in_place
    first, second = house.fetch("1", ODD), house.fetch("2", ODD + OTHER)
    assert len(house.threads.held) == 1 and not first.called and not second.called
    house.threads.held.pop().callback(None)
    house.threads.held.pop().callback(None)
    value_of(first)
    value_of(second)
    assert house.kept() == house.told == {"hasDotgit": 2, "nulInCommit": 1}


def test_findings_that_can_not_be_written_down_fail_no_fetch(house: House) -> None:
    """What has come is as good, and the next time all of it is written down."""
    house.threads.holds = put_in_place
    fetch = house.fetch("1", ODD)
    house.threads.held.pop().errback(OSError(28, "No space left on device"))
    value_of(fetch)
    assert not house.kept() and house.intake.findings() == {"hasDotgit": 1}
    house.threads.holds = None
    value_of(house.fetch("2", OTHER))
    assert house.kept() == {"hasDotgit": 1, "nulInCommit": 1}


def test_a_client_that_leaves_while_findings_are_written_holds_up_no_other(house: House) -> None:
    """The next fetch writes what both have found."""
    house.threads.holds = put_in_place
    leaving = house.fetch("1", ODD)
    leaving.addErrback(lambda failure: None)
    leaving.cancel()
    house.threads.holds = None
    value_of(house.fetch("2", OTHER))
    assert house.kept() == {"hasDotgit": 1, "nulInCommit": 1}


def test_what_git_can_not_be_told_to_take_is_taken_unchecked(house: House) -> None:
    """The fetch is made again without checks, what the first one found counts once, and links are doubted since."""
    house.git.failures["fetch"] = [ProcessFailed("git fetch", 128, "fatal: fsck error in packed object")]
    house.git.says = [ODD, ODD]
    value_of(Deferred.fromCoroutine(house.intake.fetch_objects(URL, [oid("1")], {})))
    assert house.git.ran.count("fetch") == 2 and house.told == {"hasDotgit": 1}
    assert not house.intake.links.hold


@pytest.mark.parametrize("failure", [ProcessTimedOut("git fetch", None, "fsck error"), ProcessFailed("git fetch", 1)])
def test_no_other_failure_is_tried_without_checks(house: House, failure: ProcessFailed) -> None:
    """Least of all one of an upstream that sends slowly: it would be waited for twice."""
    house.git.failures["fetch"] = [failure]
    assert failure_of(house.fetch("1")).__cause__ is failure
    assert house.git.ran.count("fetch") == 1


def test_a_fetch_that_keeps_meeting_others_is_alone_at_last(house: House) -> None:
    """Those that come later wait for it then, and what was said in vain isn't counted."""
    fetch = house.fetch_alone(ODD)
    later = house.fetch("2")
    assert len(house.git.held) == 1
    house.git.release()
    value_of(fetch)
    assert house.told == {"hasDotgit": 1} and len(house.git.held) == 1
    house.git.release()
    value_of(later)


def test_what_another_repository_has_is_looked_up_by_this_thread(house: House, tmp_path: Path) -> None:
    """What is open of indexes belongs to all repositories, and to no other thread than the one that serves clients."""
    donor = house.made(tmp_path / "donor.git")
    pack = donor.directory / "objects" / "pack" / f"pack-{oid('c')}"
    pack.with_suffix(".idx").write_bytes(b"\xfftOc\0\0\0\2" + bytes(1024 + 40))
    pack.with_suffix(".pack").touch()
    there = donor.directory / "objects" / "11"
    there.mkdir()
    (there / oid("1")[2:]).touch()
    value_of(Deferred.fromCoroutine(house.intake.take(donor.directory, [oid("1"), oid("2")])))
    assert house.git.scripts == [[oid("1")]]
    assert house.indexes.looks and not any(house.indexes.looks)


def test_nothing_is_fetched_where_another_repository_has_nothing(house: House, tmp_path: Path) -> None:
    """Git would take an empty list for all there is."""
    donor = house.made(tmp_path / "donor.git")
    value_of(Deferred.fromCoroutine(house.intake.take(donor.directory, [oid("1")])))
    assert "fetch" not in house.git.ran


@pytest.mark.parametrize(("packet", "outcome"), [(b"\x01PACK" + bytes(40), []), (b"\x03no", [CorruptObject])])
def test_the_response_is_closed_out_of_which_a_pack_was_taken(
    house: House, tmp_path: Path, packet: bytes, outcome: list[type]
) -> None:
    """Whether it carried one or not."""
    path = tmp_path / "response"
    path.write_bytes(encode_all([packet, FLUSH]))
    response = FileSource(path.open("rb"))
    taking = Deferred.fromCoroutine(house.intake.take_pack(response))
    failures: list[Failure] = []
    taking.addErrback(failures.append)
    assert response.file.closed and [failure.type for failure in failures] == outcome
    assert not [name for name in os.listdir(house.repository.directory / "objects/pack") if name.startswith("tmp")]


def test_a_pack_that_an_upstream_answers_with_is_git_s(house: House) -> None:
    """It is closed when it has been read, and what git dislikes in it is counted."""
    house.git.says = [ODD]
    taking, answer = house.take_answer(ANSWER)
    assert value_of(taking) and answer.closed and house.git.taken == [b"PACK"]
    assert house.kept() == {"hasDotgit": 1} and house.intake.links.hold


@pytest.mark.parametrize("packets", [ANSWER[:-1], [b"shallow-info\n"], [*ANSWER, b"\x01more"], [b"ERR no\n"]])
def test_an_answer_without_a_whole_pack_is_as_good_as_none(house: House, packets: list[Packet]) -> None:
    """Git is asked to fetch then; nothing is doubted."""
    taking, answer = house.take_answer(packets)
    assert value_of(taking) is False and answer.closed and house.intake.links.hold


def test_an_upstream_that_hangs_is_not_asked_a_second_time(house: House) -> None:
    """Another way would hang as long."""
    house.git.failures["index-pack"] = [UpstreamTimeout(URL, "hangs")]
    taking, answer = house.take_answer(ANSWER)
    assert isinstance(failure_of(taking), UpstreamTimeout) and answer.closed


def test_an_answer_whose_client_leaves_is_closed(house: House) -> None:
    """Also while another fetch has the repository to itself."""
    alone = house.fetch_alone()
    taking, answer = house.take_answer(ANSWER)
    taking.addErrback(lambda failure: None)
    taking.cancel()
    assert answer.closed and not house.git.taken
    house.git.release()
    value_of(alone)
    assert value_of(house.take_answer(ANSWER)[0])
