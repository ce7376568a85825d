"""The project as it is installed: the wheel, its plugin and commands, and the scripts that set a checkout up."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCES = ("setup.cfg", "pyproject.toml", "LICENSE", "cachew", "twisted")
SCRIPTS = ("serve", "setup", "test", "release", "docs", "deb", "contrib", "roots")
TOOLS = ("sh", "dirname", "id", "cat", "find", "sort", "sha256sum", "mkdir", "env")


def run(*argv: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and keep what it says."""
    return subprocess.run([str(word) for word in argv], text=True, capture_output=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        else:
            shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the copy."""
    out = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q")
    built = run(sys.executable, "-m", "pip", "wheel", *options, "-w", out, tree)
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that has the wheel, and the project's dependencies from the one that runs the tests."""
    home = tmp_path_factory.mktemp("home")
    assert run(sys.executable, "-m", "venv", "--without-pip", home).returncode == 0
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "-q", "--force-reinstall")
    done = run(sys.executable, "-m", "pip", "--python", home / "bin/python", "install", *options, wheel)
    assert done.returncode == 0, done.stderr
    return home


def test_the_wheel_holds_the_plugin_and_hides_none_of_twisted(wheel: Path) -> None:
    """The wheel has the package, the plugin and the licence, and no ``__init__.py`` below ``twisted/``."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"cachew/__init__.py", "cachew/py.typed", "twisted/plugins/cachew_plugin.py"} <= names
    assert [name for name in names if name.startswith("twisted/")] == ["twisted/plugins/cachew_plugin.py"]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests/")]


def test_the_wheel_holds_every_module(wheel: Path, tree: Path) -> None:
    """Every file of the package is in the wheel."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("cachew/")}
    files = {path.relative_to(tree).as_posix() for path in (tree / "cachew").rglob("*") if path.is_file()}
    assert files - inside == set()


def test_twistd_lists_cachew_where_the_wheel_is_installed(installed: Path) -> None:
    """``twistd --help`` of another environment, run outside the checkout, knows the command ``cachew``."""
    twistd = Path(sysconfig.get_path("scripts")) / "twistd"
    result = run(installed / "bin/python", "-I", twistd, "--help", cwd=installed)
    assert "cachew           A git caching server." in result.stdout, result.stderr


def test_the_command_line_is_installed(installed: Path) -> None:
    """The console script ``cachew`` runs from the installed wheel."""
    result = run(installed / "bin/cachew", "--help", cwd=installed)
    assert result.returncode == 0, result.stderr
    assert "restore" in result.stdout
    assert "git clone cachew::" in run(installed / "bin/git-remote-cachew", cwd=installed).stderr


def test_it_is_installed_under_a_name_of_its_own(installed: Path) -> None:
    """The distribution is ``cachewd``, both commands say its version, and one that was written over says so."""
    built_as = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]["fallback_version"]
    assert run(installed / "bin/cachew", "--version", cwd=installed).stdout == f"cachew {built_as}\n"
    twistd = [installed / "bin/python", "-I", Path(sysconfig.get_path("scripts")) / "twistd", "cachew"]
    (site,) = (installed / "lib").glob("python*/site-packages")
    assert list(site.glob("cachewd-*.dist-info"))
    ours = (site / "cachew" / "__init__.py").read_text()
    (site / "cachew" / "__init__.py").write_text('"""Transparent and persistent cache."""\n')
    try:
        stopped = run(*twistd, "--check", cwd=installed)
    finally:
        (site / "cachew" / "__init__.py").write_text(ours)
    assert (stopped.returncode, "another distribution has written its package" in stopped.stderr) == (1, True)
    assert run(*twistd, "--check", cwd=installed).stdout == "command line: no mistakes\n"


@pytest.mark.parametrize(
    "script", ["scripts/serve", "scripts/setup", "scripts/test", "scripts/release", "scripts/docs", ".ci/run"]
)
def test_scripts_are_executable_shell(script: str) -> None:
    """Each script is executable and is valid shell."""
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert run("sh", "-n", path).returncode == 0


def test_setup_names_what_is_missing_when_it_cannot_install_it(tmp_path: Path) -> None:
    """Without apt-get the set-up prints the packages that are needed, stops, and has changed nothing."""
    bin_directory, tree = tmp_path / "bin", tmp_path / "tree"
    bin_directory.mkdir()
    for tool in TOOLS:
        (bin_directory / tool).symlink_to(str(shutil.which(tool)))
    (bin_directory / "python3").symlink_to(sys.executable)
    (tree / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup", tree / "scripts/setup")
    result = run(tree / "scripts/setup", "", "chromium", "libnowhere.so.7", env={"PATH": str(bin_directory)})
    assert result.returncode == 1
    library = " libnowhere7" if Path("/etc/debian_version").exists() else ""
    assert f"git git-lfs tar zstd chromium{library};" in " ".join(result.stderr.split())
    assert not (tree / ".venv").exists()


def test_the_workflow_runs_scripts_that_there_are() -> None:
    """What runs at the code host is what anybody can run, and each job that publishes waits for the checks."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text())
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    named = {word for line in runs for word in line.split() if word.startswith("scripts/")}
    assert {f"scripts/{name}" for name in ("test", "docs", "contrib", "deb", "release")} == named
    assert all((ROOT / name).stat().st_mode & 0o111 for name in named)
    needed = [name for name, job in workflow["jobs"].items() if name not in ("release", "publish")]
    assert sorted(workflow["jobs"]["release"]["needs"]) == sorted(needed)
    assert workflow["jobs"]["publish"]["needs"] == "release"
    for name in ("package", "release"):
        uses = [
            step for step in workflow["jobs"][name]["steps"] if step.get("uses", "").startswith("actions/checkout@")
        ]
        assert [step["with"]["fetch-depth"] for step in uses] == [0], "what it builds has the version of the tags"
