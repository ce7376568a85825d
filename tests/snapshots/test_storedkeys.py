"""What was stored lately, by repository."""

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.snapshots.storedkeys import StoredKeys, of_instance

REPOSITORY = Identity("git.example", "org/repo")
ONE, TWO = Instance(REPOSITORY, "1" * 32), Instance(REPOSITORY, "2" * 32)


def key(instance: Instance, ref: str = "") -> str:
    """Return a snapshot's key."""
    return f"snapshot:{instance.name}{ref}"


def test_only_what_was_begun_since_is_suspect() -> None:
    """It is told once: whoever asks forgets it."""
    keys = StoredKeys()
    keys.note(REPOSITORY.name, "early", 10)
    keys.note(REPOSITORY.name, "late", 20)
    keys.note("git.example/other", "other", 20)
    assert keys.taken_since(REPOSITORY.name, 15) == ["late"]
    assert keys.taken_since(REPOSITORY.name, 0) == []
    assert keys.taken_since("git.example/other", 0) == ["other"]


def test_an_instance_takes_what_is_its_own() -> None:
    """Of every branch, and nothing of the next instance's."""
    keys = StoredKeys()
    for one in (key(ONE), key(ONE, " refs/heads/x"), key(TWO)):
        keys.note(REPOSITORY.name, one, 0)
    assert keys.taken_of(ONE) == [key(ONE), key(ONE, " refs/heads/x")]
    assert keys.taken_of(ONE) == [] and keys.taken_of(TWO) == [key(TWO)]
    assert of_instance(key(TWO), TWO) and not of_instance(key(TWO), ONE)


def test_the_oldest_are_forgotten() -> None:
    """A repository of which very much is made costs no more memory than others."""
    keys = StoredKeys()
    for number in range(150):
        keys.note(REPOSITORY.name, f"key {number}", number)
    keys.note(REPOSITORY.name, "key 60", 999)
    found = keys.taken_since(REPOSITORY.name, 0)
    assert len(found) == 100 and found[-1] == "key 60" and "key 0" not in found


def test_repositories_that_nobody_asks_for_are_forgotten() -> None:
    """Names are strangers' choice; the one of which nothing was made for longest goes first."""
    keys = StoredKeys()
    keys.note("git.example/kept", "key", 0)
    for number in range(10_000):
        keys.note(f"git.example/{number}", "key", 0)
        keys.note("git.example/kept", "key", number)
    assert not keys.has("git.example/0", "key")
    assert keys.has("git.example/1", "key") and keys.has("git.example/kept", "key")
    assert not keys.has("git.example/kept", "other")
