"""An adapter's folder is whole or it is not opened."""

from __future__ import annotations

import json
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


def test_a_manifest_names_no_file_elsewhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    sums = json.loads((folder / "manifest.json").read_text())
    sums["sha256"]["../../secret"] = "0"
    (folder / "manifest.json").write_text(json.dumps(sums))
    with pytest.raises(TrainingError, match=r"secret of the adapter in .* is missing"):
        open_adapter(folder)
