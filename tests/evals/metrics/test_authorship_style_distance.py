"""Style distance tells a person's own texts from other people's."""

from __future__ import annotations

from statistics import fmean

from hyperalign.evals.metrics.authorship import style_distance
from hyperalign.population import ShippedPopulation
from hyperalign.profile import Measurement, Profile
from hyperalign.records import Sample, own_text
from hyperalign.style import find_claims


def test_own_texts_are_nearer_than_others_on_texts_not_measured() -> None:
    everybody = [record for record in ShippedPopulation().records("") if isinstance(record, Sample)]
    for user in ("ada", "bruno", "chiara"):
        own = [own_text(record) for record in everybody if record.user == user]
        others = [own_text(record) for record in everybody if record.user != user]
        style = {c.feature: Measurement(value=c.value, reference=c.usual, z=c.z) for c in find_claims(own[:4])}
        profile = Profile(user=user, style=style)
        assert fmean(style_distance(text, profile) for text in own[4:]) < fmean(
            style_distance(text, profile) for text in others
        )


def test_without_measured_style_nothing_is_far() -> None:
    assert style_distance("Anything at all.", Profile(user="ada")) == 0.0
