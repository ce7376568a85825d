"""Very many refs, asked as if they were in dictionaries and sets."""

from collections.abc import Iterator

import pytest

from cachew.upstream.manyrefs import ManyRefs, many_refs
from cachew.upstream.refviews import OidsOfRefs, RefsByName, TipsByName
from cachew.upstream.remoteref import RemoteRef
from tests.fakes.manyrefs import HEAD, read, refs_of, told


def many(count: int = 1200, head: RemoteRef | None = HEAD, first: int = 0) -> ManyRefs:
    """Return refs whose object ids are the numbers from one on."""
    refs = [RemoteRef(f"refs/heads/b{number:05}", f"{first + number:040x}") for number in range(count)]
    found = many_refs([*([head] if head else []), *refs], 40)
    assert isinstance(found, ManyRefs)
    return found


def test_questions_are_answered_as_by_dictionaries() -> None:
    """By name, by object id, by prefix and by place, what is there and what is not."""
    refs = refs_of(3000)
    listing = read(told(refs))
    names = {**refs, "HEAD": HEAD}
    assert dict(listing.by_name) == names and len(listing.by_name) == len(listing.refs) == len(names)
    assert listing.by_name.get("refs/heads/b") is listing.by_name.get("refs/zz") is listing.by_name.get("") is None
    assert listing.refs[0] == HEAD and listing.refs[-1].name == "refs/tags/v9" and len(listing.refs[-4:]) == 4
    oids = {ref.oid for ref in names.values()} | {ref.peeled for ref in refs.values() if ref.peeled}
    known = listing.oids()
    assert set(known) == oids and all(oid in known for oid in sorted(filter(None, oids))[::50])
    assert "f" * 40 not in known and "refs/heads/b00001" not in known and f"{3:039x}" not in known
    assert isinstance(known, OidsOfRefs) and known.first(20) == sorted(filter(None, oids))[:20]
    assert not known.isdisjoint({HEAD.oid}) and known.isdisjoint({"f" * 40})
    for prefixes in (
        ["refs/tags/"],
        ["refs/heads/b0001", "refs/heads/b02", "HEAD"],
        ["refs/heads/b00001"],
        ["x"],
        ["H"],
    ):
        assert list(listing.filtered(prefixes).refs) == [
            ref for ref in listing.refs if ref.name.startswith(tuple(prefixes))
        ]
    assert listing.filtered(["HEAD", "refs/"]) is listing
    assert isinstance(listing.refs, ManyRefs)
    tips = TipsByName(listing.refs)
    assert dict(tips) == dict(tips.items()) == {name: ref.oid for name, ref in refs.items()}
    assert sorted(tips.values()) == sorted(tips[name] for name in tips) and "HEAD" not in tips
    assert tips == TipsByName(listing.refs) and tips != {} and tips == dict(tips)


def test_a_name_that_is_not_there_is_missing() -> None:
    """As in any dictionary; HEAD is no tip."""
    refs = many()
    for view in (RefsByName(refs), TipsByName(refs)):
        with pytest.raises(KeyError):
            view["refs/heads/none"]
        assert "refs/heads/none" not in view and "" not in view
    with pytest.raises(KeyError):
        TipsByName(refs)["HEAD"]


class Unread(ManyRefs):
    """Refs that nobody may go through."""

    def tips(self) -> Iterator[tuple[str, str]]:
        raise AssertionError


def test_many_are_told_from_few_without_being_read() -> None:
    """When an upstream has deleted nearly all its refs, whoever compares waits for nothing."""
    tips = TipsByName(many())
    tips.many = Unread(None, tips.many.blocks)
    assert tips != {"refs/heads/b00001": f"{1:040x}"} and tips != {} and tips != 7


@pytest.mark.parametrize("sought", ["", "0", f"{1:016x}", f"{1:064x}", f"{1:039x}\u00e4", "refs/heads/b00001", 7, None])
def test_what_is_no_object_id_here_is_not_among_them(sought: object) -> None:
    """Neither a part of one, nor one of another format, nor something else."""
    assert sought not in OidsOfRefs(many())


def test_what_only_head_has_is_among_them() -> None:
    """As when it is detached."""
    oids = OidsOfRefs(many(head=RemoteRef("HEAD", "e" * 40)))
    assert "e" * 40 in oids and oids.first(2000)[-1] == "e" * 40
    assert not oids.isdisjoint(OidsOfRefs(many(head=RemoteRef("HEAD", "e" * 40), first=5000)))


def test_others_are_told_from_those_that_share_an_object() -> None:
    """Also when ids only begin alike."""
    oids = OidsOfRefs(many(first=1))
    assert not oids.isdisjoint(OidsOfRefs(many(first=1200)))
    assert oids.isdisjoint(OidsOfRefs(many(first=2000, head=None)))
    alike = many_refs([RemoteRef(f"refs/heads/b{n:05}", f"{n:032x}{1:08x}") for n in range(1200)], 40)
    other = many_refs([RemoteRef(f"refs/heads/b{n:05}", f"{n:032x}{2:08x}") for n in range(1200)], 40)
    assert isinstance(alike, ManyRefs) and isinstance(other, ManyRefs)
    assert OidsOfRefs(alike).isdisjoint(OidsOfRefs(other)) and not OidsOfRefs(alike).isdisjoint(OidsOfRefs(alike))


def test_ids_that_several_refs_have_are_counted_once() -> None:
    """Wherever those refs lie, so that it is the set that it is taken for."""
    refs = many_refs([RemoteRef(f"refs/heads/b{n:05}", f"{n % 3:040x}") for n in range(5000)], 40)
    assert isinstance(refs, ManyRefs)
    oids, told_ones = OidsOfRefs(refs), {f"{n:040x}" for n in range(3)}
    assert len(oids) == 3 and oids <= told_ones and told_ones <= oids


def test_the_first_are_the_first_however_many_begin_alike() -> None:
    """What begins with the same sixteen digits is told apart all the same."""
    refs = many_refs([RemoteRef(f"refs/heads/b{n:05}", f"{'0' * 16}{n:024x}") for n in range(1500)], 40)
    assert isinstance(refs, ManyRefs)
    assert OidsOfRefs(refs).first(20) == [f"{n:040x}" for n in range(20)]


def test_some_of_them_are_an_ordinary_set() -> None:
    """What is common to both, and what is not."""
    oids = OidsOfRefs(many(first=1))
    assert oids & {f"{1:040x}", "f" * 40} == {f"{1:040x}"}
    assert {f"{1:040x}", "f" * 40} - oids == {"f" * 40}
