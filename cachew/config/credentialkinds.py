"""What the server itself shows upstreams (pure)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cachew.config.types import Argument, BaseUrl, FilePath, Section, Text, Token, key, not_empty


class TokenCredential(Section):
    """A fixed token."""

    kind: Literal["token"] = key("token", "A fixed token.")
    url_prefix: BaseUrl = key(
        ..., "The upstream URLs it is for; the longest prefix wins.", example='"https://github.com/"'
    )
    username: Text = key("x-access-token", "User name that goes with it.")
    token: Token | None = key(None, "The token.", example='"${GITHUB_TOKEN}"')
    token_file: FilePath | None = key(None, "File that holds the token.", example='"/etc/cachew/github-token"')


class NetrcCredential(Section):
    """A netrc file."""

    kind: Literal["netrc"] = key("netrc", "A netrc file.")
    url_prefix: BaseUrl = key(..., "The upstream URLs it is for.", example='"https://git.example/"')
    file: FilePath = key(..., "The file.", example='"/etc/cachew/netrc"')


class CommandCredential(Section):
    """A program that speaks git's credential protocol."""

    kind: Literal["command"] = key("command", "A program that speaks git's credential protocol.")
    url_prefix: BaseUrl = key(..., "The upstream URLs it is for.", example='"https://gitlab.example/"')
    command: Annotated[tuple[Argument, ...], AfterValidator(not_empty)] = key(
        ..., "The program and its arguments; get is added.", example='["/usr/local/bin/git-credential-x"]'
    )


class GitHubAppCredential(Section):
    """Installation tokens of a GitHub App."""

    kind: Literal["github-app"] = key("github-app", "Installation tokens of a GitHub App.")
    url_prefix: BaseUrl = key(
        ..., "The upstream URLs it is for; apps may share them.", example='"https://github.com/org/"'
    )
    app_id: Text = key(..., "The app's or client's id.", example='"123456"')
    private_key_file: FilePath = key(..., "PEM file of the app's private key.", example='"/etc/cachew/app.pem"')
    installation_id: Text | None = key(
        None, "The installation for owners that have none of their own.", example='"654321"'
    )
    api_url: BaseUrl = key("https://api.github.com/", "Base URL of GitHub's API.")


Credential = Annotated[
    TokenCredential | NetrcCredential | CommandCredential | GitHubAppCredential, Field(discriminator="kind")
]
