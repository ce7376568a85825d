"""What it means that git has failed."""

import pytest

from cachew.mirrors.gitfailures import about_what_was_asked, met_another, told_of_upstream, worth_another_way
from cachew.plumbing.errors import FetchFailed, FetchTimedOut, ProcessFailed, ProcessTimedOut, StorageFull

URL = "http://git.example/org/repo"


def test_when_another_way_is_worth_it() -> None:
    """A refusal may be got round; silence may not."""
    assert worth_another_way(ProcessFailed("git fetch", 128, "fatal: remote error: upload-pack: not our ref 1"))
    assert not worth_another_way(ProcessTimedOut("git fetch", None, "not our ref"))
    for words in ("fatal: unable to access 'http://x/': Could not resolve host: x", "fatal: Authentication failed for"):
        assert not worth_another_way(ProcessFailed("git fetch", 128, words))


def test_what_was_asked_for_may_be_at_fault() -> None:
    """Not so where the connection broke and the upstream had said nothing before."""
    assert about_what_was_asked(ProcessFailed("git fetch", 128, "fatal: bad object 1"))
    assert not about_what_was_asked(ProcessFailed("git fetch", 128, "error: RPC failed; curl 18 transfer closed"))
    assert about_what_was_asked(ProcessFailed("git fetch", 128, "remote: aborting\nerror: RPC failed; curl 18 closed"))


def test_fetches_that_get_in_each_others_way() -> None:
    """That another one writes down where histories are cut off is no failure of the upstream's or the disk's."""
    assert met_another(ProcessFailed("git fetch", 128, "fatal: Unable to create '/m/shallow.lock': File exists."))
    assert not met_another(ProcessFailed("git fetch", 128, "fatal: bad object 1"))


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ProcessFailed("git fetch", 128, "fatal: bad object 1"), FetchFailed),
        (ProcessTimedOut("git fetch", None, ""), FetchTimedOut),
        (ProcessFailed("git fetch", 128, "fatal: write error: No space left on device"), StorageFull),
    ],
)
def test_whose_failure_it_is(failure: ProcessFailed, told: type[Exception]) -> None:
    """Fetches fail for the upstream's sake, unless it is for that of this machine's disk."""
    with pytest.raises(told), told_of_upstream(URL):
        raise failure
