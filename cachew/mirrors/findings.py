"""What git has to say of the objects that come (pure).

Old versions of git, other implementations and converters have left objects in public repositories that ``git fsck``
dislikes. A mirror takes whatever git itself takes; what is disliked is counted, by the names that fsck(1) has for it.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping

KINDS = (
    "badDate", "badDateOverflow", "badEmail", "badFilemode", "badName", "badObjectSha1", "badParentSha1", "badTagName",
    "badTimezone", "badTree", "badTreeSha1", "badType", "duplicateEntries", "emptyName", "extraHeaderEntry",
    "fullPathname", "gitattributesBlob", "gitattributesLarge", "gitattributesLineLength", "gitattributesMissing",
    "gitattributesSymlink", "gitignoreSymlink", "gitmodulesBlob", "gitmodulesLarge", "gitmodulesMissing",
    "gitmodulesName", "gitmodulesParse", "gitmodulesPath", "gitmodulesSymlink", "gitmodulesUpdate", "gitmodulesUrl",
    "hasDot", "hasDotdot", "hasDotgit", "mailmapSymlink", "missingAuthor", "missingCommitter", "missingEmail",
    "missingNameBeforeEmail", "missingObject", "missingSpaceBeforeDate", "missingSpaceBeforeEmail", "missingTag",
    "missingTagEntry", "missingTaggerEntry", "missingTree", "missingType", "missingTypeEntry", "multipleAuthors",
    "nulInCommit", "nullSha1", "treeNotSorted", "unknownType", "zeroPaddedDate", "zeroPaddedFilemode",
)  # fmt: skip
"""What git 2.39 can be told to only warn of; later ones have more, of which those matter that it takes for errors."""

_FINDING = re.compile(rb"(?:warning|error): object ([0-9a-f]{40,64}): (\w{1,40}): ")
_LONGEST_LINE = 64 * 1024
_MOST_SEEN = 10_000


class FindingsReader:
    """Reads what a fetch writes to standard error, in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._seen: set[tuple[bytes, bytes]] = set()
        self.counts: Counter[str] = Counter()

    def forget(self) -> None:
        """Begin anew: what was read was said of a fetch that came to nothing."""
        self._rest = b""
        self._seen.clear()
        self.counts.clear()

    def feed(self, data: bytes) -> None:
        """Take a piece; an object that has the same fault twice is counted once."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_LONGEST_LINE:]
        for line in lines:
            match = _FINDING.match(line)
            if match and match.groups() not in self._seen:
                if len(self._seen) < _MOST_SEEN:
                    self._seen.add((match[1], match[2]))
                self.counts[match[2].decode("ascii", "replace")] += 1


def encode(counts: Mapping[str, int]) -> bytes:
    """Write counts as JSON."""
    return json.dumps(dict(counts), sort_keys=True).encode()


def decode(data: bytes) -> Counter[str]:
    """Read what :func:`encode` gave; nothing of what it didn't."""
    try:
        return Counter({str(name): int(count) for name, count in json.loads(data).items()})
    except (ValueError, TypeError, AttributeError):
        return Counter()
