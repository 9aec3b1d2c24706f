"""``hyperalign judge``: whose choice, which answer, and what decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.profile import Profile
from hyperalign.store import Store

from ..people import profile
from .conftest import Run

ASKED = ["judge", "Decline the dinner.", "--answer", "No.", "--answer", "I would have loved to, dear, but alas!"]


@pytest.fixture
def ada() -> Profile:
    """Ada's profile, saved in the test's own store."""
    with Store() as store:
        store.save(profile())
    return profile()


def test_a_real_model_judges(run: Run, ada: Profile, smollm_path: Path) -> None:
    pytest.importorskip("cyllama", reason="log-probabilities of the embedded model need cyllama")
    assert smollm_path.is_file()
    asked = [*ASKED, "--user", "ada", "--scorer", "local:smollm2-135m-instruct"]
    found = json.loads(run(*asked, "--json").out)
    assert found["user"] == "ada"
    assert sum(found["probabilities"]) == pytest.approx(1)
    assert found["probabilities"][found["best"]] == max(found["probabilities"])
    assert {each["statement"] for each in found["decided"]} <= {h.statement for h in ada.hypotheses}
    shown = run(*asked).out.splitlines()
    assert sum(line.startswith(">") for line in shown) == (1 if found["decided"] else 0)
    assert "I would have loved to, dear, but alas!" in shown[1]


def test_where_nothing_has_held_that_is_said(run: Run, tmp_path: Path, smollm_path: Path) -> None:
    pytest.importorskip("cyllama", reason="log-probabilities of the embedded model need cyllama")
    assert smollm_path.is_file()
    empty = tmp_path / "empty.json"
    empty.write_text(Profile(user="ada").to_json())
    done = run(*ASKED, "--profile", str(empty), "--scorer", "local:smollm2-135m-instruct")
    assert "all answers are equally probable" in done.err
    assert done.out.count(" 50%") == 2


def test_it_must_be_said_whose_choice_it_is(run: Run, ada: Profile) -> None:
    for whose in ([], ["--user", "ada", "--profile", "x.json"]):
        done = run(*ASKED, *whose)
        assert done.code in {3, 4}
        assert "--user" in done.err or "x.json" in done.err


def test_without_log_probabilities_it_says_what_to_name(run: Run, ada: Profile) -> None:
    done = run(*ASKED, "--user", "ada", "--scorer", "none")
    assert done.code == 3
    assert "--scorer local:NAME" in done.err
