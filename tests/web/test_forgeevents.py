"""What forges say in their events."""

import json

import pytest

from cachew.plumbing.errors import BadRequest
from cachew.web.forgeevents import ForgeEvent, ForgeHosts, address_of, form_payload, read_event

URL = "https://git.example/o/now.git"


def read(name: str = "push", instance: str = "", **event: object) -> ForgeEvent | None:
    return read_event(json.dumps(event).encode(), name=name, instance=instance)


def test_every_address_of_a_repository_counts() -> None:
    """A forge writes several URLs, which need not lie at one address."""
    repository = {"clone_url": URL, "html_url": "http://public.example/o/now", "full_name": "o/now"}
    assert read(repository=repository) == ForgeEvent((URL, "http://public.example/o/now"), ("o/now",))


@pytest.mark.parametrize(
    ("changes", "former"),
    [
        ({"repository": {"name": {"from": "before"}}}, "o/before"),
        ({"owner": {"from": {"organization": {"login": "them"}}}}, "them/now"),
        ({"owner": {"from": {"user": {"login": "somebody"}}}}, "somebody/now"),
    ],
)
def test_a_renamed_repository_has_both_names(changes: object, former: str) -> None:
    """GitHub tells of a renaming or transfer with the former name, under which the mirror is."""
    repository = {"clone_url": URL, "full_name": "o/now"}
    event = read("repository", repository=repository, changes=changes, action="renamed")
    assert event == ForgeEvent((URL, f"https://git.example/{former}"), ("o/now", former))


def test_a_renamed_project_has_both_names() -> None:
    """GitLab's system hook tells paths only; the address comes from a header, or nobody knows it."""
    event = {"event_name": "project_transfer", "path_with_namespace": "g/now", "old_path_with_namespace": "f/before"}
    told = read("System Hook", "https://gitlab.example/", **event)
    assert told == ForgeEvent(
        ("https://gitlab.example/g/now", "https://gitlab.example/f/before"), ("g/now", "f/before")
    )
    assert read("System Hook", **event) == ForgeEvent((), ("g/now", "f/before"))


@pytest.mark.parametrize("name", ["ping", "issues", "", "merge request hook", "system hook push"])
def test_other_events_are_none(name: str) -> None:
    """What moves no ref, name or right is not read."""
    assert read_event(b"not even JSON", name=name) is None


@pytest.mark.parametrize(
    "event",
    [[], None, 5, {"repository": 5}, {"repository": {"clone_url": 5}}, {"project": []}, {"project": {"x": 1}},
     {"changes": 7, "repository": {}}],
)  # fmt: skip
def test_nonsense_is_a_bad_request(event: object) -> None:
    """An event that names no repository is refused."""
    with pytest.raises(BadRequest):
        read_event(json.dumps(event).encode(), name="push")


@pytest.mark.parametrize("form", [b"", b"payload=", b"x=1", b"&" * 1000, b"payload"])
def test_a_form_without_payload(form: bytes) -> None:
    """A form holds its event in one field."""
    with pytest.raises(BadRequest):
        form_payload(form)
    assert form_payload(b"x=1&payload=%7B%7D&y") == b"{}"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://Git.Example:443/o/R.git/", "git.example/o/R"),
        ("http://git.example:80/o/r", "git.example/o/r"),
        ("http://git.example:3000/", "git.example:3000"),
        ("ssh://git@git.example/o/r", ""),
        ("https://[::1", ""),
        ("https://git.example:99999/x", ""),
        ("nonsense", ""),
    ],
)
def test_addresses(url: str, address: str) -> None:
    """A URL is compared without scheme, default port and spelling of its end."""
    assert address_of(url) == address


def test_places() -> None:
    """A host is found by each of its names, below the path that it has there."""
    places = ForgeHosts({"a.example": ["a.example", "https://code.example/git/"], "b.example": ["code.example"]})
    assert places.names("https://code.example/git/o/r.git") == ["a.example/o/r", "b.example/git/o/r"]
    assert places.names("https://code.example/github/o/r") == ["b.example/github/o/r"]
    assert places.names("https://elsewhere.example/o/r") == []
    assert places.knows("http://code.example/x") and not places.knows("nonsense")
