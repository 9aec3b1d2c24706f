"""``hyperalign profile set``, ``flip`` and ``forget`` on a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hyperalign.cli.profile import app
from hyperalign.errors import InputError, NotFoundError
from hyperalign.profile import Evidence
from hyperalign.records import Sample
from hyperalign.store import Store
from tests.hyperalign.cli.test_profile import refused, run, store
from tests.hyperalign.example_people import profile

__all__ = ["store"]  # the fixture


def test_leanings_are_set_and_flipped(store: Path) -> None:
    before = Store(store).load("ada")
    assert "version 2" in run("set", "ada", "warm=0.9", "brief=0.2")
    now = Store(store).load("ada")
    assert {"space-warm", "space-brief"} <= {each.id for each in now.hypotheses}
    assert now.direction["warm"] == 0.9
    run("flip", "ada", "warm")
    assert Store(store).load("ada").direction["warm"] == pytest.approx(0.1)
    assert Store(store).load("ada", 1) == before, "earlier versions stay"
    refused(InputError, "set", "ada", "warm")
    refused(InputError, "set", "ada", "warm=very")
    refused(InputError, "set", "ada", "wram=0.9")
    refused(NotFoundError, "flip", "ada", "nothing")
    refused(NotFoundError, "set", "nobody", "warm=0.9")


def test_a_forgotten_record_is_in_no_version_run_or_file(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hyperalign.runs import RunFolder

    monkeypatch.setenv("HYPERALIGN_DATA", str(tmp_path / "data"))
    secret = "The quince tree behind the mill is where I hid it."
    with Store(store) as opened:
        opened.add_records([Sample(user="ada", id="ada-secret", text=secret)])
        (said, *_) = opened.load("ada").hypotheses
        alone = said.model_copy(
            update={"id": "free-q", "evidence": [Evidence(quote="quince tree", record="ada-secret")], "test": None}
        )
        found = profile()
        rests = found.provenance.model_copy(update={"records": [*found.provenance.records, "ada-secret"]})
        opened.save(found.model_copy(update={"hypotheses": [*found.hypotheses, alone], "provenance": rests}))
        opened.save(found.model_copy(update={"dropped": [*found.dropped, alone], "provenance": rests}))
    run_folder = RunFolder("fit", "ada", {"records": ["ada-secret"]})
    run_folder.write("candidates.json", secret)
    other = RunFolder("fit", "ada", {"records": ["another"]})
    told = json.loads(run("forget", "ada", "ada-secret", "--yes", "--json"))
    assert told["versions"] == [2, 3]
    assert told["runs"] == 1
    assert not run_folder.path.exists()
    assert other.path.exists()
    run("export", "ada", "--out", str(tmp_path / "bundle.json"))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"quince" not in path.read_bytes(), path
    refused(NotFoundError, "forget", "ada", "ada-secret", "--yes")


def test_a_forgotten_hypothesis_is_named(store: Path) -> None:
    (first, *_) = Store(store).load("ada").hypotheses
    said = run("forget", "ada", first.id, "--yes")
    assert "Forgot the hypothesis in 1 version" in said
    assert f"gone: {first.statement}" in said
    assert first.id not in {each.id for each in Store(store).load("ada").hypotheses}
    assert CliRunner().invoke(app, ["forget", "ada", "x"], input="n\n").exit_code == 1


def test_what_an_earlier_version_alone_said_is_not_found_again_either(store: Path) -> None:
    with Store(store) as opened:
        found = opened.load("ada")
        (first, *rest) = found.hypotheses
        opened.save(found.model_copy(update={"hypotheses": rest, "dropped": []}))
    run("forget", "ada", first.id, "--yes")
    assert Store(store).load("ada").silenced == [first.id]
    assert first.id in run("show", "ada")
