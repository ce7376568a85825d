"""The config file: what it gives, and what is said about one that is wrong."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from cachew.config.cachetiers import DiskTier, MemoryTier, S3Tier
from cachew.config.credentialkinds import TokenCredential
from cachew.config.load import ConfigErrors, load
from tests.config.reading import complaints, read


def test_nothing_configured_gives_the_defaults() -> None:
    """An empty file is a config that serves on loopback with its state beside it."""
    settings = read("")
    assert settings.listen == ("tcp:8080:interface=127.0.0.1",)
    assert settings.state == Path("state")
    assert list(settings.upstreams) == ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"]
    assert settings.git.mirror_snapshot_interval == 7200
    assert isinstance(settings.cache[0], DiskTier)


def test_reads_the_smallest_config_with_an_upstream_of_ones_own() -> None:
    """The contract's example is understood as it says."""
    settings = read(
        """
        state  = "/var/lib/cachew"
        listen = ["tcp:8080:interface=127.0.0.1"]
        [upstreams."git.example"]
        url = "http://10.0.0.5:3000"
        [git]
        snapshot-interval = "1h"
        mirror-snapshot-interval = "2h"
        ref-check-interval = "0s"
        [[cache]]
        backend = "disk"
        limit = "250GB"
        max-ttl = "8h"
        [access]
        mode = "upstream"
        """
    )
    assert dict(settings.upstreams)["git.example"].url == "http://10.0.0.5:3000/"
    assert list(settings.upstreams)[-1] == "git.example"
    assert settings.git.ref_check_interval == 0
    (tier,) = settings.cache
    assert (tier.limit, tier.max_ttl) == (250 * 10**9, 8 * 3600)


def test_reads_tiers_nearest_first() -> None:
    """The order and the kinds of the cache's tiers are those of the file."""
    settings = read('[[cache]]\nbackend="memory"\n[[cache]]\nbackend="disk"\n[[cache]]\nbackend="s3"\nbucket="b"')
    assert [type(tier) for tier in settings.cache] == [MemoryTier, DiskTier, S3Tier]


def test_expands_variables_in_strings_only_and_once() -> None:
    """``${VAR}`` becomes the variable's value, ``$$`` a dollar, and a value is not expanded again."""
    settings = read(
        '[[credentials]]\nkind="token"\nurl-prefix="https://h/"\nusername="a$$b"\ntoken="x-${TOKEN}"', TOKEN="${TOKEN}"
    )
    (credential,) = settings.credentials
    assert isinstance(credential, TokenCredential) and credential.token is not None
    assert credential.token.get_secret_value() == "x-${TOKEN}"
    assert credential.username == "a$b"


def test_settings_do_not_show_secrets() -> None:
    """Printing the settings shows no secret."""
    assert "hush" not in repr(read('[webhook]\ngithub-secret = "hush"'))


def test_a_single_network_may_stand_for_a_list() -> None:
    """A rule's networks and methods are one string or several."""
    settings = read('[[access.rule]]\naction="allow"\ncidr="10.0.0.0/8"\nmethod="GET"')
    (rule,) = settings.access.rule
    assert rule.cidr == (ip_network("10.0.0.0/8"),)
    assert rule.method == ("GET",)


def test_the_command_line_overrides_the_file() -> None:
    """Keys that the command line sets win over the file's."""
    settings = load('state = "/a"', environ={}, overrides={"state": "/b", "listen": ["tcp:1"]})
    assert (settings.state, settings.listen) == (Path("/b"), ("tcp:1",))


def test_reports_everything_at_once() -> None:
    """Unknown keys, wrong types, undefined variables and contradictions are reported together."""
    found = complaints(
        """
        colour = "red"
        listen = ["tcp:1", "${NOPE}"]
        [git]
        fetch_wait = "3s"
        fetch-timeout = 3
        [limits]
        threads = 0
        [[cache]]
        backend = "disk"
        limit = "5XB"
        [[cache]]
        backend = "zip"
        [access]
        trust-loopback = "yes"
        [manhole]
        listen = "tcp:2222:interface=127.0.0.1"
        """
    )
    paths = {line.split(":", 1)[0] for line in found}
    assert paths == {
        "colour", "listen[1]", "git.fetch_wait", "git.fetch-timeout", "limits.threads", "cache[0].limit",
        "cache[1].backend", "access.trust-loopback", "manhole.authorized-keys",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[git]\nfetch_wait = '3s'",
            'git.fetch_wait: unknown key; did you mean "fetch-wait"? allowed here: artefacts-',
        ),
        ("[gti]", 'gti: unknown key; did you mean "git"? allowed here: access, admin, cache, credentials, git,'),
        ("[git]\nfetch-wait = '0s'", 'git.fetch-wait: must be more than "0s"'),
        ("[git]\nfetch-wait = '1 day'", 'git.fetch-wait: "1 day" is not a duration; write for example "90s"'),
        ("[git]\nfetch-wait = 30", 'git.fetch-wait: a duration is written as a string, for example "90s"'),
        ("[git]\nfetch-wait = '-1s'", "git.fetch-wait: a duration must not be negative"),
        ("[pack-cache]\nlimit = -1", 'pack-cache.limit: a size is written as a string, for example "20GB"'),
        ("log-level = 'loud'", "log-level: must be 'debug', 'info', 'warn', 'error' or 'critical'"),
        ("limits = 3", "limits: must be a table"),
        ("[limits]\nthreads = 1.5", "limits.threads: must be a whole number"),
        ("[access]\ntrust-loopback = 1", "access.trust-loopback: must be true or false"),
        ("[access]\nproxies = ['10.0.0.1/8']", "access.proxies[0]: 10.0.0.1/8 has host bits set"),
        ("[[access.rule]]\npath = '/x'", "access.rule[0].action: must be set"),
        (
            "[[access.rule]]\naction = 'allow'",
            "access.rule[0]: must have a condition: cidr, method, path, header or token",
        ),
        ("[[cache]]\npath = 'x'", "cache[0].backend: must be one of disk, memory, s3"),
        ("[[cache]]\nbackend='disk'\nlimt='1GB'", 'cache[0].limt: unknown key; did you mean "limit"? allowed here: '),
        ("[[cache]]\nbackend='s3'", "cache[0].bucket: must be set"),
        ("listen = []", "listen: must not be empty"),
        ("listen = 'tcp:1'\ncache = []", "cache: must not be empty"),
        ("[upstreams.'GitHub.com']", 'upstreams."GitHub.com": must be a host name in lower case'),
        ("[upstreams.'h:443']", 'upstreams."h:443": must be a host name in lower case, with its port unless'),
        *(
            (f"[[cache]]\nbackend='s3'\nbucket='b'\nendpoint='http://{place}'", "cache[0].endpoint: must be an http or")
            for place in ("h:abc", "h:99999/", "h:0", "[fe80::1%eth0]/", "[::1", "a b")
        ),
        *(
            (f"[[cache]]\nbackend='s3'\nbucket='b'\nprefix='{prefix}'", "cache[0].prefix: must consist of names with")
            for prefix in ("/", "a//b", "../a", "a/.", "a/\tb")
        ),
        ("[upstreams.h]\nurl = 'ssh://h/'", "upstreams.h.url: must be an http or https URL"),
        ("[upstreams.h]\nurl = 'https://me:pw@h/'", "upstreams.h.url: must not hold a user name or password"),
        ("[upstreams.'*']\nurl = 'https://h/'", 'upstreams."*".url: must not be set'),
        ("[[credentials]]\nkind = 'spell'", "credentials[0].kind: must be one of command, github-app, netrc, token"),
        (
            "[[credentials]]\nkind = 'token'\nurl-prefix = 'https://h'",
            "credentials[0].token: exactly one of token and token-file must be set",
        ),
        ("[git]\nfetch-wait = '1h'", "git.fetch-wait: must not be longer than fetch-timeout"),
        ("[git]\nsnapshot-max-age = '1m'", "git.snapshot-max-age: must not be shorter than snapshot-interval"),
        (
            "[[cache]]\nbackend = 's3'\nbucket = 'b'\nredirect = '2h'",
            "cache[0].redirect: must be between 1s and 1h, for which the store keeps what has been replaced, or 0s",
        ),
        ("state = '${NOPE}'", "state: the environment variable NOPE is not set (write $$ for a single $)"),
        ("limits.threads = 0", "limits.threads: must be at least 1"),
        (
            "[[credentials]]\nkind = 'command'\nurl-prefix = 'https://h/'\ncommand = ['a', \"\\u0000\"]",
            "credentials[0].command[1]: must not hold a NUL",
        ),
        ("listen = 'tcp:99999'", 'listen[0]: "tcp:99999" is not a Twisted endpoint: a port is a number up to 65535'),
        ("git.fetch-wait = '1ns'", 'git.fetch-wait: must be at least "1ms"'),
        ("git.scrub-interval = '1ms'", 'git.scrub-interval: must be at least "100ms"'),
        ("git.pack-threads = 9999999999", "git.pack-threads: must be at most 2147483647"),
        ("git.pack-window-memory = '10000PB'", "git.pack-window-memory: is more than the largest file can hold"),
        ("listen = ['tcp:1', 'tcp:1']", "listen: must not name an endpoint twice"),
        (
            "[manhole]\nlisten = 'tcp:8080:interface=127.0.0.1'\nauthorized-keys = 'k'",
            "manhole.listen: must not be an endpoint of the server",
        ),
        (
            "[manhole]\nlisten = 'tcp:2222'\nauthorized-keys = 'k'",
            "manhole.listen: must be a loopback address, for example",
        ),
        ("a = ", "not TOML: Invalid value (at end of document)"),
        ("a = " + "[" * 10_000, "not TOML: it is nested too deeply"),
        ("a = " + "9" * 10_000, "not TOML: a number in it is too long"),
        ("\ufefflog-level = 'loud'", "log-level: must be"),
    ],
)
def test_says_where_and_what_is_allowed(text: str, expected: str) -> None:
    """Every mistake is named once, with its key and what would be right."""
    (found,) = complaints(text)
    assert found.startswith(expected)


def test_a_store_s_url_has_its_usual_form() -> None:
    """A scheme in capitals and slashes around a prefix are what everybody takes them for."""
    (tier,) = read("[[cache]]\nbackend='s3'\nbucket='b'\nendpoint='HTTP://h:9000'\nprefix='/a/b/'").cache
    assert isinstance(tier, S3Tier)
    assert (tier.endpoint, tier.prefix) == ("http://h:9000/", "a/b")


def test_a_contradiction_is_not_guessed_from_a_section_that_is_wrong() -> None:
    """Where a section has a mistake, nothing is made up about the rest of it."""
    assert len(complaints("[manhole]\nlisten = 'tcp:1'\nauthorized-keys = 5")) == 1


def test_lines_name_the_file() -> None:
    """Every line of the message begins with the file's name."""
    with pytest.raises(ConfigErrors) as caught:
        load("x = 1\ny = 2", file="/etc/cachew.toml", environ={})
    assert [line.split(": ")[:2] for line in caught.value.lines()] == [
        ["/etc/cachew.toml", "x"],
        ["/etc/cachew.toml", "y"],
    ]


def test_what_is_quoted_breaks_no_line() -> None:
    """Whatever stands in a config, its problem is one line that a terminal only shows, and not a long one."""
    with pytest.raises(ConfigErrors) as caught:
        load(f'hsts = "\\u001b[2J\\n\\u2028x"\nstall-report = "{"a" * 10**5}"', environ={})
    first, second = caught.value.lines()
    assert r'"\x1b[2J\n\u2028x" is not a duration' in first
    assert len(second) < 2000 and second.endswith('"15m", "2h" or "1h30m"')


@pytest.mark.parametrize(
    ("environ", "text", "told"),
    [
        ({"V": "\udcff"}, 'state = "${V}"', "config: state: the environment variable V is not written in UTF-8"),
        (
            {"CACHEW_HSTS": "\udcff"},
            "",
            "CACHEW_HSTS: hsts: the environment variable CACHEW_HSTS is not written in UTF-8",
        ),
        (
            {"https_proxy": "http://p:1", "no_proxy": "\udcff"},
            "",
            "config: proxy.no-proxy: the environment variable no_proxy is not written in UTF-8",
        ),
    ],
)
def test_an_environment_of_other_bytes(environ: dict[str, str], text: str, told: str) -> None:
    """A variable that holds no UTF-8 is named, with the key that it is for."""
    with pytest.raises(ConfigErrors) as caught:
        load(text, environ=environ)
    assert caught.value.lines() == [told]


@pytest.mark.parametrize(
    "url", ["http://[p", "http://me:hush@[p", "socks5://p:1", "http://p:99999", "http://\udcff:1", "http://p\x01:1"]
)
def test_a_proxy_of_the_environment_that_would_not_do(url: str) -> None:
    """The variable is named that would be the proxy's URL, and no password is shown."""
    with pytest.raises(ConfigErrors) as caught:
        load("", environ={"all_proxy": url})
    (line,) = caught.value.lines()
    assert line.startswith("config: proxy.url: the environment variable all_proxy ") and "hush" not in line
    assert ("names a SOCKS proxy" in line) is url.startswith("socks")


def test_a_proxy_of_the_config_counts_before_that_of_the_environment() -> None:
    """So a variable that the server can't follow need not be unset."""
    told = load('[proxy]\nurl = "http://p:3128"', environ={"all_proxy": "socks5h://q:1080"})
    assert told.proxy.url == "http://p:3128"


def test_endpoints_are_checked() -> None:
    """An endpoint description that its parser refuses is a problem of its key."""

    def check(description: str) -> None:
        raise ValueError(f"unknown endpoint type in {description}")

    with pytest.raises(ConfigErrors) as caught:
        load("", environ={}, check_endpoint=check)
    assert "listen[0]" in str(caught.value) and "not a Twisted endpoint" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[[access.rule]]\naction = 'allow'\npath = '/api'\ntoken = '${V}'", "access.rule[0].token"),
        ("[[access.rule]]\naction = 'allow'\nheader = 'X-Key: ${V}'", "access.rule[0].header"),
        ("[[access.rule]]\naction = 'allow'\nheader = 'X-Key: fixed${V}'", "access.rule[0].header"),
        ("[[access.rule]]\naction = 'allow'\nheader = 'Authorization: Bearer ${V}'", "access.rule[0].header"),
        ("[webhook]\ngithub-secret = '${V}'", "webhook.github-secret"),
        ("[webhook]\ngitlab-token = '${V}'", "webhook.gitlab-token"),
        ("[webhook]\ngitea-secret = '${V}'", "webhook.gitea-secret"),
        ("[[credentials]]\nkind = 'token'\nurl-prefix = 'https://h/'\ntoken = '${V}'", "credentials[0].token"),
        ("[[cache]]\nbackend = 's3'\nbucket = 'b'\naccess-key = '${V}'\nsecret-key = 'x'", "cache[0].access-key"),
        ("[[cache]]\nbackend = 's3'\nbucket = 'b'\naccess-key = 'x'\nsecret-key = '${V}'", "cache[0].secret-key"),
    ],
)
@pytest.mark.parametrize("value", ["", " ", "\t", "\n"])
def test_an_empty_secret_is_refused(text: str, key: str, value: str) -> None:
    """No secret, token or password may be empty or blank: it would open the door to everybody who shows none."""
    found = complaints(text, V=value) if "fixed" not in text or not value else [key]
    assert {complaint.partition(":")[0] for complaint in found} == {key}


@pytest.mark.parametrize("value", ["abc\n", " abc", "a\nb", "a b", "ä"])
def test_a_token_that_nobody_could_show_is_refused(value: str) -> None:
    """A token with a line break or a blank, as of a variable that was read from a file, would never match."""
    assert complaints("[[access.rule]]\naction = 'allow'\ntoken = '${V}'", V=value)
    assert complaints("[[credentials]]\nkind = 'token'\nurl-prefix = 'https://h/'\ntoken = '${V}'", V=value)


APP = "[[credentials]]\nkind = 'github-app'\nurl-prefix = 'https://github.com/'\nprivate-key-file = 'k'\napp-id = "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[access.rule]]\naction = 'deny'\npath = 'metricsx'", "access.rule[0].path: must begin with a slash"),
        (
            "[[access.rule]]\naction = 'deny'\npath = '/metricsx'",
            "access.rule[0].path: must begin with one of /, /git,",
        ),
        ("[[access.rule]]\naction = 'deny'\npath = '/git/GitHub.com/x'", "access.rule[0].path: must name the host as"),
        ("[[access.rule]]\naction = 'deny'\npath = '/git/h:443/x'", "access.rule[0].path: must name the host as"),
        ("[[access.rule]]\naction = 'deny'\npath = '/git/h/x.git'", "access.rule[0].path: must name the repository as"),
        ("[[access.rule]]\naction = 'deny'\npath = ''", "access.rule[0].path: must begin with a slash"),
        ("[[access.rule]]\naction = 'deny'\nmethod = 'get'", "access.rule[0].method[0]: must be one of GET, HEAD,"),
        ("[[access.rule]]\naction = 'deny'\nmethod = ['GTE']", "access.rule[0].method[0]: must be one of GET, HEAD,"),
        ("[admin]\nhost-names = ['x:8080']", "admin.host-names[0]: must be a host name alone"),
        ("[admin]\nhost-names = 'https://x'", "admin.host-names[0]: must be a host name alone"),
        ("[admin]\nhost-names = ''", "admin.host-names[0]: must be a host name alone"),
        (f"{APP}'1'\n{APP}'1'", "credentials[1].app-id: is the same app for the same URLs as that of credentials[0]"),
        ("[upstreams.h]\nurl = 'http://h/'\nca-file = 'x'", "upstreams.h.ca-file: must not be set where url is http"),
        ("[upstreams.'*']\nca-file = 'x'", 'upstreams."*".ca-file: must not be set; name the host'),
        ("[upstreams.h]\nca-file = ''", "upstreams.h.ca-file: must not be empty"),
        (
            "[upstreams.h]\nurl = 'http://h/'\nclient-certificate-file = 'x'",
            "upstreams.h.client-certificate-file: must not be set where url is http",
        ),
        (
            "[upstreams.'*']\nclient-certificate-file = 'x'",
            'upstreams."*".client-certificate-file: must not be set; name the host',
        ),
        ("state = '${E}'", "state: must not be empty"),
        ("[git]\nmax-fetches = '8'", "git.max-fetches: must be a whole number, without quotes"),
        ("[git]\npack-threads = '8'", "git.pack-threads: must be a whole number, without quotes"),
        ("[limits]\nconnections = '8'", "limits.connections: must be a whole number, without quotes"),
        ("[limits]\nheader-line = '0'", "limits.header-line: must be more than 0"),
        ("[limits]\nheader-size = 0", "limits.header-size: must be more than 0"),
        ("[limits]\nheader-line = '65KiB'", "limits.header-size: must not be less than header-line"),
        ("[git]\nmax-request-body = '0'", "git.max-request-body: must be more than 0"),
        ("[git]\nmax-listing = '0'", "git.max-listing: must be more than 0"),
        ("[limits]\nlistings = '0'", "limits.listings: must be more than 0"),
        ("[limits]\nrequest-bodies = 0", "limits.request-bodies: must be more than 0"),
        ("[[cache]]\nbackend = 'memory'\nlimit = '0'", "cache[0].limit: must be more than 0"),
        ("[git]\nmax-processes = 0", "git.max-processes: must be at least 1"),
        ("state = '/s'\n[[cache]]\nbackend='disk'\npath='/s/mirrors'", "cache[0].path: must not lie in the state"),
        ("state = '/s'\n[[cache]]\nbackend='disk'\npath='/s/cache/x'", "cache[0].path: must not lie in the state"),
        ("state = '/s'\n[[cache]]\nbackend='disk'\npath='/a/../s'", "cache[0].path: must not be the state directory"),
        ("state = '/s/t'\n[[cache]]\nbackend='disk'\npath='/s'", "cache[0].path: must not be the state directory"),
        (
            "[[cache]]\nbackend='disk'\npath='/a/b'\n[[cache]]\nbackend='disk'\npath='/a/x/../b/'",
            "cache[1].path: must not be shared with cache[0]",
        ),
    ],
)
def test_settings_that_look_as_if_they_worked(text: str, expected: str) -> None:
    """What could never have the effect that it seems to have is told, with its key and what is meant."""
    found = complaints(text, E="")
    assert len(found) == 1 and found[0].startswith(expected), found


def test_zero_is_no_bound() -> None:
    """0 means no bound for every size that may be without one; what must have one refuses it."""
    settings = read(
        """
        [git]
        mirror-limit = 0
        pack-window-memory = "0"
        [pack-cache]
        limit = "0"
        min-free = "0"
        [limits]
        max-object = "0"
        min-free = 0
        [[cache]]
        backend = "disk"
        limit = "0"
        [[cache]]
        backend = "s3"
        bucket = "b"
        limit = "0"
        """
    )
    assert [tier.limit for tier in settings.cache] == [0, 0]
    assert settings.pack_cache.enabled and settings.pack_cache.limit == 0


@pytest.mark.parametrize(
    ("environ", "text", "url", "direct"),
    [
        ({"https_proxy": "http://p:3128"}, "", "http://p:3128", ()),
        (
            {"HTTPS_PROXY": "p:3128", "NO_PROXY": "a.example, 10.0.0.0/8"},
            "",
            "http://p:3128",
            ("a.example", "10.0.0.0/8"),
        ),
        ({"ALL_PROXY": "http://p:1"}, "", "http://p:1", ()),
        ({"https_proxy": "http://p:3128", "no_proxy": "*"}, '[proxy]\nurl = "http://q:1"', "http://q:1", ()),
        ({"no_proxy": "*"}, "", None, ()),
        ({"https_proxy": ""}, "", None, ()),
        ({}, "", None, ()),
    ],
)
def test_it_counts_where_the_config_names_none(
    environ: dict[str, str], text: str, url: str | None, direct: tuple[str, ...]
) -> None:
    """``https_proxy`` and ``no_proxy`` are read as curl and git read them, and the config comes first."""
    proxy = load(text, environ=environ).proxy
    assert (proxy.url, proxy.no_proxy) == (url, direct)


def test_a_password_in_it_is_told_without_it() -> None:
    """A password belongs into a file."""
    with pytest.raises(ConfigErrors) as caught:
        load("", environ={"https_proxy": "http://me:hush@p:3128"})
    assert "the environment variable https_proxy holds a password" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[proxy]\nno-proxy = ["a"]', "proxy.no-proxy: must not be set without url"),
        ('[proxy]\ncredentials-file = "/p"', "proxy.credentials-file: must not be set without url"),
        ('[proxy]\nurl = "socks5://p:1"', "proxy.url: must be an http or https URL"),
        ('[proxy]\nurl = "http://me:hush@p:1"', "proxy.url: must not hold a user name or password"),
        ('[upstreams."*"]\nproxy = "none"', 'upstreams."*".proxy: must not be set; [proxy] leads to every host'),
        (
            '[upstreams."a.example"]\nproxy-credentials-file = "/p"',
            'upstreams."a.example".proxy-credentials-file: must not be set without a proxy of its own',
        ),
    ],
)
def test_what_would_not_do_is_told(text: str, complaint: str) -> None:
    """Each with its key."""
    with pytest.raises(ConfigErrors) as caught:
        load(text, environ={})
    assert complaint in str(caught.value)
