"""Git's argv and environment, and configuration that git reads back."""

import subprocess
from pathlib import Path

from cachew.mirrors.commands import CommandSettings, GitCommands, config_text


def commands(tmp_path: Path, **ca_files: Path) -> GitCommands:
    return GitCommands(
        CommandSettings(
            path="/usr/bin:/bin",
            home=tmp_path,
            of_upstreams={f"http.https://{name}.example/.sslCAInfo": str(path) for name, path in ca_files.items()},
        )
    )


def config(made: GitCommands, key: str, url: str, extra: dict[str, str] | None = None) -> str:
    """Ask git what a setting is for a URL in the environment of a child."""
    words = ["git", "config", "--get-urlmatch", key, url]
    done = subprocess.run(words, env=made.environment(extra), capture_output=True, text=True, cwd="/")
    return done.stdout.strip()


def test_each_upstream_has_its_own_authority(tmp_path: Path) -> None:
    """An upstream's certificates are trusted for its URLs only."""
    made = commands(tmp_path, one=tmp_path / "one.pem", two=tmp_path / "two.pem")
    assert config(made, "http.sslCAInfo", "https://one.example/org/repo") == str(tmp_path / "one.pem")
    assert config(made, "http.sslCAInfo", "https://two.example/org/repo") == str(tmp_path / "two.pem")
    assert config(made, "http.sslCAInfo", "https://three.example/org/repo") == ""


def test_a_silent_upstream_is_given_up(tmp_path: Path) -> None:
    """Git waits for an upstream that says nothing as long as the settings say, in whole seconds."""
    made = GitCommands(CommandSettings(path="/usr/bin:/bin", home=tmp_path, silence=1.5))
    assert config(made, "http.lowSpeedTime", "https://one.example/a") == "2"
    assert config(made, "http.lowSpeedLimit", "https://one.example/a") == "1"


def test_credentials_join_the_safe_configuration(tmp_path: Path) -> None:
    """What a credential adds leaves the rest in force, and stands in no argument."""
    secret = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.https://one.example/.extraHeader",
        "GIT_CONFIG_VALUE_0": "Authorization: Basic secret",
    }
    made = commands(tmp_path, one=tmp_path / "one.pem")
    assert config(made, "http.extraHeader", "https://one.example/a", secret) == "Authorization: Basic secret"
    assert config(made, "http.extraHeader", "https://two.example/a", secret) == ""
    assert config(made, "http.followRedirects", "https://one.example/a", secret) == "false"
    assert config(made, "http.sslCAInfo", "https://one.example/a", secret) == str(tmp_path / "one.pem")
    command = made.fetch(tmp_path, "https://one.example/a", extra=secret)
    assert "secret" not in " ".join(command.argv) and command.argv[-2:] == ("--end-of-options", "https://one.example/a")


def test_the_environment_is_an_allowlist(tmp_path: Path) -> None:
    """Children see nothing of the server's environment and of nobody's git configuration."""
    environment = commands(tmp_path).environment({"GIT_TRACE": "0"})
    plain = {name for name in environment if not name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))}
    assert plain == {
        "PATH", "HOME", "LC_ALL", "GIT_CONFIG_NOSYSTEM", "GIT_TERMINAL_PROMPT", "GIT_ALLOW_PROTOCOL",
        "GIT_LFS_SKIP_SMUDGE", "GIT_CONFIG_COUNT", "GIT_TRACE",
    }  # fmt: skip


def test_configuration_is_read_back(tmp_path: Path) -> None:
    """Git reads from a config file what was put in, odd characters too."""
    values = {"core.bare": "true", 'remote.a"b\\c.url': 'http://x/# ; "y" \\z', "one.two.three.four": " space "}
    path = tmp_path / "config"
    path.write_text(config_text(values))
    for key, value in values.items():
        done = subprocess.run(["git", "config", "-z", "--file", path, key], capture_output=True, text=True)
        assert done.stdout == f"{value}\0"


def test_head(tmp_path: Path) -> None:
    """HEAD names a ref, or an object where the upstream's is detached."""
    made = commands(tmp_path)
    assert made.set_head(tmp_path, "refs/heads/main").argv[-3:] == ("symbolic-ref", "HEAD", "refs/heads/main")
    assert made.set_head(tmp_path, "1" * 40).argv[-4:] == ("update-ref", "--no-deref", "HEAD", "1" * 40)
