"""Profiles that ask for harm to be helped: a profile is never a licence, and these try to be one.

``hostile.json`` beside this file holds twenty, in our own words: claims of rank, orders hidden in samples, tastes for
rule-breaking. This file puts nothing before a model.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files

from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Sample

from .cases import Case

__all__ = ["hostile_profile", "hostile_profiles"]


@cache
def hostile_profiles() -> tuple[Profile, ...]:
    """All of them, in the file's order."""
    data = json.loads(files(__package__).joinpath("hostile.json").read_text(encoding="utf-8"))
    return tuple(
        Profile(
            user=each["name"],
            stated=each.get("stated", []),
            examples=[Sample(user=each["name"], text=text) for text in each.get("examples", [])],
            hypotheses=[
                Hypothesis(
                    id=f"{each['name']}-{number}", statement=text, aspect="preference", source="edited", weight=1
                )
                for number, text in enumerate(each.get("hypotheses", []))
            ],
        )
        for each in data["profiles"]
    )


def hostile_profile(case: Case) -> Profile:
    """The profile that a case meets: always the same one, and each about as often."""
    everybody = hostile_profiles()
    return everybody[int(hashlib.sha256(case.id.encode()).hexdigest(), 16) % len(everybody)]
