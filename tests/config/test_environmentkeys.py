"""Keys of the config that the environment sets."""

import pytest

from cachew.config.cachetiers import DiskTier, S3Tier
from cachew.config.credentialkinds import TokenCredential
from cachew.config.document import table
from cachew.config.environmentkeys import variable_of
from cachew.config.load import ConfigErrors, load
from cachew.config.settings import Settings


def read(text: str = "", **environ: str) -> Settings:
    return load(text, file="cachew.toml", environ=environ)


def complaints(text: str = "", **environ: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(text, **environ)
    return caught.value.lines()


def test_the_environment_sets_what_the_file_does_not() -> None:
    """Names are the path in capitals with underscores; a key that the file sets keeps the file's value."""
    settings = read(
        '[git]\nfetch-wait = "7s"',
        CACHEW_STATE="/srv/c",
        CACHEW_LISTEN="tcp:1",
        CACHEW_LOG_LEVEL="debug",
        CACHEW_GIT_SNAPSHOT_INTERVAL="2h",
        CACHEW_GIT_FETCH_WAIT="9s",
        CACHEW_GIT_MAX_FETCHES="3",
        CACHEW_GIT_LFS_SNAPSHOTS="false",
        CACHEW_GIT_MIRROR_LIMIT="5GB",
        CACHEW_PACK_CACHE_ENABLED="0",
    )
    assert (str(settings.state), settings.listen, settings.log_level) == ("/srv/c", ("tcp:1",), "debug")
    assert (settings.git.snapshot_interval, settings.git.fetch_wait, settings.git.max_fetches) == (7200, 7, 3)
    assert (settings.git.lfs_snapshots, settings.pack_cache.enabled) == (False, False)
    assert settings.git.mirror_limit == 5 * 10**9


def test_the_environment_sets_lists_and_tables() -> None:
    """A place in a list is part of the name; whole lists and tables are written as in the file."""
    settings = read(
        CACHEW_CACHE_0_BACKEND="disk",
        CACHEW_CACHE_0_LIMIT="1GB",
        CACHEW_CACHE_1_BACKEND="s3",
        CACHEW_CACHE_1_BUCKET="b",
        CACHEW_CREDENTIALS_0_KIND="token",
        CACHEW_CREDENTIALS_0_URL_PREFIX="https://github.com/org/",
        CACHEW_CREDENTIALS_0_TOKEN="123456",
        CACHEW_UPSTREAMS='{"git.example" = {url = "http://10.0.0.5/"}}',
        CACHEW_ACCESS_PROXIES='["10.0.0.1/32", "10.0.0.2/32"]',
        CACHEW_ADMIN_HOST_NAMES="cachew.example",
    )
    disk, store = settings.cache
    assert isinstance(disk, DiskTier) and isinstance(store, S3Tier)
    assert (disk.limit, store.bucket) == (10**9, "b")
    (credential,) = settings.credentials
    assert isinstance(credential, TokenCredential) and credential.token is not None
    assert credential.token.get_secret_value() == "123456"
    assert settings.upstreams["git.example"].url == "http://10.0.0.5/"
    assert len(settings.access.proxies) == 2
    assert settings.admin.host_names == ("cachew.example",)


def test_the_environment_sets_keys_of_hosts_that_are_known() -> None:
    """A host that the file names, or one of the default ones, has its keys in the environment too."""
    environ = {
        "CACHEW_UPSTREAMS_GIT_EXAMPLE_URL": "http://10.0.0.5/",
        "CACHEW_UPSTREAMS_GITHUB_COM_SUFFIX": "auto",
        "CACHEW_UPSTREAMS_DEFAULTS": "false",
    }
    settings = read('[upstreams."git.example"]', **environ)
    assert settings.upstreams["git.example"].url == "http://10.0.0.5/"
    assert settings.upstreams["github.com"].suffix == "auto"
    assert "gitlab.com" not in settings.upstreams


def test_mistakes_name_the_variable_and_what_is_allowed() -> None:
    """What is wrong in the environment is told with the variable, in place of the file, and the key."""
    *of_environment, of_file = complaints(
        "colour = 1",
        CACHEW_GIT_MAX_FETCHES="many",
        CACHEW_LOG_LEVEL="loud",
        CACHEW_CACHE="[x",
        CACHEW_LISTEN="",
    )
    assert of_environment == [
        "CACHEW_CACHE: cache: is not TOML: Invalid value (at line 1, column 10)",
        "CACHEW_LISTEN: listen[0]: must not be empty",
        "CACHEW_LOG_LEVEL: log-level: must be 'debug', 'info', 'warn', 'error' or 'critical'",
        "CACHEW_GIT_MAX_FETCHES: git.max-fetches: must be a whole number, without quotes",
    ]
    assert of_file.startswith("cachew.toml: colour: unknown key; allowed here: access, admin, cache, ")


def test_values_that_nothing_can_read_are_told() -> None:
    """Neither depth nor length of a value ends in a traceback."""
    found = complaints("", CACHEW_CACHE="[" * 5000, CACHEW_GIT_MAX_FETCHES="9" * 5000)
    assert [text.rpartition(": ")[2] for text in found] == [
        "it is nested too deeply", "must be a whole number, without quotes"
    ]  # fmt: skip


def test_other_variables_are_left_alone() -> None:
    """The client's variables and those of services that are called the same set no key."""
    settings = read(CACHEW_URL="http://x", CACHEW_AUTHORIZATION="Bearer x", CACHEW_SERVICE_HOST="10.0.0.1")
    assert settings == read()


def test_every_key_has_a_variable_of_its_own() -> None:
    """No two keys of the reference are set by one variable."""
    keys = [line.split("`")[1] for line in table().splitlines()[2:]]
    variables = [variable_of(tuple(key.replace("]]", "").replace("[[", "").split("."))) for key in keys]
    assert len(set(variables)) == len(set(keys)) > 100
