"""``hyperalign profile set``, ``flip`` and ``forget`` on a real store."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hyperalign.cli.profile import app
from hyperalign.errors import InputError, NotFoundError, ProfileError, StorageError
from hyperalign.profile import Evidence
from hyperalign.records import Sample
from hyperalign.runs import lock_person
from hyperalign.store import Store
from tests.hyperalign.cli.test_profile import editor, refused, run, store
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


@pytest.mark.parametrize("command", [("set", "ada", "warm=0.9"), ("flip", "ada", "warm")], ids=["set", "flip"])
def test_what_a_fit_saves_meanwhile_is_not_lost(store: Path, command: tuple[str, ...]) -> None:
    run("set", "ada", "warm=0.7")
    with ThreadPoolExecutor(1) as alone:
        with lock_person("ada"), Store(store) as opened:
            said = alone.submit(run, *command)
            with pytest.raises(TimeoutError):
                said.result(timeout=1)
            fitted = opened.load("ada")
            opened.save(fitted.model_copy(update={"stated": ["I walk to work."]}))
        said.result(timeout=30)
    now = Store(store).load("ada")
    assert now.stated == ["I walk to work."]
    assert now.direction["warm"] == pytest.approx(0.9 if command[0] == "set" else 0.3)


def test_what_was_saved_while_the_editor_was_open_is_not_lost(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(
        tmp_path,
        monkeypatch,
        f"from hyperalign.store import Store\nstore = Store({str(store)!r})\n"
        "store.save(store.load('ada').model_copy(update={'stated': ['I walk to work.']}))\n"
        "data['stated'] = ['I take the bus.']\npath.write_text(json.dumps(data))\n",
    )
    error = refused(ProfileError, "edit", "ada")
    assert Store(store).load("ada").stated == ["I walk to work."]
    kept = Path(error.remedy.rpartition("--file ")[2])
    run("edit", "ada", "--file", kept)
    assert Store(store).load("ada").stated == ["I take the bus."]
    assert len(Store(store).history("ada")) == 3


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


def test_one_damaged_record_keeps_no_other_from_being_forgotten(store: Path) -> None:
    with Store(store) as opened:
        opened.add_records(
            [Sample(user="ada", id="torn", text="A torn one."), Sample(user="ada", id="old", text="Old.")]
        )
        with opened._writer.begin() as connection:
            connection.exec_driver_sql("UPDATE hyperalign_records SET content = '{' WHERE record_id = 'torn'")
    assert json.loads(run("forget", "ada", "old", "--yes", "--json"))["record"]
    assert "torn" in refused(StorageError, "forget", "ada", "torn", "--yes").message
    with Store(store) as opened:
        assert "old" not in {record.id for record in opened.records("ada", skip_damaged=True)}
