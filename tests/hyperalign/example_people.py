"""Invented records and profiles for the tests of the nouns."""

from __future__ import annotations

from datetime import UTC, datetime

from hyperalign.profile import Evidence, Hypothesis, Measurement, Profile, Provenance, TestResult
from hyperalign.records import Edit, Pair, Record, Sample

LETTER = Sample(
    user="ada",
    prompt="Decline the invitation.",
    text="I regret that the marmalade festival must do without me. [bold]Entirely.[/bold]",
    time=datetime(2024, 5, 1, 9, 30, tzinfo=UTC),
)
CHOICE = Pair(user="ada", prompt="Say hello.", chosen="Good morning to you.", rejected="hey!!")
CORRECTION = Edit(user="ada", prompt="Thank him.", draft="Thx a lot", edited="I am much obliged to you.")
RECORDS: list[Record] = [LETTER, CHOICE, CORRECTION]


def passed_test(gain: float, test: str = "likelihood") -> TestResult:
    return TestResult(
        test=test,
        gain=gain,
        low=gain - 0.02,
        high=gain + 0.02,
        p=0.01,
        q=0.04,
        records=[LETTER.id],
        reference_records=12,
        scorer="local:a-model@abc123",
    )


def profile(user: str = "ada") -> Profile:
    return Profile(
        user=user,
        hypotheses=[
            Hypothesis(
                id="h1",
                statement="Declines with mock solemnity.",
                aspect="communication",
                opposite="Declines briskly.",
                evidence=[Evidence(quote="must do without me", record=LETTER.id)],
                test=passed_test(0.05),
                weight=0.8,
                scope="declin, letter",
            ),
            Hypothesis(
                id="h2", statement="Never uses exclamation marks.", aspect="style", test=passed_test(1.1), weight=0.2
            ),
        ],
        examples=[LETTER] if user == "ada" else [],
        stated=["No emoji, please."],
        style={"words a sentence": Measurement(value=9.5, reference=17.25, z=-1.4)},
        dropped=[
            Hypothesis(
                id=f"d{number}",
                statement=f"Is formal and clear ({number}).",
                aspect="style",
                test=passed_test(0.0),
                dropped_because="helps other people as much",
            )
            for number in range(6)
        ],
        direction={"formality": 0.75},
        provenance=Provenance(
            records=[LETTER.id],
            model="local:a-model",
            scorer="local:a-model@abc123",
            population="12 example people",
            created=datetime(2024, 5, 2, tzinfo=UTC),
        ),
    )
