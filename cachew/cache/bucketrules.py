"""Whether a bucket has a rule that removes the parts of uploads that were broken off.

A server that is killed in the midst of an upload leaves parts that nobody sees and everybody pays for. Only rules of a
bucket can remove them (S3's ``AbortIncompleteMultipartUpload``). The library for objects can't ask for them, so this is
one signed request of its own; see "Authenticating Requests: Using the Authorization Header" in Amazon's S3 reference.
"""

import hashlib
import hmac
import http.client
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from twisted.logger import Logger

from cachew.plumbing.clock import Clock
from cachew.plumbing.s3store import bucket_host
from cachew.plumbing.threads import Threads

_NO_BODY = hashlib.sha256(b"").hexdigest()
_LONGEST = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class BucketAddress:
    """Where a bucket is, and by which credentials it is asked.

    :param endpoint: the store's URL; Amazon's own when None.
    :param prefix: what the names of all our objects begin with.
    """

    bucket: str
    endpoint: str | None
    region: str
    prefix: str
    access_key: str
    secret_key: str
    path_style: bool

    @property
    def base(self) -> tuple[str, str, str]:
        """Return the scheme, the host with its port, and the path of the bucket."""
        parts = urlsplit(self.endpoint or f"https://s3.{self.region}.amazonaws.com")
        if self.path_style:
            return parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/{quote(self.bucket)}"
        return parts.scheme, bucket_host(parts.netloc, self.bucket), parts.path or "/"


def signed_headers(address: BucketAddress, query: str, now: float) -> dict[str, str]:
    """Return the headers of a signed GET without a body (pure).

    :param query: the query in its canonical form.
    :param now: seconds since the epoch.
    """
    _, host, path = address.base
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    headers = {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"GET\n{path}\n{query}\n{lines}\n{names}\n{_NO_BODY}"
    scope = f"{moment[:8]}/{address.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{address.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={address.access_key}/{scope}"
    return headers | {"authorization": f"AWS4-HMAC-SHA256 {credential},SignedHeaders={names},Signature={signature}"}


def removes_parts(document: bytes, prefix: str) -> bool:
    """Say whether rules remove the parts of broken uploads of what begins with a prefix (pure).

    :param document: a ``LifecycleConfiguration``.
    :raise ValueError: when it is none.
    """
    try:
        rules = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise ValueError(f"the rules of the bucket can't be read: {error}") from None
    return any(
        _text(rule, "Status") == "Enabled"
        and _text(rule, "DaysAfterInitiation")
        and prefix.startswith(_text(rule, "Prefix"))
        for rule in _named(rules, "Rule")
    )


def _named(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Yield what is called so below an element, in whatever name space."""
    return (one for one in element.iter() if one.tag.rpartition("}")[2] == name)


def _text(element: ElementTree.Element, name: str) -> str:
    return next(((one.text or "").strip() for one in _named(element, name)), "")


def ask(address: BucketAddress, now: float, timeout: float) -> bool | None:
    """Ask the store; blocks.

    :return: whether there is such a rule, None when it does not say.
    :raise OSError: when the store can't be reached.
    :raise http.client.HTTPException: when it answers nonsense.
    :raise ValueError: when its rules can't be read.
    """
    scheme, host, path = address.base
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    connection = kind(host, timeout=timeout)
    try:
        connection.request("GET", f"{path}?lifecycle=", headers=signed_headers(address, "lifecycle=", now))
        response = connection.getresponse()
        body = response.read(_LONGEST)
    finally:
        connection.close()
    if response.status == HTTPStatus.NOT_FOUND and b"NoSuchLifecycleConfiguration" in body:
        return False
    return removes_parts(body, address.prefix) if response.status == HTTPStatus.OK else None


class BucketRuleCheck:
    """Says once when a bucket keeps the parts of broken uploads for ever.

    :param address: of the bucket.
    :param threads: where the store is asked.
    :param clock: what time it is.
    :param timeout: seconds that the store has.
    """

    log = Logger()

    def __init__(self, *, address: BucketAddress, threads: Threads, clock: Clock, timeout: float) -> None:
        self._address, self._threads = address, threads
        self._clock, self._timeout = clock, timeout

    async def look(self) -> None:
        """Ask, and say what is missing; what can't be read is no reason to say anything."""
        bucket = self._address.bucket
        try:
            there = await self._threads(ask, self._address, self._clock.now(), self._timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.log.debug("the rules of bucket {bucket} are not known: {error}", bucket=bucket, error=str(error))
            return
        if there is False:
            self.log.warn(
                "bucket {bucket} has no rule that removes the parts of uploads that were broken off, which killed "
                "servers leave and nobody sees: give it one (AbortIncompleteMultipartUpload; a day is enough)",
                bucket=bucket,
            )
