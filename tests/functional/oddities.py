"""A repository of everything that public repositories contain and ``git fsck`` dislikes, and of ref names that occur.

Such objects come from old versions of git, other implementations, converters and faulty scripts; git itself stores,
sends and mostly checks them out. They are written here as loose objects, byte for byte, since no git command makes
them. ``HEAD`` is a branch that can be checked out; what can't is on branches of its own.
"""

import os
import zlib
from collections.abc import Iterable, Mapping
from hashlib import sha1
from pathlib import Path

from tests.functional.repositories import Repository, init

AUTHOR = b"A U Thor <author@example.org> 1700000000 +0000"
BEYOND = 2**34 + 5
"""A date that has no room in a commit-graph."""

FILE, EXECUTABLE, LINK, TREE = b"100644", b"100755", b"120000", b"40000"

HEADERS: dict[str, bytes] = {
    "missing-email": b"author A U Thor 1700000000 +0000\ncommitter A U Thor 1700000000 +0000\n",
    "empty-email": b"author A U Thor <> 1700000000 +0000\ncommitter A U Thor <> 1700000000 +0000\n",
    "bad-email": b"author A <a@<b>> 1700000000 +0000\ncommitter A <a@<b>> 1700000000 +0000\n",
    "no-name": b"author <a@example.org> 1700000000 +0000\ncommitter <a@example.org> 1700000000 +0000\n",
    "latin-1": b"author J\xf6rg <j@example.org> 1700000000 +0000\ncommitter J\xf6rg <j@example.org> 1700000000 +0000\n",
    "missing-date": b"author A <a@example.org>\ncommitter A <a@example.org>\n",
    "zero-padded-date": b"author A <a@example.org> 01700000000 +0000\ncommitter A <a@example.org> 01700000000 +0000\n",
    "negative-date": b"author A <a@example.org> -62135596800 +0000\ncommitter A <a@example.org> -62135596800 +0000\n",
    "far-date": b"author A <a@example.org> %d +0000\ncommitter A <a@example.org> %d +0000\n" % (BEYOND, BEYOND),
    "time-zone": b"author A <a@example.org> 1700000000 +51800\ncommitter A <a@example.org> 1700000000 +51800\n",
    "two-authors": b"author %b\nauthor %b\ncommitter %b\n" % (AUTHOR, AUTHOR, AUTHOR),
    "gpgsig": b"author %b\ncommitter %b\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n =odd\nencoding latin-1\n"
    % (AUTHOR, AUTHOR),
    "long-name": b"author %b <a@example.org> 1700000000 +0000\ncommitter %b\n" % (b"n" * 5000, AUTHOR),
    "nul-in-header": b"author A\0U <a@example.org> 1700000000 +0000\ncommitter %b\n" % AUTHOR,
}
"""Heads of commits after the tree, by what is odd about them."""

NAMES: tuple[bytes, ...] = (
    "🦊".encode(),
    b"it's",
    b'"quoted"',
    "line\u2028separator".encode(),
    "next\u0085line".encode(),
    "no-break\u00a0".encode(),
    b"issue_57_r\xc3v",
    b"\xff\xfe",
    b"0123456789abcdef0123456789abcdef01234567",
    b"HEAD",
    b"-dash",
    b"--upload-pack=x",
    b"Case",
    b"case",
    b"a",
    b"x.lock.y",
    b"$(id)",
    b"<b>&amp;",
    b"#hash",
    b"%41",
    b"one/two/three",
)
"""Short names of branches and tags."""


class Odd:
    """Writes the repository.

    :param path: where.
    :param branch: of HEAD.
    """

    def __init__(self, path: Path, *, branch: str = "main") -> None:
        self.repository: Repository = init(path, branch=branch)
        self.path = path
        self.refs: dict[bytes, str] = {}

    def write(self, kind: str, content: bytes) -> str:
        """Write an object as it is and return its id."""
        data = b"%b %d\0%b" % (kind.encode(), len(content), content)
        oid = sha1(data).hexdigest()
        file = self.path / "objects" / oid[:2] / oid[2:]
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(zlib.compress(data, 1))
        return oid

    def tree(self, *entries: tuple[bytes, bytes, str]) -> str:
        """Write a tree of entries in the given order, whatever git thinks of it."""
        return self.write("tree", b"".join(b"%b %b\0%b" % (mode, name, bytes.fromhex(o)) for mode, name, o in entries))

    def commit(
        self, tree: str, *, head: bytes | None = None, message: bytes = b"odd\n", parents: Iterable[str] = ()
    ) -> str:
        """Write a commit.

        :param head: its lines between the parents and the message.
        """
        said = b"author %b\ncommitter %b\n" % (AUTHOR, AUTHOR) if head is None else head
        lines = b"".join(b"parent %b\n" % parent.encode() for parent in parents)
        return self.write("commit", b"tree %b\n%b%b\n%b" % (tree.encode(), lines, said, message))

    def publish(self, refs: Mapping[bytes, str]) -> None:
        """Let refs, by full names, name objects; the others stay."""
        self.refs |= refs
        lines = b"".join(b"%b %b\n" % (self.refs[name].encode(), name) for name in sorted(self.refs))
        aside = self.path / "packed-refs.aside"
        aside.write_bytes(b"# pack-refs with: sorted \n" + lines)
        os.replace(aside, self.path / "packed-refs")

    def remove(self, *names: bytes) -> None:
        """Delete refs."""
        for name in names:
            del self.refs[name]
        self.publish({})


def odd_repository(path: Path, *, more_refs: int = 0) -> Odd:
    """Make the repository.

    :param more_refs: how many tags to add that all name one commit.
    """
    odd = Odd(path)
    base = _base(odd)
    odd.publish({b"refs/heads/main": base})
    odd.publish({b"refs/heads/" + name: commit for name, commit in _commits(odd, base).items()})
    odd.publish({b"refs/tags/" + name: target for name, target in _tags(odd, base).items()})
    odd.publish({b"refs/heads/" + name: odd.commit(_small(odd, name), parents=[base]) for name in NAMES})
    odd.publish({b"refs/tags/" + name: base for name in NAMES})
    odd.publish({b"refs/tags/many/%d" % number: base for number in range(more_refs)})
    return odd


def _small(odd: Odd, content: bytes) -> str:
    return odd.tree((FILE, b"file", odd.write("blob", content)))


def _base(odd: Odd) -> str:
    """Commits whose trees are odd and can be checked out all the same."""
    text, link = odd.write("blob", b"text\n"), odd.write("blob", b"text")
    attributes = odd.write("blob", b"*.txt " + b"a" * 3000 + b"\n*.md text\n")
    inner = odd.tree((FILE, "line\u2028separator".encode(), text), (FILE, b"text", text), (FILE, b"\xff\xfe", text))
    tree = odd.tree(
        (FILE, b"-rf", text),
        (FILE, b".gitattributes", attributes),
        (FILE, b"Case", text),
        (FILE, b"case", text),
        (b"100664", b"group-writable", text),
        (LINK, b"link", link),
        (FILE, b"new\nline", text),
        (b"040000", b"padded", inner),
        (FILE, b"text", text),
    )
    first = odd.commit(tree, message=b"J\xf6rg\n")
    return odd.commit(tree, message=b"a line\0and what nobody sees\n", parents=[first])


def _commits(odd: Odd, base: str) -> dict[bytes, str]:
    text = odd.write("blob", b"text\n")
    heads = {
        f"header/{name}".encode(): odd.commit(_small(odd, name.encode()), head=head, parents=[base])
        for name, head in HEADERS.items()
    }
    later = {
        name + b"-child": odd.commit(_small(odd, name), parents=[commit])
        for name, commit in heads.items()
        if b"date" in name
    }
    git = odd.tree((FILE, b"config", odd.write("blob", b"[core]\n\tfsmonitor = touch /tmp/never\n")))
    modules = odd.write("blob", b'[submodule "-x"]\n\tpath = -x\n\turl = -u./x\n')
    trees = {
        b"tree/dot-git": odd.tree((TREE, b".git", git), (FILE, b"text", text)),
        b"tree/dot-GIT": odd.tree((TREE, b".GIT", git), (FILE, b"text", text)),
        b"tree/dots": odd.tree((TREE, b"..", git)),
        b"tree/slash": odd.tree((FILE, b"a/b", text)),
        b"tree/duplicates": odd.tree((FILE, b"twice", text), (FILE, b"twice", odd.write("blob", b"other\n"))),
        b"tree/unsorted": odd.tree((FILE, b"b", text), (FILE, b"a", text)),
        b"tree/long-name": odd.tree((FILE, b"n" * 5000, text)),
        b"tree/name-of-300": odd.tree((FILE, b"n" * 300, text)),
        b"tree/null-id": odd.tree((b"160000", b"module", "0" * 40)),
        b"tree/modules": odd.tree((FILE, b".gitmodules", modules)),
        b"tree/linked-modules": odd.tree((LINK, b".gitmodules", text)),
        b"tree/empty": odd.tree(),
    }
    return heads | later | {name: odd.commit(tree, parents=[base]) for name, tree in trees.items()}


def _tags(odd: Odd, base: str) -> dict[bytes, str]:
    def tag(target: str, kind: bytes, name: bytes, rest: bytes) -> str:
        return odd.write("tag", b"object %b\ntype %b\ntag %b\n%b" % (target.encode(), kind, name, rest))

    blob = odd.write("blob", b"a blob that a tag names\n")
    nested = tag(base, b"commit", b"inner", b"tagger %b\n\ninner\n" % AUTHOR)
    return {
        b"odd/no-tagger": tag(base, b"commit", b"odd/no-tagger", b"\nmessage\n"),
        b"odd/other-name": tag(base, b"commit", b"elsewhere", b"tagger %b\n\nmessage\n" % AUTHOR),
        b"odd/bad-name": tag(base, b"commit", b"a..b", b"tagger A <a 1700000000 +51800\n\nmessage\n"),
        b"odd/latin-1": tag(base, b"commit", b"caf\xe9", b"tagger %b\n\ncaf\xe9\0\n" % AUTHOR),
        b"odd/nested": tag(nested, b"tag", b"odd/nested", b"tagger %b\n\nouter\n" % AUTHOR),
        b"odd/of-blob": tag(blob, b"blob", b"odd/of-blob", b"tagger %b\n\nblob\n" % AUTHOR),
        b"odd/blob": blob,
        b"odd/tree": _small(odd, b"a tree that a tag names\n"),
    }


def unservable(odd: Odd, base: str) -> str:
    """Write a commit that no git sends: its tree can't be read."""
    return odd.commit(odd.tree((FILE, b"", odd.write("blob", b"text\n"))), parents=[base])
