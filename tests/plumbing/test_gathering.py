"""Small questions that are answered together."""

import gc
from collections.abc import Sequence
from weakref import ref

from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.gathering import Gathering
from tests.fakes.settled import failure_of, value_of


class Asked:
    """Questions, and answers that come when a test says so."""

    def __init__(self) -> None:
        self.jobs: list[Sequence[int]] = []
        self._answers: list[Deferred[None]] = []
        self._gathering = Gathering(self._answer, together=3, at_once=2)

    async def _answer(self, questions: Sequence[int]) -> list[str]:
        self.jobs.append(questions)
        self._answers.append(Deferred())
        await self._answers[-1]
        return [f"{question}!" for question in questions]

    def ask(self, question: int) -> Deferred[str]:
        return Deferred.fromCoroutine(self._gathering.ask(question))

    def end(self, failure: Exception | None = None) -> None:
        """Let the longest job end."""
        ended = self._answers.pop(0)
        ended.callback(None) if failure is None else ended.errback(failure)


def test_what_comes_meanwhile_is_answered_together() -> None:
    """Who asks first waits for nobody, and each has his own answer."""
    asked = Asked()
    answers = [asked.ask(question) for question in range(7)]
    assert asked.jobs == [[0], [1]]
    asked.end()
    assert value_of(answers[0]) == "0!" and asked.jobs[2:] == [[2, 3, 4]] and not answers[1].called
    asked.end()
    asked.end()
    assert [value_of(answer) for answer in answers[1:5]] == ["1!", "2!", "3!", "4!"]
    asked.end()
    assert [value_of(answer) for answer in answers[5:]] == ["5!", "6!"] and asked.jobs[3:] == [[5, 6]]
    alone = asked.ask(8)
    asked.end()
    assert value_of(alone) == "8!"


def test_who_goes_away_takes_nobody_s_answer() -> None:
    """What he asked is not looked for when that has not begun, and its answer is dropped when it has."""
    asked = Asked()
    answers = [asked.ask(question) for question in range(5)]
    for number in (0, 2, 3):
        answers[number].cancel()
        assert isinstance(failure_of(answers[number]), CancelledError)
    asked.end()
    asked.end()
    asked.end()
    assert [value_of(answers[number]) for number in (1, 4)] == ["1!", "4!"] and asked.jobs == [[0], [1], [4]]


def test_who_goes_away_while_nothing_is_answered_leaves_nothing() -> None:
    """A disk may hang for hours, and others ask again and again."""

    async def hanging(questions: Sequence[object]) -> Sequence[object]:
        return await Deferred()

    class Question:
        pass

    gathering = Gathering(hanging, at_once=1)
    under_way, question = Deferred.fromCoroutine(gathering.ask(0)), Question()
    asked, kept = Deferred.fromCoroutine(gathering.ask(question)), ref(question)
    asked.cancel()
    failure_of(asked)
    del question, asked
    gc.collect()
    assert kept() is None and not under_way.called


def test_a_failure_is_told_to_those_whom_it_concerns() -> None:
    """The next ones are answered."""
    asked = Asked()
    answers = [asked.ask(question) for question in range(4)]
    asked.end(OSError("no thread"))
    assert isinstance(failure_of(answers[0]), OSError)
    asked.end()
    asked.end(OSError("no thread"))
    assert value_of(answers[1]) == "1!"
    assert [str(failure_of(answer)) for answer in answers[2:]] == ["no thread", "no thread"]
    last = asked.ask(9)
    asked.end()
    assert value_of(last) == "9!"
