"""Several ways to go on with an answer, from a vLLM server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from hyperalign.budget import Usage
from hyperalign.errors import check_counts
from hyperalign.programs.decoding import Author, Branch
from hyperalign.scores import Message

from .scorers.vllm import VLLMScorer, expect

__all__ = ["VLLMAnswer", "VLLMWriter"]


class VLLMWriter(VLLMScorer):
    """A ``Writer`` over a vLLM server, which keeps the prefixes that it read by itself; see ``VLLMScorer``."""

    def open(
        self, context: Sequence[Message], *, author: Author | None = None, seed: int = 0, room: int = 1
    ) -> VLLMAnswer:
        """Begin an answer; see ``hyperalign.programs.decoding.Writer``.

        Args:
            context: the turns before it.
            author: not used: a server tells the chances of a few tokens only, and of one context at a time, and nothing
                of its memory can be kept here.
            seed: of all sampling.
            room: tokens that must be left for the answer.

        Raises:
            ContextLengthError: the turns leave less.
            BudgetExceededError: a cap is reached.
            ModelServerError: the server could not be reached, or kept failing.
            ModelOutputError: its answer was not in the form expected.
        """
        del author
        began = self._begin()
        prompt = self.prompt(context, room)
        self._book(began, len(prompt))
        return VLLMAnswer(self, prompt, seed)

    def go_on(self, tokens: Sequence[int], count: int, length: int, **sampling: Any) -> list[tuple[list[int], Branch]]:
        """Several ways to go on after some tokens, each with its own tokens.

        Args:
            tokens: what was read and written before.
            count: how many.
            length: tokens of each, at most.
            sampling: ``temperature`` and ``seed``.

        Raises:
            BudgetExceededError: a cap is reached.
            ModelServerError: the server could not be reached, or kept failing.
            ModelOutputError: its answer was not in the form expected.
        """
        began = self._begin()
        if self._room is not None and (length := min(length, self._room - len(tokens))) < 1:
            return [([], Branch("", 0, False))] * count
        asked = {"prompt": list(tokens), "n": count, "max_tokens": length, "return_token_ids": True, **sampling}
        choices = expect(self._post("/v1/completions", asked), "choices", list)
        found = []
        for choice in choices:
            text = str(expect(choice, "text", str))
            own = choice.get("token_ids")
            # Servers before 0.10 return no token ids.
            ids = [int(each) for each in own] if own else self.tokens_of(text)
            found.append((ids, Branch(text, len(ids), choice.get("finish_reason") == "stop")))
        if self._budget is not None:
            seconds = time.perf_counter() - began
            self._budget.add(Usage(calls=1, tokens_out=sum(branch.tokens for _, branch in found), seconds=seconds))
        return found


class VLLMAnswer:
    """An answer that is being written; see ``hyperalign.programs.decoding.WritingSession``."""

    def __init__(self, writer: VLLMWriter, prompt: list[int], seed: int) -> None:
        self._writer = writer
        self._tokens = list(prompt)
        self._seed = seed
        self._branches: list[tuple[list[int], Branch]] = []
        self.text = ""

    def branch(self, count: int, tokens: int, *, temperature: float = 0.8) -> list[Branch]:
        """Several ways to go on; see ``hyperalign.programs.decoding.WritingSession``."""
        check_counts(count=count, tokens=tokens)
        drawn = 0 if temperature <= 0 else max(1, count - 1)
        found = self._writer.go_on(self._tokens, count - drawn, tokens, temperature=0.0) if count > drawn else []
        if drawn:
            found += self._writer.go_on(self._tokens, drawn, tokens, temperature=temperature, seed=self._seed)
        self._branches = found
        return [branch for _, branch in found]

    def keep(self, index: int) -> None:
        """Go on from one of the branches of the last call."""
        tokens, branch = self._branches[index]
        self._tokens += tokens
        self.text += branch.text
        self._seed += 1
        self._branches = []
