"""All records of a task's people, for priors: the same people in the same splits as the cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperalign.evals.cases import Case, PeopleTask, Split, choose_people, split_of, texts_in
from hyperalign.evals.tasks import load_task
from hyperalign.evals.tasks.c50 import C50
from hyperalign.evals.tasks.squality import Squality
from hyperalign.evals.tasks.traits import Traits
from hyperalign.evals.tasks.xstest import XSTest
from hyperalign.records import Edit, Pair, Record, Sample

from .test_writers import articles, statements, stories

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
SPLITS: tuple[Split, Split] = ("dev", "test")


def check(task: PeopleTask, kind: type[Record]) -> dict[str, list[Record]]:
    """The people of a task, once they are known to fit its cases."""
    cases = task.cases(seed=7)
    assert cases
    everybody = {person: list(theirs) for person, theirs in task.people().items()}
    parts = {split: task.people(split=split) for split in SPLITS}
    assert {**parts["dev"], **parts["test"]} == everybody
    assert len(parts["dev"]) + len(parts["test"]) == len(everybody)
    for case in cases:
        assert case.person in parts[case.split]
        assert texts_in(case.records) <= texts_in(everybody[case.person]) or kind is Pair
    assert all(isinstance(record, kind) for theirs in everybody.values() for record in theirs)
    return everybody


def test_a_split_is_decided_by_a_cluster_s_name() -> None:
    case = Case(id="1", user="ada", cluster="ada", prompt="?", records=())
    assert case.split == split_of("ada")
    people = {name: name for name in map(str, range(40))}
    parts = [choose_people(people, split) for split in SPLITS]
    assert parts[0]
    assert parts[1]
    assert {**parts[0], **parts[1]} == choose_people(people, None) == people
    assert all(split_of(name) == "dev" for name in parts[0])


def test_the_people_of_made_up_files(tmp_path: Path) -> None:
    writers = check(Squality(stories(tmp_path / "a.jsonl"), records=4, cases_each=3), Sample)
    assert {writer: len(theirs) for writer, theirs in writers.items()} == {f"writer-{w}": 12 for w in range(3)}
    answers = [record for theirs in writers.values() for record in theirs if "Question 1?" in (record.prompt or "")]
    assert {record.user for record in answers} == set(writers), "others' answers have the same prompt"
    authors = check(C50(articles(tmp_path / "c", authors=4), records=4, cases_each=2), Sample)
    assert {author: len(theirs) for author, theirs in authors.items()} == {f"AuthorO{a}": 5 for a in range(4)}
    # What others answered about another trait is no population.
    assert not isinstance(Traits(statements(tmp_path / "t")), PeopleTask)
    assert not isinstance(XSTest(tmp_path), PeopleTask)


@pytest.mark.parametrize(
    ("name", "place", "kind", "people", "records"),
    [
        ("c50", "reuters_c50", Sample, 30, 1500),
        ("jester", "jester5k", Pair, 700, 35000),
        ("popquorn", "popquorn_emails", Edit, 113, 1128),
        ("squality", "squality/v1-3/txt", Sample, 22, 1500),
        ("ukpconvarg", "ukpconvarg1", Pair, 73, 16796),
    ],
)
def test_the_published_people(name: str, place: str, kind: type[Record], people: int, records: int) -> None:
    if not (SHARED / place).exists():
        pytest.skip(f"the published data {place} are no part of the project, and are not here")
    task = load_task(name, data=SHARED / place)
    assert isinstance(task, PeopleTask)
    found = check(task, kind)
    assert (len(found), sum(map(len, found.values()))) == (people, records)
