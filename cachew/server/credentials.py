"""The server's own credentials, made out of the settings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from treq.client import HTTPClient
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from cachew.config.settings import CommandCredential, Credential, GitHubAppCredential, NetrcCredential, TokenCredential
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.upstream.credentials import Credentials, CredentialSource
from cachew.upstream.credentialsources import CredentialCommand, NetrcFile, StaticToken, TokenFile
from cachew.upstream.githubapp import App, GitHubApps


def make_credentials(
    settings: Sequence[Credential],
    *,
    agent: IAgent,
    processes: Processes,
    threads: Threads,
    clock: IReactorTime,
    now: Callable[[], float],
    environment: Mapping[str, str],
    ignores_case: Callable[[str], bool],
) -> Credentials:
    """Make the server's credentials.

    :param settings: the config's ``[[credentials]]``.
    :param agent: asks GitHub's API.
    :param environment: what credential commands find around them.
    :param ignores_case: whether case makes no difference in the paths of a URL's host.
    """

    def source(setting: TokenCredential | NetrcCredential | CommandCredential) -> CredentialSource:
        if isinstance(setting, TokenCredential):
            return _token(setting, threads)
        if isinstance(setting, NetrcCredential):
            return NetrcFile(path=setting.file, in_thread=threads)
        return CredentialCommand(argv=setting.command, environment=environment, processes=processes, now=now)

    singly = [(one.url_prefix, source(one)) for one in settings if not isinstance(one, GitHubAppCredential)]
    apps = _github_apps(settings, HTTPClient(agent), threads, clock, now)
    return Credentials(sources=[*singly, *apps], ignores_case=ignores_case)


def _token(setting: TokenCredential, threads: Threads) -> CredentialSource:
    if setting.token is not None:
        return StaticToken(token=setting.token.get_secret_value(), username=setting.username)
    assert setting.token_file is not None
    return TokenFile(path=setting.token_file, in_thread=threads, username=setting.username)


def _github_apps(
    settings: Sequence[Credential], http: Any, threads: Threads, clock: IReactorTime, now: Callable[[], float]
) -> list[tuple[str, CredentialSource]]:
    """Join the Apps for one place, so that one's fallback does not hide another's own installation."""
    places: dict[tuple[str, str], list[App]] = {}
    for setting in settings:
        if isinstance(setting, GitHubAppCredential):
            app = App(app_id=setting.app_id, key_file=setting.private_key_file, fallback=setting.installation_id)
            places.setdefault((setting.url_prefix, setting.api_url), []).append(app)
    return [
        (prefix, GitHubApps(apps=apps, http=http, clock=clock, now=now, in_thread=threads, api=api))
        for (prefix, api), apps in places.items()
    ]
