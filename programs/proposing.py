"""One answer of a model as a hypothesis: asked for, read, and held against the records that it quotes.

A hypothesis whose quote stands in no record is dropped and counted, and so is an answer that is not in the form asked
for. What is asked, and how records are shown, is the business of ``infer`` and ``extract``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from pydantic import BaseModel
from pydantic.config import JsonDict

from hyperalign.errors import ModelOutputError
from hyperalign.profile import Aspect, Evidence, Hypothesis
from hyperalign.records import Record, other_text, own_text

from .asking import Ask, Steps
from .brief_json import BriefJSONAdapter
from .dspy_internals import AdapterParseError
from .excerpts import find_quote
from .tally import count_answer

__all__ = ["EXCERPT_WORDS", "QUOTE", "Claim", "Proposals", "claimed", "phrase"]

EXCERPT_WORDS = 55
MAX_STATEMENT_WORDS = 16
_SHORT = {"temperature": 0.0, "max_tokens": 400}

# A hint for models whose output is constrained by the schema; it is not enforced on what comes back.
QUOTE: JsonDict = {"pattern": '^[^"\\\\]{8,64}$'}

_SUBJECT = re.compile(r"^(?:the |this )?(?:writer|person|author|user)(?:'s)?\s+(?:is |are )?", re.IGNORECASE)
_PREFERS = re.compile(
    r"^(?:(?:prefers|likes|wants|chooses|favors) )?(?:an? )?(?:answers?|repl(?:y|ies)|responses?|texts?) "
    r"(?:that|which) (?:is |are )?",
    re.IGNORECASE,
)


class Claim(BaseModel):
    """What a model answers: the evidence first, so that the claim follows from it."""

    quote: str
    statement: str
    opposite: str


class Proposals:
    """Gathers a model's hypotheses about one person.

    Args:
        records: what they may quote.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._kept: dict[str, Hypothesis] = {}
        self._invented = self._unreadable = 0

    def take(self, aspect: Aspect, claim: Claim | None) -> None:
        """Keep what an answer says, or count why it is not kept.

        Args:
            aspect: which kind of hypothesis was asked for.
            claim: the answer; None where it was not in the form asked for.
        """
        if claim is None:
            # One answer in the wrong form costs its hypothesis, not the run: there are other candidates.
            self._unreadable += 1
            return
        statement, opposite = phrase(claim.statement), phrase(claim.opposite)
        evidence = self._evidence(claim.quote)
        if not (statement and opposite) or statement == opposite:
            self._unreadable += 1
        elif evidence is None:
            self._invented += 1
        else:
            name = "free-" + hashlib.sha256(statement.lower().encode()).hexdigest()[:8]
            self._kept[name] = Hypothesis(
                id=name, statement=statement, opposite=opposite, aspect=aspect, evidence=[evidence]
            )

    def all(self) -> dspy.Prediction:
        """What was gathered: ``hypotheses`` (untested), and how many were ``invented`` or ``unreadable``."""
        return dspy.Prediction(
            hypotheses=list(self._kept.values()), invented=self._invented, unreadable=self._unreadable
        )

    def _evidence(self, quote: str) -> Evidence | None:
        # What the person stands behind first: a quote from what they turned down shows less.
        for text_of, turned_down in ((own_text, False), (other_text, True)):
            for record in self._records:
                verbatim = find_quote(quote, text_of(record) or "")
                if verbatim is not None:
                    return Evidence(quote=verbatim, record=record.id, turned_down=turned_down)
        return None


def claimed(predictor: dspy.Predict, inputs: Mapping[str, Any]) -> Steps[Claim | None]:
    """Ask for one hypothesis.

    Args:
        predictor: its signature's one output is ``hypothesis``, a ``Claim``.
        inputs: its signature's inputs.

    Returns:
        The answer; None where it is not in the form asked for.
    """
    settings = {"adapter": BriefJSONAdapter(), "send_stream": None}
    try:
        said = yield Ask(predictor, {**inputs, "config": _SHORT}, settings)
    except (AdapterParseError, ModelOutputError) as error:
        # What a parser could not read is the model's own words.
        count_answer(False, str(getattr(error, "lm_response", "") or getattr(error, "message", "")))
        return None
    count_answer(True, "")
    claim: Claim = said.hypothesis
    return claim


def phrase(text: str) -> str:
    """A statement in the form all hypotheses have: one phrase, no subject, a capital and a full stop."""
    text = _PREFERS.sub("", _SUBJECT.sub("", " ".join(text.split())))
    words = text.split()[:MAX_STATEMENT_WORDS]
    text = " ".join(words).rstrip(" .,;:")
    return text[:1].upper() + text[1:] + "." if text else ""
