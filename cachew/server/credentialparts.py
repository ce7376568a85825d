"""The server's own credentials, made out of the settings."""

from collections.abc import Mapping, Sequence

from treq.client import HTTPClient
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IAgent

from cachew.config.credentialkinds import (
    CommandCredential,
    Credential,
    GitHubAppCredential,
    NetrcCredential,
    TokenCredential,
)
from cachew.plumbing.clock import Clock
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.upstream.credentials import CredentialSource
from cachew.upstream.credentialsources import CredentialCommand, NetrcFile, StaticToken, TokenCredentialFile


class CredentialMaker:
    """Makes the sources of the server's credentials.

    :param agent: asks GitHub's API.
    :param environment: what credential commands find around them.
    """

    def __init__(
        self,
        *,
        agent: IAgent,
        processes: Processes,
        threads: Threads,
        reactor: IReactorTime,
        clock: Clock,
        environment: Mapping[str, str],
    ) -> None:
        self._http = HTTPClient(agent)
        self._processes = processes
        self._threads = threads
        self._reactor, self._clock = reactor, clock
        self._environment = environment

    def sources(self, settings: Sequence[Credential]) -> list[tuple[str, CredentialSource]]:
        """Return what knows the credentials, each with its URL prefix.

        :param settings: the config's ``[[credentials]]``.
        """
        singly = [(one.url_prefix, self._source(one)) for one in settings if not isinstance(one, GitHubAppCredential)]
        return [*singly, *self._github_apps(settings)]

    def _source(self, setting: TokenCredential | NetrcCredential | CommandCredential) -> CredentialSource:
        if isinstance(setting, TokenCredential):
            return _token(setting, self._threads)
        if isinstance(setting, NetrcCredential):
            return NetrcFile(path=setting.file, in_thread=self._threads)
        return CredentialCommand(
            argv=setting.command, environment=self._environment, processes=self._processes, clock=self._clock
        )

    def _github_apps(self, settings: Sequence[Credential]) -> list[tuple[str, CredentialSource]]:
        """Join the Apps for one place, so that one's fallback does not hide another's own installation."""
        if not any(isinstance(setting, GitHubAppCredential) for setting in settings):
            return []
        from cachew.upstream.githubapp import GitHubApp, GitHubApps  # which brings JSON Web Tokens

        places: dict[tuple[str, str], list[GitHubApp]] = {}
        for setting in settings:
            if isinstance(setting, GitHubAppCredential):
                app = GitHubApp(
                    app_id=setting.app_id, key_file=setting.private_key_file, fallback=setting.installation_id
                )
                places.setdefault((setting.url_prefix, setting.api_url), []).append(app)
        return [
            (
                prefix,
                GitHubApps(
                    apps=apps,
                    http=self._http,
                    reactor=self._reactor,
                    clock=self._clock,
                    in_thread=self._threads,
                    api=api,
                ),
            )
            for (prefix, api), apps in places.items()
        ]


def _token(setting: TokenCredential, threads: Threads) -> CredentialSource:
    if setting.token is not None:
        return StaticToken(token=setting.token.get_secret_value(), username=setting.username)
    assert setting.token_file is not None
    return TokenCredentialFile(path=setting.token_file, in_thread=threads, username=setting.username)
