"""The server's own credentials, made out of the settings."""

from collections.abc import Callable, Sequence
from typing import Any

from treq.client import HTTPClient
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.settings import CommandCredential, Credential, GitHubAppCredential, NetrcCredential, TokenCredential
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
    search_path: str,
) -> Credentials:
    """Make the server's credentials.

    :param settings: the config's ``[[credentials]]``.
    :param agent: asks GitHub's API.
    :param search_path: ``PATH`` for credential commands.
    """

    def source(setting: Credential) -> CredentialSource:
        if isinstance(setting, TokenCredential):
            return _token(setting, threads)
        if isinstance(setting, NetrcCredential):
            return NetrcFile(path=setting.file, in_thread=threads)
        if isinstance(setting, CommandCredential):
            return CredentialCommand(
                argv=setting.command, environment={"PATH": search_path}, processes=processes, now=now
            )
        return _github_app(setting, HTTPClient(agent), threads, clock, now)

    return Credentials(sources=[(setting.url_prefix, source(setting)) for setting in settings])


def _token(setting: TokenCredential, threads: Threads) -> CredentialSource:
    if setting.token is not None:
        return StaticToken(token=setting.token.get_secret_value(), username=setting.username)
    assert setting.token_file is not None
    return TokenFile(path=setting.token_file, in_thread=threads, username=setting.username)


def _github_app(
    setting: GitHubAppCredential, http: Any, threads: Threads, clock: IReactorTime, now: Callable[[], float]
) -> CredentialSource:
    app = App(app_id=setting.app_id, key_file=setting.private_key_file, fallback=setting.installation_id)
    return GitHubApps(apps=[app], http=http, clock=clock, now=now, in_thread=threads, api=setting.api_url)
