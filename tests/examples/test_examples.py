"""The examples run, and show what they say they show."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

import hyperalign as ha
from hyperalign.profile import check_evidence
from hyperalign.programs.hypothesis_tests import HypothesisTest as HypothesisTest
from hyperalign.programs.strategies import Strategy

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
LETTERS = EXAMPLES / "letters" / "ada"


def loaded(name: str) -> ModuleType:
    source = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert source is not None and source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return module


def test_parts_from_outside_find_what_sets_each_person_apart(capsys: pytest.CaptureFixture[str]) -> None:
    loaded("your_own_parts").main()
    found = dict(re.findall(r"^(\w+): \[(.*)\]$", capsys.readouterr().out, re.MULTILINE))
    assert found == {
        "ada": "'Joins clauses with semicolons.'",
        "bruno": "'Gives figures.'",
        "chiara": "'Adds asides in parentheses.', 'Asks questions.'",
    }


def test_parts_from_outside_fit_the_seams_by_shape() -> None:
    parts = loaded("your_own_parts")
    test: HypothesisTest = parts.MarksTest()
    strategy: Strategy = parts.Afterword()
    profile = ha.Profile(user="ada", hypotheses=[parts.HYPOTHESES[3].model_copy(update={"weight": 0.9})])
    assert test.applies(parts.HYPOTHESES[0])
    assert "semicolons" in strategy.condition(profile, "Decline.", 40)[-1]["content"]
    assert strategy.condition(ha.Profile(user="ada"), "Decline.", 40) == [{"role": "user", "content": "Decline."}]
    # The same object is taken where a strategy is named.
    assert (
        ha.Personalizer(strategy=strategy).generate.messages(profile, "Decline.")[-1]["content"].startswith("Decline.")
    )
    texts = [record.text for record in ha.read_records([LETTERS], user="ada").records if isinstance(record, ha.Sample)]
    assert parts.marks_off(texts[0], texts) < parts.marks_off("Why? When? Where? (Or who?) 1 2 3", texts)


def test_a_program_of_ones_own_is_measured(tmp_path: Path) -> None:
    likes = {"ada": ("marmalade", "oil"), "bob": ("oil", "marmalade"), "cal": ("rain", "sun")}
    path = tmp_path / "pairs.jsonl"
    with path.open("w") as file:
        for user, (taken, left) in likes.items():
            for number in range(8):
                said = {"chosen": f"Of {taken}, {number}.", "rejected": f"Of {left}, {number}."}
                file.write(json.dumps({"user": user, "prompt": f"What of {number}?", **said}) + "\n")
    result = loaded("measure_a_program").measure(str(path))
    program = result.summary["conditions"]["program"]
    assert program["accuracy"]["mean"] == 1.0
    assert program["own_over_other"]["mean"] > 0.5
    assert (result.folder / "report.html").exists()


@pytest.mark.timeout(900)  # minutes where other work holds the processors, half a minute where none does
def test_first_steps_on_a_real_model(smollm_path: Path) -> None:
    assert smollm_path.is_file()
    model = "local:smollm2-135m-instruct"
    profile, answer = loaded("first_steps").first_steps(str(LETTERS), "ada", "Decline the invitation.", model)
    records = ha.read_records([LETTERS], user="ada").records
    assert answer.strip()
    assert profile.user == "ada"
    assert sorted(profile.provenance.records) == sorted(record.id for record in records)
    assert profile.provenance.scorer.startswith("smollm2-135m-instruct-b179c952")
    assert len(profile.hypotheses) + len(profile.dropped) > 10
    assert all(hypothesis.dropped_because for hypothesis in profile.dropped)
    assert all(check_evidence(hypothesis.evidence, records) for hypothesis in profile.hypotheses)


def test_the_examples_run_as_they_say() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "your_own_parts.py")],
        capture_output=True,
        text=True,
        env=os.environ,
        check=True,
    )
    assert done.stdout.startswith("ada: ")
    assert done.stderr == ""


def test_the_page_of_the_space_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (EXAMPLES.parent / "docs" / "space.md").read_text(encoding="utf-8")
    (own,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "kitchen.json").write_text(own)
    assert [dimension.name for dimension in ha.load_space(tmp_path / "kitchen.json").dimensions] == ["sparing", "exact"]
    programs = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        exec(compile(program, "docs/space.md", "exec"), {})


def test_the_page_of_the_space_counts_its_groups() -> None:
    page = (EXAMPLES.parent / "docs" / "space.md").read_text(encoding="utf-8")
    said = {group: int(count) for group, count in re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)}
    assert said == Counter(dimension.group for dimension in ha.load_space().dimensions)
