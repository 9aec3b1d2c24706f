"""``hyperalign distill`` from the command line to a sealed adapter, with a student that really trains."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hyperalign.backends.distill.adapters import open_adapter
from hyperalign.backends.distill.recipe import Hardware
from hyperalign.backends.distill.student import Student
from tests.backends.distill.small_students import needs_train
from tests.backends.distill.test_distill import ADA, PROMPTS, answer
from tests.fixtures.odd_server import Odd
from tests.fixtures.scripted_server import ScriptedServer
from tests.hyperalign.cli.conftest import Run, run

__all__ = ["run"]  # the fixture

pytestmark = [needs_train, pytest.mark.filterwarnings("default")]


def test_a_distillation_from_its_estimate_to_its_losses(
    run: Run,
    scripted_server: ScriptedServer,
    student: Student,
    isolated_folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The command names its student as a user does, and finds the checkpoint that is there already.
    (isolated_folders / "cache" / "checkpoints").symlink_to(student.path.parent)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_API_BASE", scripted_server.base)
    # A teacher may answer in any shape.
    scripted_server.default = Odd(answer).step
    (tmp_path / "ada.json").write_text(ADA.to_json())
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    (tmp_path / "accelerate.json").write_text('{"even_batches": false}')
    asked = ["--profiles", "ada.json", "--prompts", "prompts.txt", "--teacher", "openai/any", "--out", "letters"]
    expected = run("distill", *asked, "--dry-run")
    assert expected.code == 0, expected.err
    assert "GiB" in expected.out
    assert "That is more than" not in expected.out
    with monkeypatch.context() as small:
        small.setattr("hyperalign.backends.distill.recipe.find_hardware", lambda: Hardware("cpu", False, 2**27))
        assert "That is more than the 0.1 GiB here: choose a smaller student" in run("distill", *asked, "--dry-run").out
    calls = [
        int(re.search(r"teacher: ([\d,]+) call", run("distill", *asked, "--dry-run", *more).out)[1].replace(",", ""))
        for more in ([], ["--effort", "medium"], ["--effort", "high"])
    ]
    assert [each / calls[0] for each in calls] == [1, 4, 7]
    for more in (["--drafts", "2"], ["--method", "context"]):
        refused = run("distill", *asked, "--effort", "high", *more)
        assert refused.code == 3
        assert f"--effort high does not go with {' '.join(more)[:8]}" in refused.err
    assert not scripted_server.requests
    done = run("distill", *asked, "--max-steps", "1", "--accelerate", "accelerate.json")
    assert done.code == 0, done.err
    assert "taught it in 1 steps" in done.out
    assert re.search(r"loss \d\.\d{3} at first, \d\.\d{3} at last, \d\.\d{3} at best on prompts kept", done.out)
    assert 'Next: hyperalign adapters gate "letters"' in done.out
    card = open_adapter(tmp_path / "letters").card
    assert card.recipe["accelerate"] == {"even_batches": False}
    assert 2**28 < int(str(card.training["peak_memory"])) < 2**35
    (tmp_path / "accelerate.json").write_text("[]")
    refused = run("distill", *asked, "--accelerate", "accelerate.json")
    assert refused.code == 3
    assert "no JSON object" in refused.err
    assert json.loads((tmp_path / "letters" / "training" / "lengths.json").read_text())["rows"] > 0
