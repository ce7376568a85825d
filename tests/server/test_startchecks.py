"""What would keep a server from starting, told before it is tried."""

import os
from pathlib import Path

import pytest

from cachew.config.settings import Settings
from cachew.server.startchecks import start_problems
from cachew.server.stateformat import FORMAT, StateFormat
from tests.functional.certificates import Authority

PATH = os.environ["PATH"]


def told(settings: Settings, search_path: str = PATH) -> list[tuple[str, str]]:
    """Return where something is wrong, and what."""
    return [(".".join(map(str, one.path)), one.message) for one in start_problems(settings, search_path)]


def test_a_server_that_could_start_has_no_problems(tmp_path: Path) -> None:
    """Nothing is told, and nothing is made or changed."""
    assert told(Settings(state=tmp_path / "state")) == []
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    """What stands in the way of the state directory or of a cache tier's is named, with the setting."""
    (tmp_path / "file").touch()
    tiers = [{"backend": "memory"}, {"backend": "disk", "path": tmp_path / "file"}]
    found = told(Settings.model_validate({"state": tmp_path / "file/state", "cache": tiers}))
    assert [where for where, _ in found] == ["state", "cache.1.path"]
    assert all(f"{tmp_path / 'file'} is none" in text for _, text in found)


@pytest.mark.parametrize("there", [True, False])
def test_a_directory_that_nobody_may_write_to(tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't be written to, or made in another."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    state = tmp_path if there else tmp_path / "state"
    ((where, text),) = told(Settings(state=state))
    assert where == "state" and ("can't be written to" if there else f"nobody may write to {tmp_path}") in text


def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    """The listener is named whose certificate is not there; one that is there is none."""
    authority = Authority(tmp_path)
    good = f"tls:8443:certificate={authority.path}"
    listen = ("tcp:8080", good, f"tls:8444:certificate={tmp_path / 'none.pem'}")
    found = told(Settings(state=tmp_path / "state", listen=listen))
    assert "listen.2" in [where for where, _ in found] and "listen.0" not in [where for where, _ in found]


def test_a_listener_that_names_no_certificate(tmp_path: Path) -> None:
    """That is told as what it is."""
    found = told(Settings(state=tmp_path / "state", listen=("tls:8443", "tls:x:certificate=/a")))
    assert found == [("listen.0", "tls: needs certificate=FILE"), ("listen.1", "tls: is followed by a port")]


def test_a_state_of_the_future(tmp_path: Path) -> None:
    """A state directory that a newer server has written is left alone, and why is told."""
    (tmp_path / "format").write_text(StateFormat(FORMAT + 1, "99.0").text())
    ((where, _),) = told(Settings(state=tmp_path))
    assert where == "state"


def test_without_git(tmp_path: Path) -> None:
    """A machine without git can run no server."""
    ((where, text),) = told(Settings(state=tmp_path / "state"), str(tmp_path))
    assert where == "" and "git" in text
