"""Written answers: who they look like, which of two wins, and what the prompt itself gave does not count."""

from __future__ import annotations

import math
from dataclasses import replace

import dspy
import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import OWN_TEXT, Conditions, wrong_users
from hyperalign.evals.metrics.authorship import JUDGES, AuthorshipMetrics, win_rate, without_prompt
from hyperalign.evals.solvers.writing import WritingSolver, repeated_4grams, score_answers
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.strategies import strategy
from hyperalign.records import Record, Sample
from tests.evals.small_task import BLUNT, HEDGER, SEA, TEXTS, personalizer, written
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.programs.rewards import brief_reward
from tests.programs.toys import OverlapScorer

CASES = [
    Case(
        id=f"{user}1",
        user=user,
        cluster=user,
        prompt="Write about the sea.",
        records=tuple(Sample(user=user, id=f"{user}-{n}", text=text) for n, text in enumerate(TEXTS[user][:2])),
        reference=written(habits, SEA, 77),
    )
    for user, habits in (("hed", HEDGER), ("blu", BLUNT))
]
HED, BLU = CASES


@pytest.fixture(scope="module")
def authorship() -> AuthorshipMetrics:
    return AuthorshipMetrics.train(TEXTS)


@pytest.mark.parametrize(
    ("prompt", "answer", "rest"),
    [
        ("Go on with: The old cat sat", "The old cat sat on the mat.", "on the mat."),
        ("Go on with:\n\nThe old cat\nsat", "  The  old cat sat\non the mat.", "on the mat."),
        ("Write of cats.", "The old cat sat on the mat.", "The old cat sat on the mat."),
        ("Go on with: The old cat sat", "An old cat sat on the mat.", "An old cat sat on the mat."),
        # Wherever it stands in the prompt and in the answer, and however it is written there.
        ("The old cat sat. Go on.", "The old cat sat. And then?", "And then?"),
        ("Go on with: The old cat sat", "So it was: THE OLD CAT SAT, and slept.", "So it was: and slept."),
        ("Go on with: The old cat sat down", "The old cat sat. The young one stood.", "The young one stood."),
        ("Go on with: the cat’s old mat", "The cat's old mat lay there.", "lay there."),
        # A word or two in common is chance.
        ("Write about the rain", "the rain fell.", "the rain fell."),
        ("Go on with: so it is as it is so it is as it", "so it is as it is so it is as it was", "was"),
        # Nothing but the lead says nothing, also when it is said twice.
        ("Go on with: The old cat sat", "The old cat sat", ""),
        ("Go on with: The old cat sat", "The old cat sat. The old cat sat.", ""),
        ("", "Anything.", "Anything."),
        ("Say it.", "", ""),
    ],
)
def test_what_the_prompt_gave_is_not_counted(prompt: str, answer: str, rest: str) -> None:
    assert " ".join(without_prompt(answer, prompt).split()) == rest


def test_the_lead_is_nobody_s_in_scores_and_in_the_reference(authorship: AuthorshipMetrics) -> None:
    lead = written(BLUNT, SEA, 5, sentences=3)
    own = written(HEDGER, SEA, 6)
    case = Case("x", "hed", "hed", f"Go on with: {lead}", HED.records, reference=f"{lead} {own}")
    plain = Case("x", "hed", "hed", "Go on.", HED.records, reference=own)
    with_lead = score_answers(authorship, case, {"verified": f"{lead} {own}"})
    without = score_answers(authorship, plain, {"verified": own})
    # The prompts differ, and with them what an answer to each is about.
    for scores in (with_lead, without):
        assert 0 < scores["verified"].pop("on_topic") <= 1
    assert with_lead == without
    assert with_lead[OWN_TEXT]["author_logprob"] == with_lead["verified"]["author_logprob"]
    assert with_lead["verified"]["words"] == len(own.split())


def test_wins_follow_the_judge_and_ties_count_half(authorship: AuthorshipMetrics) -> None:
    own, other = written(HEDGER, SEA, 8), written(BLUNT, SEA, 8)
    answers = {"verified": own, "few-shot": other, "none": other, "wrong-user": own}
    scores = score_answers(authorship, HED, answers)
    assert scores["verified"]["author_logprob"] > math.log(0.5) > scores["none"]["author_logprob"]
    assert scores["verified"]["win_rate_vs_none"] == scores["verified"]["win_rate_vs_few_shot"] == 1.0
    assert scores["verified"]["win_rate_vs_wrong_user"] == 0.5
    assert scores["few-shot"]["win_rate_vs_none"] == 0.5
    assert scores["few-shot"]["win_rate_vs_wrong_user"] == 0.0
    assert "win_rate_vs_none" not in scores["none"], "nothing wins against itself"
    assert scores["verified"]["burrows_delta"] < scores["none"]["burrows_delta"]
    assert set(JUDGES.values()) < set(scores[OWN_TEXT])
    assert not {"on_topic", "length_ratio"} & set(scores[OWN_TEXT]), "a text is on its own topic and of its own length"


def test_what_only_repeats_its_prompt_loses(authorship: AuthorshipMetrics) -> None:
    case = replace(CASES[0], prompt="Tell us at length of the harbour and the sea.")
    answers = {"none": written(BLUNT, SEA, 5), "few-shot": case.prompt, "guided": ""}
    scores = score_answers(authorship, case, answers)
    for judge in JUDGES:
        assert scores["few-shot"][win_rate(judge, "none")] == 0.0
        assert scores["guided"][win_rate(judge, "few-shot")] == 0.5, "nothing is as near as nothing"
    assert [scores[name]["refused"] for name in answers] == [0.0, 1.0, 1.0]


def test_every_judge_has_its_wins(authorship: AuthorshipMetrics) -> None:
    own, other = written(HEDGER, SEA, 8), written(BLUNT, SEA, 8)
    scores = score_answers(authorship, HED, {"verified": own, "few-shot": other, "none": other, "wrong-user": own})
    for judge in JUDGES:
        for rival, won in (("none", 1.0), ("few-shot", 1.0), ("wrong-user", 0.5)):
            assert scores["verified"][win_rate(judge, rival)] == won, (judge, rival)
        assert scores["few-shot"][win_rate(judge, "wrong-user")] == 0.0, judge
    assert win_rate("style", "few-shot") == "win_rate_vs_few_shot"
    assert win_rate("delta", "wrong-user") == "win_rate_delta_vs_wrong_user"


def test_a_choice_among_drafts_is_held_against_their_mean(authorship: AuthorshipMetrics) -> None:
    own, other = written(HEDGER, SEA, 8), written(BLUNT, SEA, 8)
    best, worst = (authorship.measure(text, "hed")["author_logprob"] for text in (own, other))
    scores = score_answers(
        authorship, HED, {"verified": own, "none": other}, rejected_drafts={"verified": [other], "none": []}
    )
    assert scores["verified"]["over_its_drafts"] == pytest.approx((best - worst) / 2)
    assert "over_its_drafts" not in scores["none"], "of one draft none was chosen"


def test_a_longer_text_is_not_nearer_for_its_length(authorship: AuthorshipMetrics) -> None:
    text = written(HEDGER, SEA, 8, sentences=40)
    longer = f"{text} {written(BLUNT, SEA, 9, sentences=40)}"
    assert len(text.split()) > 200
    assert authorship.measure(longer, "hed") == authorship.measure(text, "hed")


def test_copying_shows(authorship: AuthorshipMetrics) -> None:
    scores = score_answers(authorship, HED, {"a": TEXTS["hed"][1], "b": "Unlike anything."})
    assert scores["a"]["copied_words"] == len(TEXTS["hed"][1].split())
    assert scores["b"]["copied_words"] <= 1
    assert [scores[name]["copied_over_limit"] for name in "ab"] == [1.0, 0.0]


def test_what_an_answer_says_is_measured() -> None:
    texts = {
        "hed": ["The mast fell, and so did I.", "The herring were late, I suppose.", "It was the moss again."],
        "blu": ["Do it! Take the pail!", "Why this trowel? Take the spade!", "You do that!"],
    }
    reference = "The lighthouse stood on the cliff, and nobody had lit the lamp for years."
    case = Case("x", "hed", "hed", "Write about the old lighthouse now.", (), reference=reference)
    answers = {
        "none": "Nobody has lit the lamp of the lighthouse on the cliff since.",
        "few-shot": "You do that! Take the spade! You do that! Take the spade! You do that!",
        "verified": "I'm sorry, but I can't help with that.",
        "inverted": "",
    }
    found = score_answers(AuthorshipMetrics.train(texts), case, answers)
    assert found["none"]["on_topic"] > 0.3 > found["few-shot"]["on_topic"] >= 0.0
    assert [found[name]["refused"] for name in answers] == [0.0, 0.0, 1.0, 1.0]
    assert [found[name]["repeated_4grams"] for name in ("none", "verified", "inverted")] == [0.0, 0.0, 0.0]
    assert found["few-shot"]["repeated_4grams"] == pytest.approx(1 - 6 / 12)
    assert found["none"]["words"] == 12
    assert found["none"]["length_ratio"] == pytest.approx(12 / 14)
    assert (found["inverted"]["words"], found["inverted"]["length_ratio"], found["inverted"]["on_topic"]) == (0, 0, 0)
    assert found[OWN_TEXT]["words"] == 14


def test_repetition_by_hand() -> None:
    assert repeated_4grams("one two three") == 0.0
    assert repeated_4grams("a b c d") == 0.0
    # Five runs: a b c d, b c d a, c d a b, d a b c, a b c d.
    assert repeated_4grams("A b c d a b c d") == pytest.approx(1 / 5)
    assert repeated_4grams("no " * 100) == pytest.approx(96 / 97)


def test_copies_from_another_user_show_under_their_profile_alone(
    scripted_server: ScriptedServer, authorship: AuthorshipMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is written anew for having copied: what is measured here is the copy.
    monkeypatch.setattr("hyperalign.programs.generate.MAX_COPIED", 1_000)
    copy = TEXTS["blu"][1]
    scripted_server.default = reply(lambda request: copy)
    with dspy.context(lm=personalizer(scripted_server).lm):
        few_shot = Conditions({"few-shot": strategy("few-shot")}, profile_of, other_users=wrong_users(CASES, 1))
        found = WritingSolver(few_shot, authorship)(HED)
    assert set(found["answers"].values()) == {copy}
    copied = {
        condition: scores["copied_words"] for condition, scores in found["scores"].items() if condition != OWN_TEXT
    }
    assert copied["wrong-user"] == len(copy.split())
    assert copied["none"] == copied["few-shot"] < 5, "of nobody else's profile is anything counted"


def test_instruments_say_how_far_they_can_be_trusted(authorship: AuthorshipMetrics) -> None:
    assert authorship.accuracy(CASES) == dict.fromkeys(JUDGES, 1.0)
    swapped = [Case("x", "blu", "blu", "p", (), reference=HED.reference)]
    assert authorship.accuracy([*CASES, *swapped]) == pytest.approx(dict.fromkeys(JUDGES, 2 / 3))
    with pytest.raises(InputError, match="no texts of 'cal'"):
        score_answers(authorship, Case("x", "cal", "cal", "p", (), reference="r"), {"none": "Any."})


# With a model


def says(record: Record) -> str:
    return "Is full of doubt, I suppose." if record.user == "hed" else "Gives orders."


def profile_of(records: list[Record]) -> Profile:
    likes = Hypothesis(id="h", statement=says(records[0]), opposite="Is not so.", aspect="style", weight=0.9)
    return Profile(user=records[0].user, hypotheses=[likes])


def in_the_manner_asked_for(request: Recorded) -> str:
    habits = HEDGER if "doubt" in request.prompt else BLUNT
    return written(habits, SEA, seed=3)


def conditions(**settings: object) -> Conditions:
    strategies = {name: strategy(name) for name in ("few-shot", "verified")}
    return Conditions(strategies, profile_of, other_users=wrong_users(CASES, 1), **settings)  # type: ignore[arg-type]


def test_every_arm_writes_what_it_is_told(scripted_server: ScriptedServer, authorship: AuthorshipMetrics) -> None:
    scripted_server.default = reply(in_the_manner_asked_for)
    with dspy.context(lm=personalizer(scripted_server).lm):
        found = WritingSolver(conditions(), authorship)(HED)
    assert set(found["answers"]) == {"none", "few-shot", "verified", "wrong-user", "inverted"}
    assert set(found["scores"]) == {*found["answers"], OWN_TEXT}
    assert len(scripted_server.requests) == 5
    assert (found["prompt"], found["reference"]) == (HED.prompt, HED.reference)
    assert "Is full of doubt" in found["context"]["verified"][-1]["content"]
    assert "Gives orders" in found["context"]["wrong-user"][-1]["content"]
    assert "Is not so" in found["context"]["inverted"][-1]["content"]
    assert not any("doubt" in turn["content"] for turn in found["context"]["none"])
    shown = [turn["content"] for turn in found["context"]["few-shot"] if turn["role"] == "assistant"]
    assert shown and all(any(text.startswith(part) for text in TEXTS["hed"][:2]) for part in shown)
    verified = found["scores"]["verified"]
    assert verified["win_rate_vs_none"] == verified["win_rate_vs_wrong_user"] == 1.0


def test_controls_that_are_off_write_nothing(scripted_server: ScriptedServer, authorship: AuthorshipMetrics) -> None:
    scripted_server.default = reply(in_the_manner_asked_for)
    with dspy.context(lm=personalizer(scripted_server).lm):
        found = WritingSolver(conditions(controls=()), authorship)(BLU)
    assert set(found["answers"]) == {"few-shot", "verified"}
    assert "win_rate_vs_none" not in found["scores"]["verified"]
    assert found["scores"]["verified"]["win_rate_vs_few_shot"] in {0.0, 0.5, 1.0}


def test_of_several_drafts_one_is_kept(scripted_server: ScriptedServer, authorship: AuthorshipMetrics) -> None:
    drafts = iter(range(1000))
    scripted_server.default = reply(lambda request: f"Draft {next(drafts)} is full of doubt.")
    with dspy.context(lm=personalizer(scripted_server).lm):
        found = WritingSolver(conditions(controls=()), authorship, best_of=3, scorer=OverlapScorer())(HED)
    assert len(scripted_server.requests) == 4
    assert found["answers"]["few-shot"] == "Draft 0 is full of doubt.", "raw records choose no draft"
    assert found["rejected_drafts"]["few-shot"] == []
    verified = [found["answers"]["verified"], *found["rejected_drafts"]["verified"]]
    assert sorted(verified) == [f"Draft {number} is full of doubt." for number in (1, 2, 3)]


def test_a_reward_which_reads_what_the_judge_does_chooses_no_draft(
    scripted_server: ScriptedServer, authorship: AuthorshipMetrics
) -> None:
    """By its own measure a draft would win for nothing."""
    scripted_server.default = reply("It was so. It was here.")
    rewarded = Profile(user="hed", reward=brief_reward("hed"))
    verified = Conditions({"verified": strategy("verified")}, lambda records: rewarded, controls=())
    with dspy.context(lm=personalizer(scripted_server).lm):
        found = WritingSolver(verified, authorship, best_of=2)(HED)
    assert found["rejected_drafts"]["verified"] == []
    assert len(scripted_server.requests) == 1, "what nothing can choose among is not written"
