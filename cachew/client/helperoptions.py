"""What git has told its remote helper before the first command that talks to the server (pure).

See gitremote-helpers(7), "OPTIONS". Everything is passed on to git's own helper, which answers; here it is only noted.
Imports nothing, since every fetch waits for it.
"""

_DEEP = (b"depth", b"deepen-since", b"deepen-not", b"deepen-relative", b"refetch", b"update-shallow")
_FILTERS = ("", "blob:none")
_LINGERING = (b"ls-remote", b"remote")


class HelperOptions:
    """The options of one run."""

    def __init__(self) -> None:
        self.progress = False
        self.verbosity = 1
        self._filter = ""
        self._deep = False

    def note(self, line: bytes) -> None:
        """Take a line of git's."""
        word, _, rest = line.partition(b" ")
        name, _, value = rest.partition(b" ")
        if word != b"option":
            return
        if name == b"progress":
            self.progress = value == b"true"
        elif name == b"verbosity":
            self.verbosity = int(value) if value.isdigit() else 1
        elif name == b"filter":
            self._filter = value.decode("utf-8", "replace")
        elif name in _DEEP and value not in (b"false", b"0", b""):
            self._deep = True

    @property
    def snapshot_filter(self) -> "str | None":
        """The filter of the snapshot that holds what is asked for; empty for none, None when there is no such one."""
        return None if self._deep or self._filter not in _FILTERS else self._filter


def begins_fetch(line: bytes) -> bool:
    """Tell whether a line begins what brings objects.

    With protocol v2 that is the connection over which git asks for refs and objects, before it looks at what it has.
    """
    return line == b"stateless-connect git-upload-pack" or line.startswith(b"fetch ")


def becomes_stream(line: bytes) -> bool:
    """Tell whether a line turns the connection into one of a service's own, after which there are no lines any more."""
    return line.startswith((b"stateless-connect ", b"connect "))


def begins_push(line: bytes) -> bool:
    """Tell whether a line begins a push."""
    return line == b"list for-push"


def sub_command(words: "list[bytes]") -> bytes:
    """Return which command a git process was started with, empty when that can't be told.

    :param words: its arguments, the program's name first.
    """
    rest = iter(words[1:])
    for word in rest:
        if word in (b"-c", b"-C", b"--git-dir", b"--work-tree", b"--namespace", b"--exec-path", b"--config-env"):
            next(rest, None)
        elif not word.startswith(b"-"):
            return word
    return b""


def only_lists(command: bytes) -> bool:
    """Tell whether a command of git's looks at the refs of a remote and fetches nothing itself."""
    return command in _LINGERING
