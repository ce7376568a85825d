"""Refs that show that they are as this server has left them are not read again."""

from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.refs import HIDDEN, RefState, change, of_listing
from cachew.mirrors.repository import Repository
from cachew.mirrors.transfer import Transfer
from cachew.plumbing.errors import CorruptObject
from cachew.upstream.remoteref import RemoteRef
from tests.fakes.clock import FakeClock
from tests.functional import repositories

MAIN = "refs/heads/main"


@pytest.fixture
def plain(tmp_path: Path) -> repositories.Repository:
    """A repository with packed refs, loose ones and a tag."""
    made = repositories.make_repository(tmp_path / "r.git", commits=3, branches=["main", "a", "b/c"], tags=["v1"])
    made.git("pack-refs", "--all")
    return made


async def left(repository: Repository, known: RefState, wanted: RefState) -> None:
    """Have the server bring the refs from where they are to where they are wanted."""
    step = change(await repository.refs.present(known), wanted)
    await repository.ref_updates.apply(step, 0.0)
    repository.refs.left(wanted, step)


@pytest_twisted.ensureDeferred
async def test_what_this_server_has_left(runner: GitRunner, plain: repositories.Repository) -> None:
    """After a push the refs are those that are known, one by one, as often as one moves."""
    repository = Repository(directory=plain.path, object_format="sha1", git=runner)
    first = await repository.refs.present(RefState())
    assert first.refs == plain.refs() and first.head == MAIN
    older = plain.git("rev-parse", "main~1")
    second = RefState({**first.refs, MAIN: older}, MAIN)
    await left(repository, first, second)
    assert await repository.refs.present(second) is second
    third = RefState({**second.refs, "refs/heads/a": older}, MAIN)
    await left(repository, second, third)
    assert await repository.refs.present(third) is third
    assert third.refs == plain.refs()


@pytest.mark.parametrize(
    "words",
    [
        ("update-ref", MAIN, "main~1"),
        ("update-ref", "refs/heads/new", "main"),
        ("update-ref", "-d", "refs/heads/a"),
        ("tag", "-d", "v1"),
        ("symbolic-ref", "HEAD", "refs/heads/a"),
        ("update-ref", "--no-deref", "HEAD", "main"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_somebody_else_moves(
    runner: GitRunner, plain: repositories.Repository, words: tuple[str, ...]
) -> None:
    """It is seen, whatever it is, and put back by the next fetch."""
    repository = Repository(directory=plain.path, object_format="sha1", git=runner)
    first = await repository.refs.present(RefState())
    known = RefState({**first.refs, "refs/heads/b/c": plain.git("rev-parse", "main~1")}, MAIN)
    await left(repository, first, known)
    plain.git(*words)
    found = await repository.refs.present(known)
    assert found != known and found.refs == plain.refs()
    await left(repository, known, known)
    assert plain.refs() == known.refs and plain.git("symbolic-ref", "HEAD") == MAIN


@pytest_twisted.ensureDeferred
async def test_what_is_more_than_a_move(runner: GitRunner, plain: repositories.Repository) -> None:
    """After deletions, another HEAD and packing the refs are read once more, and then known again."""
    repository = Repository(directory=plain.path, object_format="sha1", git=runner)
    first = await repository.refs.present(RefState())
    known = RefState({name: oid for name, oid in first.refs.items() if name != "refs/heads/a"}, "refs/heads/b/c")
    await left(repository, first, known)
    found = await repository.refs.present(known)
    assert found is not known and found == known
    await left(repository, known, known)
    assert await repository.refs.present(known) is known
    plain.git("pack-refs", "--all")
    assert await repository.refs.present(known) is not known


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_no_ref(runner: GitRunner, plain: repositories.Repository) -> None:
    """Whoever reads the refs tells of it, as when git fails, and gets the others; a server that starts sees it too."""
    told: list[object] = []
    repository = Repository(directory=plain.path, object_format="sha1", git=runner, failed=told.append)
    known = await repository.refs.present(RefState())
    await left(repository, known, known)
    repository.configure("http://git.example/org/repo")
    (plain.path / "cachew.json").touch()
    assert not repository.take_stock("http://git.example/org/repo").changed and not told
    (plain.path / "refs/heads/a").write_bytes(b"")
    rest = {name: oid for name, oid in known.refs.items() if name != "refs/heads/a"}
    assert (await repository.refs.present(known)).refs == rest
    assert of_listing(await repository.refs.read()).refs == rest
    assert [type(damage) for damage in told] == [CorruptObject, CorruptObject]
    assert repository.take_stock("http://git.example/org/repo").changed


@pytest.mark.parametrize("name", [MAIN, "refs/heads/a", "refs/tags/v1", "refs/heads/extra"])
@pytest_twisted.ensureDeferred
async def test_a_ref_to_what_is_not_there(runner: GitRunner, plain: repositories.Repository, name: str) -> None:
    """It keeps no other ref from moving, is put back, and is told of: what it led to may have been lost."""
    told: list[object] = []
    repository = Repository(directory=plain.path, object_format="sha1", git=runner, failed=told.append)
    known = await repository.refs.present(RefState())
    (plain.path / name).write_text("1" * 40)
    wanted = RefState({**known.refs, MAIN: plain.git("rev-parse", f"{known.refs[MAIN]}~1")}, MAIN)
    await left(repository, known, wanted)
    assert plain.refs() == wanted.refs
    assert [type(damage) for damage in told] == [CorruptObject]


@pytest_twisted.ensureDeferred
async def test_a_hidden_ref_that_is_none(runner: GitRunner, plain: repositories.Repository) -> None:
    """What keeps objects alive is read when the old of it are deleted, and what is none is told of."""
    told: list[object] = []
    repository = Repository(directory=plain.path, object_format="sha1", git=runner, failed=told.append)
    await repository.ref_updates.keep([plain.commit()], 0.0)
    assert await repository.refs.expire(0.0, days=1) == 0 and not told
    broken = plain.path / HIDDEN / "0" / ("1" * 40)
    for content in ("", "0" * 40):
        broken.parent.mkdir(parents=True, exist_ok=True)
        broken.write_text(content)
        assert await repository.refs.expire(0.0, days=1) == 0
        assert isinstance(told.pop(), CorruptObject) and not told
        url = "http://git.example/org/repo"
        await repository.mend(await repository.examine(url, contents=False), await repository.refs.read(), url)
        assert plain.git("for-each-ref", "--format=%(objectname)", HIDDEN) == plain.commit()
        assert not repository.ledger.touched(), "what was mended is not looked at once more"


@pytest.mark.parametrize("packed", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_hidden_ref_to_what_is_not_there(
    runner: GitRunner, plain: repositories.Repository, packed: bool
) -> None:
    """Git fetches nothing beside it; whoever looks for what is damaged finds it, and it alone goes."""
    repository, url = Repository(directory=plain.path, object_format="sha1", git=runner), "http://git.example/org/repo"
    repository.configure(url)
    await repository.ref_updates.keep([plain.commit()], 0.0)
    listing, name = await repository.refs.read(), f"{HIDDEN}0/{'1' * 40}"
    if packed:
        with (plain.path / "packed-refs").open("a") as file:
            file.write(f"{'1' * 40} {name}\n")
    else:
        (plain.path / name).parent.mkdir(parents=True, exist_ok=True)
        (plain.path / name).write_text("1" * 40)
    found = await repository.examine(url, contents=False)
    assert (found.objects, found.derived, found.shape) == ((), (), (name,))
    await repository.mend(found, listing, url)
    assert plain.git("for-each-ref", "--format=%(objectname)", HIDDEN) == plain.commit()
    assert not await repository.examine(url, contents=False) and not repository.ledger.touched()
    plain.git("rev-list", "--objects", "--all")


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_no_ref_where_one_ref_moves(runner: GitRunner, plain: repositories.Repository) -> None:
    """Of very many refs only those are looked at that are no packed ones; the damage is told and nothing waits."""
    told: list[object] = []
    repository = Repository(directory=plain.path, object_format="sha1", git=runner, failed=told.append)
    known = await repository.refs.present(RefState())
    (plain.path / "refs/tags/broken").write_bytes(b"")
    another = known.refs["refs/heads/a"]
    transfer = Transfer(remote=cast(Any, None), posts=cast(Any, None), clock=FakeClock())
    assert not await transfer.follow_part(repository, known, {MAIN: RemoteRef(MAIN, another)})
    assert plain.commit(MAIN) == another
    assert [type(damage) for damage in told] == [CorruptObject]
