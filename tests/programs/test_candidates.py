"""What is worth testing: manner in writing; in choices the subjects that come up again, then manner, then the rest."""

from __future__ import annotations

from hyperalign.programs.candidates import MAX_TESTED, from_dimensions, proposal_split, records_to_read, shortlist
from hyperalign.programs.reward import Reward
from hyperalign.programs.selection import Rules
from hyperalign.records import Edit, Pair
from hyperalign.space import Dimension, Space, load_space
from tests.programs.rewards import LONG, SHORT
from tests.programs.toys import jam_sample

SPACE = load_space()
CHOICE = Pair(user="ada", prompt="Say something.", chosen="I play songs all day.", rejected="A concert bores me.")
AGAIN = CHOICE.model_copy(update={"id": "again", "prompt": "And now?"})
OF_TEA = Pair(user="ada", prompt="What now?", chosen="Tea, please.", rejected="Nothing, thank you.")


def names(space: Space) -> list[str]:
    return [dimension.name for dimension in space.dimensions]


def test_writing_is_tested_for_what_shows_in_writing() -> None:
    short = shortlist(SPACE, [jam_sample(0), CHOICE])
    assert len(short.dimensions) == MAX_TESTED == 12
    assert {dimension.group for dimension in short.dimensions} == {"manner"}


def test_choices_are_tested_for_the_subjects_that_come_up_again_and_for_manner() -> None:
    short = shortlist(SPACE, [CHOICE, OF_TEA, AGAIN])
    assert len(short.dimensions) == MAX_TESTED
    assert "music" in names(short)
    assert "weddings" not in names(short)
    assert [each for each in names(SPACE) if each in names(short)] == names(short), "in their own order"
    assert {"warm", "brief", "formal"} <= set(names(short))


def test_dimensions_in_which_the_reward_leans_are_tested_on_records_that_do_not_show_it() -> None:
    choices = [
        CHOICE.model_copy(update={"id": f"c{at}", "chosen": f"{SHORT} {at}", "rejected": f"{LONG} {at}"})
        for at in range(16)
    ]
    reward, shown = Reward.fit(choices), choices[::2]
    found = from_dimensions(SPACE, choices, choices, shown, reward)
    apart = {each.hypothesis.id: each.made_from for each in found if each.made_from}
    assert 1 <= len(apart) <= 3
    assert set(apart.values()) == {frozenset(f"c{at}" for at in range(0, 16, 2))}
    usual = {f"space-{name}" for name in names(shortlist(SPACE, choices, MAX_TESTED - 3))}
    assert {each.hypothesis.id for each in found} == usual | set(apart)
    few = from_dimensions(SPACE, choices, choices[:15], shown, reward)
    assert [each.made_from for each in few] == [frozenset()] * MAX_TESTED, "seven choices that agree may be chance"


def test_the_newest_records_are_read_and_those_first_that_made_no_hypothesis() -> None:
    records = [jam_sample(at) for at in range(20)]
    split = proposal_split(records, Rules())
    assert [record.id for record in split] == [f"ada-{at}" for at in range(0, 20, 2)]
    read = records_to_read(records, split[-3:], 5)
    assert [record.id for record in read] == ["ada-12", "ada-13", "ada-15", "ada-17", "ada-19"]
    assert records_to_read(records[:4], split, 5) == records[:4]
    assert proposal_split([CHOICE] * 5, Rules()) == [], "too few would be left to test it"


def test_a_subject_that_is_met_once_is_not_worth_testing() -> None:
    assert "music" not in names(shortlist(SPACE, [CHOICE]))
    assert "music" not in names(shortlist(SPACE, [CHOICE, OF_TEA, OF_TEA, OF_TEA, AGAIN])), "in two of five"


def test_which_answer_was_taken_plays_no_part() -> None:
    turned = CHOICE.model_copy(update={"chosen": CHOICE.rejected, "rejected": CHOICE.chosen})
    assert shortlist(SPACE, [CHOICE, AGAIN]) == shortlist(SPACE, [turned, AGAIN])
    edit = Edit(user="ada", prompt="Say something.", draft=CHOICE.rejected, edited=CHOICE.chosen)
    assert shortlist(SPACE, [edit, AGAIN]) == shortlist(SPACE, [CHOICE, AGAIN])


def test_dimensions_of_ones_own_come_first() -> None:
    tea = Dimension(name="tea", aspect="preference", source="ours", high="Drinks tea.", low="Drinks coffee.")
    mine = Space(name="mine", dimensions=[*SPACE.dimensions, tea])
    assert names(shortlist(mine, [CHOICE, AGAIN], limit=2)) == ["music", "tea"]
    assert "tea" in names(shortlist(mine, [jam_sample(0)]))
