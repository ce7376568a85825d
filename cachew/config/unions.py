"""What the annotations of settings are made of (pure)."""

from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def unannotated(annotation: object) -> object:
    """Return an annotation without what was written beside the type."""
    return unannotated(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def union_members(annotation: object) -> dict[str, type[BaseModel]]:
    """Return the members of a union of sections by the value of the key that tells them apart."""
    annotation = unannotated(annotation)
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    tags = {}
    for member in members:
        if isinstance(member, type) and issubclass(member, BaseModel):
            first = next(iter(member.model_fields.values())).annotation
            if get_origin(first) is Literal:
                tags[str(get_args(first)[0])] = member
    return tags
