"""An adapter's folder is whole or it is not opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperalign.backends.distill.adapters import Card, Verdict, find_adapters, open_adapter, update_card, write_adapter
from hyperalign.errors import NotFoundError, TrainingError

CARD = Card(
    name="letters",
    base="local:smollm2-135m-instruct",
    base_sha256="b1",
    base_license="Apache-2.0",
    method="sft",
    scope="person",
    users=("ada",),
    profiles={"ada": "p1"},
    teacher="openai/any",
    strategy="verified",
    traces=30,
    created="2026-11-22T00:00:00+00:00",
    version="0.1.0",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "adapter_model.safetensors").write_bytes(b"12345678")
    (weights / "adapter_config.json").write_text("{}")
    (weights / "chat_template.jinja").write_text("{{ messages }}")
    write_adapter(weights, tmp_path / "adapters" / "letters", CARD)
    return tmp_path / "adapters" / "letters"


def test_a_whole_one_is_opened_and_found(folder: Path) -> None:
    adapter = open_adapter(folder)
    assert adapter.card == CARD
    assert adapter.served_name == f"letters-{adapter.sha256[:8]}"
    assert find_adapters(folder.parent) == find_adapters(folder) == [folder]
    said = (folder / "README.md").read_text()
    assert "Apache-2.0" in said
    assert "**Gate**: not run" in said


def test_a_verdict_is_written_on_the_card(folder: Path) -> None:
    card = CARD.model_copy(update={"gate": Verdict(passed=False, reasons=("it writes worse",))})
    assert update_card(folder, card).card.gate == card.gate
    assert "  - it writes worse" in (folder / "README.md").read_text()


def test_what_was_changed_is_missing_or_half_made_is_refused(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(b"12345679")
    with pytest.raises(TrainingError, match=r"adapter_model\.safetensors .* does not match its manifest"):
        open_adapter(folder)
    weights.unlink()
    with pytest.raises(TrainingError, match="is missing"):
        open_adapter(folder)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(TrainingError, match="can't be read"):
        open_adapter(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(TrainingError, match="is incomplete"):
        open_adapter(folder)
    with pytest.raises(NotFoundError):
        open_adapter(folder.parent)


def rewrite(folder: Path, change: Callable[[dict[str, str]], object], *, seal: bool) -> None:
    """Change the list in a manifest, with its digest or without."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest["sha256"])
    if seal:
        listed = json.dumps(manifest["sha256"], sort_keys=True).encode()
        manifest["digest"] = hashlib.sha256(listed).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_manifest_names_no_file_elsewhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    rewrite(folder, lambda listed: listed.update({"../../secret": "0"}), seal=True)
    with pytest.raises(TrainingError, match="names a file elsewhere"):
        open_adapter(folder)


@pytest.mark.parametrize("name", ["adapter_model.bin", "modeling_letters.py", ".hidden", "chat_templates/other.jinja"])
def test_what_the_manifest_does_not_list_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("anything")
    said = rf"{name.partition('/')[0]} of the adapter in .* is not in its manifest"
    with pytest.raises(TrainingError, match=said):
        open_adapter(folder)
    with pytest.raises(TrainingError, match=said):
        update_card(folder, CARD)


def test_training_files_and_what_a_killed_process_left_are_no_part_of_it(folder: Path) -> None:
    (folder / "training").mkdir()
    (folder / "training" / "rows.jsonl").write_text("{}")
    (folder / ".card.json.x1y2z3").write_text("{")
    assert open_adapter(folder).card == CARD


@pytest.mark.parametrize("gone", ["card.json", "README.md", "chat_template.jinja", "adapter_model.safetensors"])
def test_a_cut_manifest_is_refused_with_the_file_or_without(folder: Path, gone: str) -> None:
    rewrite(folder, lambda listed: listed.pop(gone), seal=False)
    with pytest.raises(TrainingError, match="was cut or changed"):
        open_adapter(folder)
    (folder / gone).write_text((folder / gone).read_text().replace("letters", "others"))
    with pytest.raises(TrainingError, match="was cut or changed"):
        open_adapter(folder)
    if gone != "card.json":
        (folder / gone).unlink()
        with pytest.raises(TrainingError, match="was cut or changed"):
            open_adapter(folder)


@pytest.mark.parametrize("key", ["schema", "digest", "sha256"])
def test_a_manifest_without_one_of_its_parts_is_refused(folder: Path, key: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest[key]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TrainingError, match="can't be read"):
        open_adapter(folder)


def test_a_changed_card_is_refused(folder: Path) -> None:
    card = folder / "card.json"
    card.write_text(card.read_text().replace('"traces": 30', '"traces": 31'))
    with pytest.raises(TrainingError, match=r"card\.json .* does not match its manifest"):
        open_adapter(folder)


def test_who_noted_the_digest_can_tell_a_new_manifest(folder: Path) -> None:
    before = open_adapter(folder).digest
    after = update_card(folder, CARD.model_copy(update={"traces": 31}))
    assert after.digest != before
    assert update_card(folder, CARD).digest == before


def test_files_of_the_adapter_before_are_gone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "weights" / "chat_template.jinja").unlink()
    (tmp_path / "weights" / "adapter_model.safetensors").write_bytes(b"other")
    write_adapter(tmp_path / "weights", folder, CARD)
    assert not (folder / "chat_template.jinja").exists()
    assert open_adapter(folder).card == CARD
