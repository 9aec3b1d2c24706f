"""``hyperalign distill``, ``adapters`` and ``serve`` as far as they go without a model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from hyperalign.backends.distill.adapters import Verdict, open_adapter, write_adapter
from hyperalign.profile import Hypothesis, Profile
from tests.backends.distill.test_adapters import CARD

from .conftest import Run

INSTALLED = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "trl", "peft"))


def adapter(root: Path, name: str = "letters", verdict: Verdict | None = None) -> Path:
    weights = root / f".{name}"
    weights.mkdir(parents=True)
    (weights / "adapter_model.safetensors").write_bytes(name.encode())
    (weights / "adapter_config.json").write_text(json.dumps({"r": 8, "base_model_name_or_path": str(root)}))
    write_adapter(weights, root / name, CARD.model_copy(update={"name": name, "gate": verdict}))
    return root / name


def test_adapters_are_listed_shown_and_copied_out(run: Run, tmp_path: Path) -> None:
    passed = Verdict(passed=True, figures={"prompts": 12.0})
    folder = adapter(tmp_path / "adapters", verdict=passed)
    (adapter(tmp_path / "adapters", "torn") / "adapter_model.safetensors").write_bytes(b"x")
    listed = run("adapters", "list", "adapters")
    assert listed.code == 0, listed.err
    assert "passed" in listed.out
    assert "does not match its manifest" in " ".join(listed.out.split())
    shown = run("adapters", "show", folder)
    assert "Apache-2.0" in shown.out
    assert "prompts: 12" in shown.out
    assert json.loads((folder / "manifest.json").read_text())["digest"] in shown.out
    assert json.loads(run("adapters", "show", folder, "--json").out)["users"] == ["ada"]
    assert run("adapters", "export", folder, "--out", "copied").code == 0
    assert open_adapter(tmp_path / "copied").card.name == "letters"
    configured = json.loads((tmp_path / "copied" / "adapter_config.json").read_text())
    assert configured == {"r": 8, "base_model_name_or_path": CARD.base_name}, "not where it was made"
    again = run("adapters", "export", folder, "--out", "copied")
    assert again.code == 3
    assert "is not empty" in again.err


def test_what_is_not_there_and_what_is_not_whole(run: Run, tmp_path: Path) -> None:
    for words in (("list", "none"), ("show", "none"), ("gate", "none"), ("export", "none", "--out", "x")):
        done = run("adapters", *words)
        assert done.code == 4, words
        assert "There is no adapter" in done.err
    (adapter(tmp_path / "a") / "manifest.json").unlink()
    done = run("adapters", "show", "a/letters")
    assert done.code == 5
    assert "is incomplete" in done.err


def test_what_was_not_judged_is_not_served(run: Run, tmp_path: Path) -> None:
    adapter(tmp_path / "a")
    done = run("serve", "--adapters", "a")
    assert done.code == 5
    assert "has not judged" in done.err
    assert "hyperalign adapters gate" in done.err


def test_mistakes_are_named_before_anything_is_loaded(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("Will it rain?\n")
    profile = Profile(user="ada", hypotheses=[Hypothesis(id="h", statement="Short.", aspect="style", weight=0.5)])
    (tmp_path / "ada.json").write_text(profile.to_json())
    given = ("--prompts", "prompts.txt", "--profiles", "ada.json", "--out", "adapters/ada")
    for words, code, said in (
        (("--prompts", "prompts.txt", "--out", "x"), 3, "nobody to distill"),
        (("--prompts", "none.txt", "--profiles", "ada.json", "--out", "x"), 3, "none.txt"),
        (("--prompts", "prompts.txt", "--user", "bob", "--out", "x"), 4, "bob"),
        ((*given, "--scope", "all"), 3, "Choose one of: person, tag, prefix, program"),
        ((*given, "--student", "nowhere"), 5, "no checkpoint in nowhere"),
    ):
        done = run("distill", *words)
        assert done.code == code, (words, done.err)
        assert said in done.err
    assert not (tmp_path / "adapters").exists()


@pytest.mark.skipif(INSTALLED, reason="the 'train' extra is installed: nothing is missing that could be told")
def test_without_the_extra_it_says_how_to_get_it(run: Run, tmp_path: Path, smollm_path: Path) -> None:
    del smollm_path  # fetched by it
    (tmp_path / "prompts.txt").write_text("Will it rain?\n")
    (tmp_path / "ada.json").write_text(Profile(user="ada").to_json())
    done = run("distill", "--prompts", "prompts.txt", "--profiles", "ada.json", "--out", "a")
    assert done.code == 5
    assert "pip install 'hyperalign[train]'" in done.err
