"""What an object store has said of a failure, in its own words (pure).

Stores answer with a document that names a code and explains it ("Error responses" in Amazon's S3 reference). The
library for objects puts that, over several lines, between its own words and a picture of its own state.
"""

import re
from dataclasses import dataclass
from html import unescape

_MOST, _SHORT = 500, 100
_OWN = "\n\nDebug source"
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9._-]{1,64})\s*</Code>|\(code: ([A-Za-z0-9._-]{1,64})\)")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.S)
_FULL = re.compile(r"quota|storagefull|insufficientstorage|cap.exceeded|nosuchspace|nospaceleft", re.I)
_DAMAGED = re.compile(r"mismatch|digest", re.I)
_CHECKSUMS = re.compile(r"x-amz-(sdk-)?checksum|x-amz-trailer", re.I)
_ADDRESS = re.compile(r"https?://\S+")
_CONDITIONS = re.compile(r"if-(none-)?match", re.I)
_UNKNOWN = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest", "InvalidHeader"})


@dataclass(frozen=True)
class StoreWords:
    """What a store has said.

    :param text: all of it, in one line.
    :param brief: the code, or what comes nearest to one; names no address.
    :param code: empty when it gave none.
    :param status: of HTTP; 0 when none is known.
    """

    text: str
    brief: str
    code: str
    status: int

    @classmethod
    def of(cls, error: Exception) -> "StoreWords":
        """Read them out of what the library has raised."""
        said = str(error).partition(_OWN)[0]
        status, code = _STATUS.search(said), _CODE.search(said)
        message = _MESSAGE.search(said)
        own = re.split(r"<[?A-Za-z!]", said, maxsplit=1)[0].rstrip(": \n")
        named = next(filter(None, code.groups()), "") if code else ""
        explained = unescape(message[1]) if message else ""
        text = ": ".join(filter(None, (own, named if named not in own else "", explained)))
        last = own.rpartition(" - ")[2] if " - " in own else own.partition("\n")[0]
        brief = named or (status[1] if status else last)
        return cls(_line(text, _MOST), _line(brief, _SHORT), named, int(status[1]) if status else 0)

    @property
    def full(self) -> bool:
        """Whether the store, or our part of it, has no room left."""
        return self.status == 507 or _FULL.search(f"{self.code} {self.text.rpartition(' - ')[2]}") is not None

    @property
    def refused(self) -> bool:
        """Whether we may not do what we have asked for."""
        return self.status in (401, 403, 405) or self.code == "AccessDenied"

    @property
    def unlistable(self) -> bool:
        """Whether there is an object among ours whose name the library does not take, and lists nothing for that."""
        return "object with invalid path" in self.text

    @property
    def archived(self) -> bool:
        """Whether an object lies in an archive, from which it can't be read at once."""
        return self.code == "InvalidObjectState"

    @property
    def beyond_the_end(self) -> bool:
        """Whether an object ends before the range that was asked for begins."""
        return self.status == 416

    @property
    def whole_only(self) -> bool:
        """Whether a range was asked for and the whole is sent."""
        return "non-partial response" in self.text

    @property
    def knows_no_checksums(self) -> bool:
        """Whether the store, or what is before it, does not know checksums in headers."""
        return self._unknown(_CHECKSUMS)

    @property
    def knows_no_conditions(self) -> bool:
        """Whether it does not know the conditions of puts."""
        return self._unknown(_CONDITIONS)

    def _unknown(self, header: re.Pattern[str]) -> bool:
        if _DAMAGED.search(self.code) or (self.status not in (400, 501) and self.code not in _UNKNOWN):
            return False
        # Names of objects, which anybody may choose, are in the address.
        return header.search(_ADDRESS.sub("", self.text)) is not None or self.status == 501


def _line(text: str, most: int) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))[:most]
