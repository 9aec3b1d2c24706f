"""What is worth testing: manner in writing; in choices the subjects that come up again, then manner, then the rest."""

from __future__ import annotations

from hyperalign.programs.candidates import MAX_TESTED, from_dimensions, proposal_split, records_to_read, shortlist
from hyperalign.programs.selection import Rules
from hyperalign.records import Edit, Pair
from hyperalign.space import Dimension, Space, load_space
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


def test_what_features_read_is_tested_whole_and_of_the_rest_what_is_not_shipped() -> None:
    choices = [CHOICE, OF_TEA, AGAIN]
    found = [each.hypothesis.id for each in from_dimensions(SPACE, choices, {"warm", "brief", "weddings", "age"})]
    assert {"space-warm", "space-brief"} <= set(found)
    assert "space-weddings" not in found, "no choice touches its subject"
    assert "space-age" not in found, "an answer's manner says nothing of age"
    assert set(found) == {"space-warm", "space-brief"}, "of the shipped space a model reads nothing else"
    mine = SPACE.dimensions[0].model_copy(update={"name": "mine", "words": [], "shows_in": "both", "group": "own"})
    wider = SPACE.model_copy(update={"dimensions": [*SPACE.dimensions, mine]})
    assert "space-mine" in {each.hypothesis.id for each in from_dimensions(wider, choices, {"warm"})}
    every = from_dimensions(SPACE, choices, set(names(SPACE)), limit=4)
    assert {"space-warm", "space-music"} <= {each.hypothesis.id for each in every}
    assert not {"space-weddings", "space-age"} & {each.hypothesis.id for each in every}


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
