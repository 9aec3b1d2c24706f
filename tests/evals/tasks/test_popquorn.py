"""Corrected mails: own rewrite against somebody else's of the same mail, from the person's other mails only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case, texts_in
from hyperalign.evals.tasks import load_task
from hyperalign.evals.tasks.popquorn import Popquorn, PopquornWriting
from hyperalign.records import Edit

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "popquorn_emails"

MAILS: Mapping[str, Sequence[int]] = {"ada": (1, 2, 3, 4), "bob": (3, 4, 5, 6), "cal": (4, 7)}


def row(user: str, mail: int, **changed: Any) -> dict[str, Any]:
    told = {"user": user, "mail": mail, "draft": f"Send me report {mail}.", "edited": f"{user} kindly asks for {mail}."}
    return {**told, **changed}


def write(file: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "rewrites.jsonl", [row(user, mail) for user, mails in MAILS.items() for mail in mails])


def asked(cases: Sequence[Case]) -> dict[tuple[str, str], Case]:
    return {(case.user, case.chosen): case for case in cases}


def test_each_mail_that_somebody_else_rewrote_is_a_case(file: Path) -> None:
    cases = Popquorn(file, records=3).cases(seed=7)
    assert sorted(asked(cases)) == [
        (user, f"{user} kindly asks for {mail}.") for user in ("ada", "bob") for mail in (3, 4)
    ]
    for case in cases:
        mail = case.chosen[-2]
        assert f"Send me report {mail}." in case.prompt
        assert case.rejected.endswith(f" asks for {mail}.")
        assert case.rejected != case.chosen
        edits = [record for record in case.records if isinstance(record, Edit)]
        assert len(edits) == 3
        assert {edit.user for edit in edits} == {case.user}
        assert mail not in {edit.edited[-2] for edit in edits}
        assert all(edit.draft in edit.prompt for edit in edits)
    assert Popquorn(file.parent, records=3).cases(seed=7) == cases, "the folder serves too"
    assert Popquorn(file, records=1).cases(seed=7) != Popquorn(file, records=1).cases(seed=8)


def test_only_the_rejected_answer_depends_on_the_others(file: Path) -> None:
    before = Popquorn(file, records=2).cases(seed=7)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    write(file, [*(row(user, mail) for user in ("aaa", "zed") for mail in (1, 3, 4, 9)), *reversed(rows)])
    after = asked(Popquorn(file, records=2).cases(seed=7))
    for case in before:
        now = after[case.user, case.chosen]
        assert (now.records, now.prompt, now.split) == (case.records, case.prompt, case.split)


def test_no_record_holds_an_answer(file: Path) -> None:
    same = [
        row("ada", 1, edited="Thanks!"),
        row("ada", 3, edited="Thanks!"),
        row("bob", 3, edited="Fine."),
        row("ada", 8),
    ]
    (case,) = [case for case in Popquorn(write(file, same), records=1).cases() if case.chosen == "Thanks!"]
    assert not case.answers & texts_in(case.records)
    # Bob's rewrite of mail 3 is what Ada wrote elsewhere, so it would be known.
    known = [row("ada", 1, edited="Fine."), row("ada", 3), row("bob", 3, edited="Fine.")]
    assert Popquorn(write(file, known), records=1).cases() == []
    alike = [row("ada", 1), row("ada", 3, edited="Fine."), row("bob", 3, edited=" Fine.\n")]
    assert Popquorn(write(file, alike), records=1).cases() == [], "two equal rewrites are no choice"


def test_the_same_mails_are_to_be_rewritten(file: Path) -> None:
    choices, writing = Popquorn(file, records=3).cases(seed=7), PopquornWriting(file, records=3).cases(seed=7)
    assert len(writing) == len(choices) == 4
    for choice, case in zip(choices, writing, strict=True):
        assert (case.reference, case.rejected, case.chosen) == (choice.chosen, choice.rejected, "")
        assert (case.prompt, case.draft, case.records, case.split) == (
            choice.prompt,
            choice.draft,
            choice.records,
            choice.split,
        )
        assert case.draft and case.draft in case.prompt
        assert case.reference not in case.prompt
    assert (PopquornWriting.kind, Popquorn.kind) == ("writing", "choice")
    assert PopquornWriting(file).people() == Popquorn(file).people()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (row("ada", 2, edited=" "), r":2: edited"),
        (row("../ada", 2), r":2: user"),
        ({"user": "ada", "mail": 2, "draft": "Send it."}, r":2: edited"),
    ],
)
def test_a_bad_row_is_named(wrong: Mapping[str, Any], said: str, file: Path) -> None:
    with pytest.raises(InputError, match=r"rewrites\.jsonl" + said):
        Popquorn(write(file, [row("ada", 1), wrong])).cases()
    with pytest.raises(InputError, match=r"nothing\.jsonl"):
        Popquorn(file.parent / "nothing.jsonl").cases()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the corrected mails are no part of the project, and are not here")
def test_the_published_mails() -> None:
    cases = load_task("popquorn", data=SHARED).cases(seed=7)
    assert len({case.id for case in cases}) == len(cases) == 408
    assert len({case.user for case in cases}) == 109
    assert Counter(len(case.records) for case in cases) == {9: 408}
    assert not any(case.answers & texts_in(case.records) for case in cases)
    assert 0.4 < sum(case.split == "dev" for case in cases) / len(cases) < 0.6
