"""The version is that of the tags, wherever the sources come from, and dpkg and Python sort it alike."""

import itertools
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version
from setuptools_scm import _get_version
from vcs_versioning import VcsEnvironment

ROOT = Path(__file__).parents[1]
NOTE = ".git_archival.txt"
OF_A_COPY = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]["fallback_version"]


class Sources:
    """A repository with what decides on the version."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.git("init", "-q", "-b", "main", directory)
        for name in ("pyproject.toml", "setup.cfg", NOTE, ".gitattributes"):
            shutil.copy(ROOT / name, directory)
        self.git("add", ".")
        self.commit()

    def git(self, *words: object) -> str:
        """Run git here, with no configuration but this."""
        config = (
            "user.name=a",
            "user.email=a@example",
            "safe.directory=*",
            "commit.gpgSign=false",
            "tag.gpgSign=false",
        )
        argv = ["git", "-C", self.directory, *itertools.chain(*(("-c", each) for each in config)), *words]
        return subprocess.run([str(word) for word in argv], text=True, capture_output=True, check=True).stdout

    def commit(self) -> str:
        """Make a commit; return its id."""
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD").strip()

    def archive(self, directory: Path) -> Path:
        """Make what a code host makes of a commit for whoever wants no repository."""
        directory.mkdir()
        self.git("archive", "-o", directory / "all.tar", "HEAD")
        shutil.unpack_archive(directory / "all.tar", directory)
        return directory


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A repository with one commit and no tag."""
    (tmp_path / "sources").mkdir()
    return Sources(tmp_path / "sources")


def version(directory: Path) -> str:
    """Return the version that an installation of these sources has."""
    config = VcsEnvironment.from_env("SETUPTOOLS_SCM").build_config(name=directory / "pyproject.toml")
    return str(_get_version(config, force_write_version_files=False))


def test_the_version_is_that_of_the_tag(sources: Sources, tmp_path: Path) -> None:
    """A tagged commit has its tag's version, one after it a version before the next; an archive has the same."""
    sources.git("tag", "v0.2.0")
    assert [version(sources.directory), version(sources.archive(tmp_path / "tagged"))] == ["0.2.0", "0.2.0"]
    after = f"0.2.1.dev1+g{sources.commit()[:9]}"
    assert [version(sources.directory), version(sources.archive(tmp_path / "after"))] == [after, after]
    sources.git("worktree", "add", "-q", tmp_path / "worktree")
    assert version(tmp_path / "worktree") == after
    sources.git("tag", "-m", "a candidate", "v0.3.0rc1")
    assert version(sources.directory) == "0.3.0rc1"


def test_tags_of_other_kinds_are_passed_over(sources: Sources, tmp_path: Path) -> None:
    """What somebody tags otherwise keeps nobody from installing and makes no version."""
    sources.git("tag", "v0.2.0")
    after = f"0.2.1.dev1+g{sources.commit()[:9]}"
    for tag in ("nightly-2026.11.29", "chart-1.2.3", "v-next-3.0.0", "v3.0.0-broken", "v3", "before-v3.0.0"):
        sources.git("tag", tag)
    assert [version(sources.directory), version(sources.archive(tmp_path / "archive"))] == [after, after]


def test_without_a_tag_it_comes_before_the_first(sources: Sources, tmp_path: Path) -> None:
    """A clone without tags, or a shallow one, has a development version of its commit; an archive always the same."""
    id = sources.commit()
    assert version(sources.directory) == f"{OF_A_COPY[:-1]}2+g{id[:9]}"
    sources.git("tag", "v0.2.0")
    last = sources.commit()
    sources.git("clone", "-q", "--depth=1", "--no-tags", sources.directory.as_uri(), tmp_path / "shallow")
    with pytest.warns(UserWarning, match="is shallow"):
        assert version(tmp_path / "shallow") == f"{OF_A_COPY[:-1]}1+g{last[:9]}"
    sources.git("tag", "-d", "v0.2.0")
    assert version(sources.archive(tmp_path / "archive")) == OF_A_COPY
    assert Version(OF_A_COPY).is_devrelease


def test_a_copy_without_history_and_a_machine_without_git(sources: Sources, tmp_path: Path) -> None:
    """What ``rsync`` has copied is no part of the repository around it; where git is missing no history is read."""
    sources.git("tag", "v0.2.0")
    copy = sources.directory / "copy"
    shutil.copytree(sources.directory, copy, ignore=shutil.ignore_patterns(".git", "copy"))
    with pytest.warns(UserWarning, match="git archive did not support"):
        assert version(copy) == OF_A_COPY
    argv = [sys.executable, "-W", "ignore", "-m", "setuptools_scm"]
    told = subprocess.run(argv, cwd=sources.directory, env={"PATH": str(tmp_path)}, text=True, capture_output=True)
    assert (told.returncode, told.stdout) == (0, f"{OF_A_COPY}\n"), told.stderr


def test_the_package_is_sorted_as_python_sorts_versions() -> None:
    """A Debian package of a later version is a later package, whatever the two are."""
    written = (
        "0.1.0.dev0", "0.1.0.dev9+gab1", "0.1.0.dev12+gab0", "0.1.0a1.dev1+gab0", "0.1.0a1", "0.1.0b1", "0.1.0rc1",
        "0.1.0rc2.dev3+gab0.d20261129", "0.1.0rc2", "0.1.0", "0.1.1.dev1+gab0", "0.1.1", "0.1.10", "0.2.0",
    )  # fmt: skip
    assert list(written) == sorted(written, key=Version)
    sed = ["sed", "-Ef", str(ROOT / "contrib" / "debian" / "version.sed")]
    told = subprocess.run(sed, input="\n".join(written), text=True, capture_output=True, check=True).stdout.split("\n")
    assert told[1] == "0.1.0~~dev9+gab1"
    if shutil.which("dpkg") is None:
        return
    for earlier, later in itertools.pairwise(f"{each}-1~deb12" for each in told):
        compared = subprocess.run(["dpkg", "--compare-versions", earlier, "lt", later], check=False)
        assert compared.returncode == 0, f"{earlier} is not before {later}"
