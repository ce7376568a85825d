"""What strangers may have a server hold."""

import pytest

from cachew.plumbing.budget import Budget
from cachew.plumbing.errors import Busy


def test_one_owner_uses_up_his_own_share_only() -> None:
    """Past its share an owner is told to come back; others go on until the whole is used up."""
    budget = Budget(limit=100, share=60, files=8)
    one, two = budget.account("one"), budget.account("two")
    one.take(60)
    with pytest.raises(Busy):
        one.take(1)
    two.take(40)
    with pytest.raises(Busy):
        two.take(1)
    assert (budget.used, budget.refused) == (100, 2)


def test_what_is_given_back_can_be_had_again() -> None:
    """An account gives everything back, once."""
    budget = Budget(limit=100, share=100, files=1)
    account = budget.account("one")
    account.take(100)
    account.take_file()
    account.note_memory(7)
    account.close()
    account.close()
    assert (budget.used, budget.open_files, budget.in_memory) == (0, 0, 0)
    budget.account("two").take(100)


def test_files_are_shared_out_too() -> None:
    """One owner has a quarter of the files, and nobody has more than there are."""
    budget = Budget(limit=1, share=1, files=8)
    accounts = [budget.account(owner) for owner in "abcde"]
    for account in accounts[:4]:
        account.take_file()
        account.take_file()
        with pytest.raises(Busy):
            account.take_file()
    with pytest.raises(Busy):
        accounts[4].take_file()
    assert budget.open_files == 8


def test_what_does_not_fit_is_known_beforehand() -> None:
    """An announced size is refused before it is taken."""
    budget = Budget(limit=100, share=50, files=1)
    account = budget.account("one")
    account.require(50)
    with pytest.raises(Busy):
        account.require(51)
    assert budget.used == 0
