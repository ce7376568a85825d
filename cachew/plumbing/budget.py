"""What all strangers together may have this server hold, and what each of them may: bytes, and files they lie in.

One owner can use up his own share, never the others'; when the whole is used up, whoever asks for more is told to come
back later.
"""

from collections import Counter, deque

from cachew.plumbing.errors import Busy


class Budget:
    """A number of bytes and of files that are given out, in the reactor's thread, and come back, from any.

    :param limit: bytes for all owners together.
    :param share: bytes for one owner.
    :param files: open files for all owners together; one owner has a quarter of them.
    :ivar refused: how often somebody was told to come back later.
    """

    def __init__(self, *, limit: int, share: int, files: int) -> None:
        self.limit = limit
        self.share = share
        self.files = files
        self.refused = 0
        self._bytes = self._files = self._memory = 0
        self._bytes_of: Counter[str] = Counter()
        self._files_of: Counter[str] = Counter()
        self._returned: deque[Account] = deque()

    @property
    def used(self) -> int:
        """Bytes that are given out."""
        self._settle()
        return self._bytes

    @property
    def open_files(self) -> int:
        """Files that are given out."""
        self._settle()
        return self._files

    @property
    def in_memory(self) -> int:
        """Bytes that their owners keep in memory."""
        self._settle()
        return self._memory

    def account(self, owner: str) -> "Account":
        """Begin to take out of the budget for an owner."""
        return Account(self, owner)

    def fits(self, owner: str, size: int) -> bool:
        """Say whether an owner may have so many bytes more."""
        return self.used + size <= self.limit and self._bytes_of[owner] + size <= self.share

    def take(self, account: "Account", size: int) -> None:
        """Give out bytes.

        :raise Busy: when that is more than there is for everybody, or for this owner.
        """
        if not self.fits(account.owner, size):
            raise self.busy()
        account.size += size
        self._bytes += size
        self._bytes_of[account.owner] += size

    def take_file(self, account: "Account") -> None:
        """Give out a file.

        :raise Busy: when there are no more for everybody, or for this owner.
        """
        if self.open_files >= self.files or self._files_of[account.owner] >= max(1, self.files // 4):
            raise self.busy()
        account.files += 1
        self._files += 1
        self._files_of[account.owner] += 1

    def note_memory(self, account: "Account", size: int) -> None:
        """Count bytes that are kept in memory, or no more when ``size`` is negative."""
        account.memory += size
        self._memory += size

    def give_back(self, account: "Account") -> None:
        """Take back all of an account; may be called in any thread, while anything is under way here."""
        self._returned.append(account)

    def _settle(self) -> None:
        while self._returned:
            account = self._returned.popleft()
            self._bytes -= account.size
            self._files -= account.files
            self._memory -= account.memory
            for counted, count in ((self._bytes_of, account.size), (self._files_of, account.files)):
                counted[account.owner] -= count
                if not counted[account.owner]:
                    del counted[account.owner]

    def busy(self) -> Busy:
        """Count a refusal and return it."""
        self.refused += 1
        return Busy("too much is being sent to this server at once, try again later")


class Account:
    """What one thing takes out of a budget.

    :param budget: out of which.
    :param owner: for whom.
    """

    def __init__(self, budget: Budget, owner: str) -> None:
        self._budget, self.owner = budget, owner
        self.size = self.files = self.memory = 0
        self._closed = False

    def require(self, size: int) -> None:
        """Find out early that so many bytes more can't be had.

        :raise Busy: when they can't.
        """
        if not self._budget.fits(self.owner, size):
            raise self._budget.busy()

    def take(self, size: int) -> None:
        """Take bytes.

        :raise Busy: when there are no more.
        """
        self._budget.take(self, size)

    def take_file(self) -> None:
        """Take a file.

        :raise Busy: when there are no more.
        """
        self._budget.take_file(self)

    def note_memory(self, size: int) -> None:
        """Count bytes that are kept in memory, or no more when ``size`` is negative."""
        self._budget.note_memory(self, size)

    def close(self) -> None:
        """Give everything back, in any thread; may be called more than once."""
        if not self._closed:
            self._closed = True
            self._budget.give_back(self)
