"""The test by likelihood: what a model's log-probabilities say, without asking it anything.

**Samples, statements.** The record is read once, then every statement and its opposite is
scored as what somebody would say of its writer: cell = [log p(h | text) - log p(opposite | text)].
By Bayes this is how much more the text speaks for h than for its opposite, up to a constant of
the two phrases, and that constant cancels when other people's records are subtracted. Cost
grows with the hypotheses' own tokens: no text is read twice.

**Samples, examples.** How much an earlier text of the person raises the probability per token of
this one: log p(text | example) - log p(text).

**Pairs and edits.** The "alignment accuracy" gain of AlignX: how much h raises the probability of
what was chosen over what was rejected, minus the same for its opposite; per token.

This file knows no runtime: the scorer is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, Sample, other_text, own_text, prompt_of
from hyperalign.scores import Message, Scorer

from ..excerpts import excerpt

__all__ = ["LikelihoodTest"]

_QUESTION = "How does the person who wrote this come across and write? Answer in one short phrase."
_NO_PROMPT = "Write a text of your own."


class LikelihoodTest:
    """Tests statements and examples by log-probabilities.

    Args:
        scorer: gives log-probabilities of text.
        words: how many words of a record are read.
    """

    name = "likelihood"

    def __init__(self, scorer: Scorer, *, words: int = 120) -> None:
        self._scorer = scorer
        self._words = words

    @property
    def scorer(self) -> str:
        """The scorer's name."""
        return self._scorer.name

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Statements need an opposite; examples always can be tested; what is measurable is measured."""
        if hypothesis.source == "measured":
            return False
        return hypothesis.kind == "example" or bool(hypothesis.opposite)

    def row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        """One row: nats a statement gains over its opposite, nats per token for examples, pairs and edits."""
        statements = [h for h in hypotheses if h.kind == "statement"]
        cells: dict[str, float] = {}
        if isinstance(record, Sample):
            cells.update(self._statements_on_sample(record, statements))
        else:
            cells.update(self._statements_on_choice(record, statements))
        cells.update(self._examples(record, [h for h in hypotheses if h.kind == "example"]))
        return [cells[h.id] for h in hypotheses]

    def _statements_on_sample(self, record: Sample, statements: Sequence[Hypothesis]) -> dict[str, float]:
        if not statements:
            return {}
        context = [_turn(f"Here is a text somebody wrote.\n\n<text>\n{self._cut(record.text)}\n</text>\n\n{_QUESTION}")]
        scores = self._scorer.score(context, [pole for h in statements for pole in (h.statement, h.opposite)])
        return {
            h.id: scores[2 * i].logprob - scores[2 * i + 1].logprob  # sums: a phrase is one claim, however long
            for i, h in enumerate(statements)
        }

    def _statements_on_choice(self, record: Record, statements: Sequence[Hypothesis]) -> dict[str, float]:
        cells = {}
        for h in statements:
            own = self._preference(record, h.statement)
            cells[h.id] = own - self._preference(record, h.opposite) if h.opposite else own
        return cells

    def _preference(self, record: Record, statement: str) -> float:
        system: Message = {
            "role": "system",
            "content": f"You answer a person. They want answers like this: {statement}",
        }
        texts = [self._cut(own_text(record)), self._cut(other_text(record) or "")]
        chosen, rejected = self._scorer.score([system, _turn(prompt_of(record) or _NO_PROMPT)], texts)
        return chosen.mean - rejected.mean

    def _examples(self, record: Record, examples: Sequence[Hypothesis]) -> dict[str, float]:
        if not examples:
            return {}
        prompt = _turn(prompt_of(record) or _NO_PROMPT)
        text = self._cut(own_text(record))
        (bare,) = self._scorer.score([prompt], [text])
        cells = {}
        for h in examples:
            shown: list[Message] = [_turn(_NO_PROMPT), {"role": "assistant", "content": h.statement}]
            (shown_score,) = self._scorer.score([*shown, prompt], [text])
            cells[h.id] = shown_score.mean - bare.mean
        return cells

    def _cut(self, text: str) -> str:
        return excerpt(text, self._words)


def _turn(content: str) -> Message:
    return {"role": "user", "content": content}
