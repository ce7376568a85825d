"""What forges say in their events."""

import json

import pytest

from cachew.plumbing.errors import BadRequest
from cachew.web.forgeevents import ForgeEvent, ForgeHosts, address_of, form_payload, read_event

URL = "https://git.example/o/now.git"


def read(name: str | None = "push", instance: str = "", **event: object) -> ForgeEvent | None:
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


def at_bitbucket(slug: str, key: str = "PRJ") -> dict[str, object]:
    """Return a repository as Bitbucket Data Center tells of it ("Event payload" in its documentation)."""
    clones = [{"href": f"ssh://git@bb.example:7999/{key.lower()}/{slug}.git", "name": "ssh"},
              {"href": f"https://bb.example/scm/{key.lower()}/{slug}.git", "name": "http"}]  # fmt: skip
    return {"slug": slug, "name": slug, "project": {"key": key, "name": "Project"}, "links": {"clone": clones}}


def test_bitbucket_links_to_its_repositories() -> None:
    """In its cloud to a page, in one's own house to what is cloned from; without links there are paths."""
    cloud = {"full_name": "team/repo", "links": {"self": {"href": "https://api.bitbucket.org/2.0/repositories/team/repo"},
             "html": {"href": "https://bitbucket.org/team/repo"}}}  # fmt: skip
    assert read("repo:push", repository=cloud) == ForgeEvent(("https://bitbucket.org/team/repo",), ("team/repo",))
    paths = ("scm/PRJ/now", "PRJ/now")
    told = read("repo:refs_changed", eventKey="repo:refs_changed", repository=at_bitbucket("now"), changes=[{}])
    assert told == ForgeEvent(("https://bb.example/scm/prj/now.git",), paths)
    bare = {name: value for name, value in at_bitbucket("now").items() if name != "links"}
    assert read("repo:refs_changed", repository=bare) == ForgeEvent((), paths)


def test_of_very_many_addresses_some_are_looked_at() -> None:
    """Whoever looks for their mirrors keeps others waiting meanwhile."""
    clones = [{"href": f"https://git.example/o/{number}"} for number in range(1000)]
    event = read("repo:push", repository={"full_name": "o/now", "links": {"clone": clones}})
    assert event is not None and len(event.urls) == 100


def test_a_repository_that_was_renamed_at_bitbucket_has_both_names() -> None:
    """Its cloud tells of changes, one's own house of the repository before and after."""
    told = read("repo:modified", old=at_bitbucket("before"), new=at_bitbucket("now"))
    urls = ("https://bb.example/scm/prj/now.git", "https://bb.example/scm/prj/before.git")
    assert told == ForgeEvent(urls, ("scm/PRJ/now", "PRJ/now", "scm/PRJ/before", "PRJ/before"))
    cloud = {"full_name": "team/now", "links": {"html": {"href": "https://bitbucket.org/team/now"}}}
    told = read("repo:updated", repository=cloud, changes={"full_name": {"new": "team/now", "old": "team/before"}})
    urls = ("https://bitbucket.org/team/now", "https://bitbucket.org/team/before")
    assert told == ForgeEvent(urls, ("team/now", "team/before"))


def azure(name: str, **resource: object) -> ForgeEvent | None:
    event = {"eventType": name, "resource": resource}
    return read_event(json.dumps(event).encode(), name=None)


def test_azure_devops_names_its_events_in_their_bodies() -> None:
    """A push has the repository's address, a renaming the name before; builds and work items are none."""
    url = "https://dev.azure.com/org/My%20Project/_git/now"
    repository = {"remoteUrl": url, "name": "now", "project": {"name": "My Project"}}
    assert azure("git.push", repository=repository) == ForgeEvent((url,), ())
    former = "https://dev.azure.com/org/My%20Project/_git/be%20fore"
    assert azure("git.repo.renamed", repository=repository, oldName="be fore") == ForgeEvent((url, former), ())
    assert azure("build.complete") is None and azure("workitem.created", repository=repository) is None
    with pytest.raises(BadRequest):
        azure("git.push", url="https://dev.azure.com/org/_apis/git/repositories/1/pushes/14")


def test_gitlab_tells_groups_of_their_projects() -> None:
    """A group's own webhook has a name of its own for what happens to projects, and the event in the body."""
    event = {"event_name": "project_destroy", "path_with_namespace": "g/p"}
    assert read("Project Hook", "https://gitlab.example", **event) == ForgeEvent(
        ("https://gitlab.example/g/p",), ("g/p",)
    )
    assert read("Project Hook", **(event | {"event_name": "project_create"})) is None


@pytest.mark.parametrize(
    "name", ["ping", "diagnostics:ping", "pullrequest:created", "issues", "", "merge request hook", "system hook push"]
)
def test_other_events_are_none(name: str) -> None:
    """What moves no ref, name or right is not read."""
    assert read_event(b"not even JSON", name=name) is None


@pytest.mark.parametrize(
    "event",
    [[], None, 5, {"repository": 5}, {"repository": {"clone_url": 5}}, {"project": []}, {"project": {"x": 1}},
     {"changes": 7, "repository": {}}, {"repository": {"clone_url": "https://git.example/o/\ud800"}},
     {"repository": {"clone_url": "https://git.example/" + "o/" * 10_000}}],
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
