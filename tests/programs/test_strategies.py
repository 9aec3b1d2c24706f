"""What each strategy says of a person, and that it says no more than its budget."""

from __future__ import annotations

import pytest

from hyperalign.errors import InputError
from hyperalign.profile import Evidence, Poles, Profile
from hyperalign.programs.strategies import STRATEGIES, strategy
from hyperalign.records import Sample

from .toys import jam_sample, make_hypothesis

PROFILE = Profile(
    user="ada",
    hypotheses=[
        make_hypothesis("fond of jam").model_copy(update={"weight": 0.2}),
        make_hypothesis("blunt", "space").model_copy(update={"weight": 0.9}),
    ],
    dropped=[
        make_hypothesis("tall").model_copy(update={"dropped_because": "chance"}),
        make_hypothesis("measured", "measured"),
    ],
    stated=["No emoji, please."],
    examples=[jam_sample(0), Sample(user="ada", prompt="Say hello.", text="Hello, dear toast.")],
    direction={"warm": 0.97, "humorous": 0.1, "formal": 0.6, "brief": 0.2, "nothing of the kind": 1.0},
)
EMPTY = Profile(user="ada", dropped=[make_hypothesis("tall", "measured")])
BARE = [{"role": "user", "content": "Decline."}]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_an_empty_profile_sends_the_bare_prompt(name: str) -> None:
    assert strategy(name).condition(EMPTY, "Decline.", 400) == BARE


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("budget", [0, 3, 10, 20, 400])
def test_no_strategy_spends_more_than_its_budget(name: str, budget: int) -> None:
    turns = strategy(name).condition(PROFILE, "Decline.", budget)
    assert turns[-1]["content"].endswith("Decline.")
    said = " ".join(turn["content"] for turn in turns).removesuffix("Decline.")
    for ours in (
        "Decline.",
        "Write as a person like this:",
        "Answer as somebody would want who prefers what is:",
        "What they like:",
        "About the person:",
        "(in their own words)",
        "- ",
    ):
        said = said.replace(ours, "")
    assert len(said.split()) <= budget


def test_none_sends_the_prompt_alone() -> None:
    assert strategy("none").condition(PROFILE, "Decline.", 400) == BARE


def test_few_shot_shows_earlier_texts_the_best_last() -> None:
    turns = strategy("few-shot").condition(PROFILE, "Decline.", 400)
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert turns[0]["content"] == ""
    assert turns[1]["content"] == "Say hello."
    assert turns[-2]["content"] == jam_sample(0).text


def test_hypotheses_believes_all_that_was_inferred() -> None:
    turns = strategy("hypotheses").condition(PROFILE, "Decline.", 400)
    assert turns[0]["content"] == "About the person:\n- Is fond of jam.\n- Is tall."


def test_directions_says_the_poles_that_are_probable_the_surest_first() -> None:
    (_, asked) = strategy("directions").condition(PROFILE, "Decline.", 400)
    assert asked["content"] == (
        "Answer as somebody would want who prefers what is:\n"
        "- Warm and friendly.\n- Serious and earnest.\n- Long and detailed.\n\nDecline."
    )


def test_directions_says_dimensions_of_one_s_own_in_the_profile_s_words() -> None:
    own = {"nothing of the kind": Poles(high="Loves tea.", low="Loves coffee.")}
    profile = PROFILE.model_copy(update={"direction": {"nothing of the kind": 0.1, "warm": 0.9}, "poles": own})
    (_, asked) = strategy("directions").condition(profile, "Decline.", 400)
    assert asked["content"].endswith("is:\n- Loves coffee.\n- Warm and friendly.\n\nDecline.")


def test_a_persona_tells_what_has_evidence_and_what_the_person_said() -> None:
    quoted = Evidence(quote="jam", record="ada-0", checked=0.9)
    fond = make_hypothesis("fond of jam").model_copy(update={"weight": 0.2, "evidence": [quoted]})
    shy = make_hypothesis("shy").model_copy(update={"aspect": "personality", "evidence": [quoted]})
    doubtful = [
        make_hypothesis(f"doubtful {at}").model_copy(update={"evidence": [quoted.model_copy(update=said)]})
        for at, said in enumerate(({"checked": None}, {"checked": 0.75}, {"checked": 0.1}, {"supports": False}))
    ]
    profile = PROFILE.model_copy(update={"hypotheses": [*PROFILE.hypotheses, *doubtful, fond, shy]})
    (system, asked) = strategy("persona").condition(profile, "Decline.", 400)
    assert system["content"] == (
        "About the person: “No emoji, please.” (in their own words) Is shy.\n\nWhat they like: Is fond of jam."
    )
    assert asked == BARE[0]


def test_a_scoped_statement_is_said_where_the_prompt_falls_under_it() -> None:
    quoted = [Evidence(quote="jam", record="ada-0", checked=0.9)]
    only = make_hypothesis("solemn").model_copy(update={"weight": 0.5, "scope": "declin, refus", "evidence": quoted})
    profile = Profile(user="ada", hypotheses=[only])
    for name in ("verified", "persona", "hypotheses"):
        assert "Is solemn." in str(strategy(name).condition(profile, "Décline? No: DECLINE.", 400))
        assert strategy(name).condition(profile, "Accept.", 400) == [{"role": "user", "content": "Accept."}]
        assert "Is solemn." not in str(strategy(name).condition(profile, "Accept.", 400))


def test_verified_says_what_was_kept_the_surest_first() -> None:
    turns = strategy("verified").condition(PROFILE, "Decline.", 400)
    manner = "Write as a person like this:\n- No emoji, please.\n- Is blunt.\n- Is fond of jam."
    manner += "\n\nDecline."
    assert turns[0] == {"role": "system", "content": ""}
    assert turns[-1] == {"role": "user", "content": manner}
    assert turns[-2]["content"] == jam_sample(0).text
    assert "tall" not in str(turns)


def test_the_budget_is_spent_on_whole_things() -> None:
    tight = strategy("verified").condition(PROFILE, "Decline.", 6)
    assert tight[-1]["content"].startswith("Write as a person like this:\n- No emoji, please.\n- Is blunt.\n\n")
    assert len(tight) == 2


def test_figures_are_for_people_and_manners_for_models() -> None:
    measured = make_hypothesis("m", "measured").model_copy(
        update={"statement": "Writes long sentences: about 38 words, where most people write 23.", "weight": 0.5}
    )
    (_, asked) = strategy("verified").condition(Profile(user="ada", hypotheses=[measured]), "Decline.", 400)
    assert asked["content"].startswith("Write as a person like this:\n- Writes long sentences.\n\n")


def test_a_prompt_is_never_cut() -> None:
    prompt = "word " * 1000
    for name in STRATEGIES:
        assert strategy(name).condition(PROFILE, prompt, 10)[-1]["content"].endswith(prompt)


def test_an_unknown_strategy() -> None:
    with pytest.raises(InputError, match="no strategy 'best'") as caught:
        strategy("best")
    assert "directions, few-shot, hypotheses, none, persona, verified" in caught.value.remedy


def test_long_examples_are_cut_so_that_two_are_shown() -> None:
    long = [" ".join(["Word after word it goes on."] * 100) for _ in range(3)]
    person = Profile(user="ada", examples=[Sample(user="ada", text=f"{n}. {text}") for n, text in enumerate(long)])
    turns = strategy("few-shot").condition(person, "Go on.", 400)
    shown = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    assert [text[:2] for text in shown] == ["1.", "0."], "the best example stands last"
    assert all(150 < len(text.split()) <= 200 and text.endswith(".") for text in shown)
    assert sum(len(turn["content"].split()) for turn in turns[:-1]) <= 400


def test_texts_without_spaces_are_counted_by_their_characters() -> None:
    texts = [Sample(user="li", text="我们去河边等了一个小时，天气很冷。" * 20) for _ in range(9)]
    turns = strategy("few-shot").condition(Profile(user="li", examples=texts), "写信。", 400)
    said = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    assert said and sum(map(len, said)) <= 400


def test_an_example_whose_prompt_takes_all_the_room_is_left_out() -> None:
    long = Sample(user="ada", prompt="Say it again. " * 100, text="No, and no again.")
    short = Sample(user="ada", prompt="Come?", text="I will not come, thank you.")
    turns = strategy("few-shot").condition(Profile(user="ada", examples=[long, short]), "Decline.", 400)
    assert [turn["content"] for turn in turns if turn["role"] == "assistant"] == [short.text]
