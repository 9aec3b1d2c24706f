"""The step that answers as the person would: judged by who seems to have written it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dspy

from hyperalign.contrast import Contrast
from hyperalign.profile import Profile
from hyperalign.records import Sample
from hyperalign.scores import Scorer
from hyperalign.style.measured import measured_style

from ..cases import Case
from ..metrics.authorship import Authorship
from ..optimizing import CaseMetric, trainset
from .judging import some

__all__ = ["answers", "authors"]

_EXAMPLES_SHOWN = 2


def answers(cases: Sequence[Case], others: Contrast) -> list[dspy.Example]:
    """Prompts that a person answered themselves, each with a profile that needs no model."""
    del others
    found = [case for case in cases if case.reference]
    some(found, "writing")
    profiles = [_quick_profile(case) for case in found]
    return [
        example.copy(profile=profile, cluster=case.cluster).with_inputs("prompt", "profile")
        for example, profile, case in zip(trainset(found), profiles, found, strict=True)
    ]


def _quick_profile(case: Case) -> Profile:
    """What can be said of somebody without asking a model: measured style, and texts to show."""
    written = [record for record in case.records if isinstance(record, Sample)]
    return Profile(user=case.user, style=measured_style(written), examples=written[:_EXAMPLES_SHOWN])


def authors(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> CaseMetric:
    """The metric of answers."""
    del scorer
    return CaseMetric(Authorship(texts))
