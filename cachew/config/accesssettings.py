"""Who may read what, and who may administer (pure)."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, StrictBool

from cachew.config.types import (
    Address,
    Duration,
    DurationOrZero,
    FilePath,
    HeaderLine,
    HttpUrl,
    Method,
    Methods,
    Networks,
    OwnHostNames,
    Rooted,
    Section,
    Token,
    key,
    one_or_many,
)


class AccessRule(Section):
    """One rule; the first whose conditions all hold decides. deny refuses; allow opens what otherwise needs the admin
    token, but no private repository. A request that no rule decides goes on as without rules."""

    action: Literal["allow", "deny"] = key(..., "What happens to the requests that it describes.", example='"allow"')
    cidr: Networks = key((), "Networks, one of which the client is in.", example='"10.0.0.0/8"')
    method: Methods = key((), "Methods, one of which the request has.", example='["GET", "HEAD"]')
    path: Rooted | None = key(None, "What the request's path begins with, in whole segments.", example='"/metrics"')
    header: HeaderLine | None = key(None, "A header that the request has.", example='"X-Team: build"')
    token: Token | None = key(None, "A bearer token that the request carries.", example='"${MONITORING_TOKEN}"')


class AccessTest(Section):
    """A request without token and what must become of it, checked at start."""

    address: Address = key(..., "The client's address.", example='"10.1.2.3"')
    method: Method = key("GET", "The request's method.")
    path: Rooted = key(..., "The request's path.", example='"/metrics"')
    header: Annotated[tuple[HeaderLine, ...], BeforeValidator(one_or_many)] = key(
        (), "The request's headers.", example='["X-Team: build", "Authorization: Bearer ${MONITORING_TOKEN}"]'
    )
    expect: Literal["allow", "deny"] = key(..., "What must become of it.", example='"allow"')


class AccessSettings(Section):
    """Who may read what."""

    mode: Literal["upstream", "trusted-network"] = key(
        "upstream", "upstream: who the repository's upstream lets in; trusted-network: whoever reaches the port."
    )
    auth_ttl: Duration = key("60s", "How long an upstream's yes to a credential is good.")
    public_grace: DurationOrZero = key(
        "1h", "How long after a repository was seen public its clients are served while that is asked again."
    )
    trust_loopback: StrictBool = key(False, "Whether loopback clients may use /admin, /metrics and /api without token.")
    proxies: Networks = key((), "Reverse proxies whose X-Forwarded-For is believed.", example='["10.0.0.7/32"]')
    opa_url: HttpUrl | None = key(
        None,
        "Decision of an Open Policy Agent that every request needs besides; no answer is a no.",
        example='"http://127.0.0.1:8181/v1/data/cachew/authz/allow"',
    )
    opa_timeout: Duration = key("1s", "How long that decision may take.")
    rule: tuple[AccessRule, ...] = key((), "Rules, the first that matches decides.")
    test: tuple[AccessTest, ...] = key((), "Requests and what the rules must say about them.")


class AdminSettings(Section):
    """The dashboard, the metrics and the object API."""

    token_file: FilePath | None = key(
        None, "File with the admin token; by default one is made in the state directory.", example='"/etc/cachew/token"'
    )
    host_names: OwnHostNames = key(
        (), "Names by which browsers may address this server, beside localhost.", example='["cachew.example"]'
    )
    session: Duration = key("12h", "How long a login to the dashboard is good.")
