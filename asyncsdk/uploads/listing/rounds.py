"""Rounds: work that one of many callers does for all that ask at the time, with no task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio
from attrs import define, field

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@define(eq=False)
class _Asked(Generic[Question, Answer]):
    question: Question
    answers: list[Answer] = field(factory=list)  # one at most


@define(eq=False)
class Rounds(Generic[Question, Answer]):
    """One round of work at a time. It answers those that asked before it began; who asks later waits for the next one.

    Who is first does the work. Where that one is cancelled, or the work raises, the next one in the line takes over.
    """

    _turn: anyio.Lock = field(factory=anyio.Lock, init=False)
    _waiting: list[_Asked[Question, Answer]] = field(factory=list, init=False)

    @property
    def waiting(self) -> int:
        """How many have asked and have no answer yet."""
        return sum(not asked.answers for asked in self._waiting)

    async def ask(self, question: Question, work: Callable[[Sequence[Question]], Awaitable[Answer]]) -> Answer:
        """Return what a round answered that began after this call.

        Args:
            question: What this caller wants to know.
            work: Does a round for the questions of all that wait; each caller passes its own, of which one is called.
        """
        asked: _Asked[Question, Answer] = _Asked(question)
        self._waiting.append(asked)
        try:
            async with self._turn:  # first come, first served: those that a round answered are before who came later
                if not asked.answers:
                    together = [each for each in self._waiting if not each.answers]
                    answer = await work([each.question for each in together])
                    for each in together:
                        each.answers.append(answer)
                return asked.answers[0]
        finally:
            self._waiting.remove(asked)
