"""What the annotations of settings are made of."""

from typing import Annotated, Literal

from pydantic import BaseModel

from cachew.config.unions import unannotated, union_members


class Red(BaseModel):
    """One member."""

    kind: Literal["red"]


class Blue(BaseModel):
    """Another one."""

    kind: Literal["blue"]


class Plain(BaseModel):
    """A section that nothing tells from others."""

    size: int


def test_what_is_written_beside_a_type_is_left_out() -> None:
    """However often something is."""
    assert unannotated(Annotated[Annotated[int, "a"], "b"]) is int and unannotated(int) is int


def test_members_are_told_apart_by_their_first_key() -> None:
    """What has none that tells is no member, and what is no union has none."""
    assert union_members(Annotated[Red | Blue, "said"]) == {"red": Red, "blue": Blue}
    assert union_members(Red | Plain | None) == {"red": Red}
    assert union_members(Red) == union_members(int) == union_members(tuple[Red, ...]) == {}
