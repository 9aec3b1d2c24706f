"""The embedded encoder on the real SmolLM2."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.backends.models.encoders import DEFAULT_ENCODER, LocalEncoder, local, open_encoder
from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, InputError, MissingExtraError, UnknownModelError
from hyperalign.programs.reward.features import Encoder

# Not importorskip: importing OpenVINO as it comes reports to its makers.
INSTALLED = all(importlib.util.find_spec(name) for name in ("gguf", "openvino", "tokenizers"))
pytestmark = pytest.mark.skipif(not INSTALLED, reason="the 'local' extra is not installed")

PROMPT = "Should I take the job in Lisbon?"
ITEMS = [
    (PROMPT, "Yes, take it! You have wanted this for years, and your sister lives there."),
    (PROMPT, "One should consider remuneration, taxation and the cost of relocation before deciding."),
    (PROMPT, "No."),
    ("", "Bees dance to tell each other where the flowers are. " * 8),
    ("What is <|im_end|> for?", "é 日本語 <|im_end|>"),
]


@pytest.fixture(scope="module")
def encoder(smollm_path: Path) -> Iterator[LocalEncoder]:
    with LocalEncoder(smollm_path, name="smol") as opened:
        yield opened


def apart(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """The largest distance of two rows, relative to their length."""
    return float((np.linalg.norm(left - right, axis=1) / np.linalg.norm(right, axis=1)).max())


def test_it_is_an_encoder(encoder: LocalEncoder) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.name == "smol@20"
    found = encoder.encode(ITEMS)
    assert found.shape == (5, 576)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_texts_do_not_see_each_other(encoder: LocalEncoder) -> None:
    together = encoder.encode(ITEMS)
    alone = np.vstack([encoder.encode([item]) for item in ITEMS])
    assert apart(alone, together) < 1e-2
    assert apart(encoder.encode(ITEMS[::-1] * 2), np.vstack([together[::-1]] * 2)) < 1e-2
    assert np.array_equal(encoder.encode(ITEMS), together)
    # Two texts are much further apart than that.
    assert apart(together[:1], together[1:2]) > 0.1


def test_a_prompt_counts_by_its_end(encoder: LocalEncoder) -> None:
    text, end = "Nobody knows.", "over the hills and far away, " * 90
    found = encoder.encode([(f"Once {end}", text), (f"Twice upon a time {end}", text), ("Why?", text)])
    assert apart(found[:1], found[1:2]) < 1e-2
    assert apart(found[:1], found[2:]) > 5e-2


def test_empty_texts_and_none(encoder: LocalEncoder) -> None:
    budget = Budget()
    encoder._budget = budget
    assert not encoder.encode([(PROMPT, "")]).any()
    assert encoder.encode([]).shape == (0, 576)
    assert budget.spent.calls == 0
    encoder._budget = None


def test_long_texts_are_read_in_windows(encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, request = encoder._loaded or encoder._load()
    monkeypatch.setattr(local, "_WINDOW_TOKENS", 20)
    text = ITEMS[0][1] + ITEMS[3][1]
    windows = local._windows(tokenizer, [(PROMPT, text)])
    tokens = tokenizer.tokens(text)
    assert [token for window in windows for token in window.tokens] == tokens
    assert {len(window.prompt) for window in windows} == {len(windows[0].prompt)}
    sizes = [len(window.tokens) for window in windows]
    assert len(sizes) == -(-len(tokens) // 20)
    assert max(sizes) - min(sizes) <= 1
    mean = np.sum([local._sum_states(request, [window])[0] for window in windows], axis=0) / len(tokens)
    assert apart(encoder.encode([(PROMPT, text)]), mean[np.newaxis]) < 1e-2


def test_waves_hold_windows_of_like_length() -> None:
    lengths = [900, 3, 40, 45, 1500, 30] + [100] * 25
    waves = local._waves([local._Window(item, [7], [7] * (length - 1)) for item, length in enumerate(lengths)])
    assert sorted(window.item for wave in waves for window in wave) == list(range(len(lengths)))
    for wave in waves:
        assert len(wave) == 1 or len(wave) * max(window.length for window in wave) <= 1024
    assert len(waves) < 7


def test_what_is_read_is_booked(smollm_path: Path) -> None:
    budget = Budget(max_calls=2)
    with LocalEncoder(smollm_path, name="smol", layer=1, budget=budget) as encoder:
        first = encoder.encode(ITEMS[:2])
        encoder.close()
        assert np.array_equal(encoder.encode(ITEMS[:2]), first)
        with pytest.raises(BudgetExceededError):
            encoder.encode(ITEMS[:2])
    assert budget.spent.calls == 2
    assert budget.spent.tokens_in > 100
    assert budget.spent.unpriced == 0


def test_layers(smollm_path: Path) -> None:
    for layer in (0, 31):
        with pytest.raises(InputError, match=f"no layer {layer}") as caught:
            LocalEncoder(smollm_path, name="smol", layer=layer)
        assert "1 to 30" in caught.value.remedy


def test_names() -> None:
    with open_encoder(DEFAULT_ENCODER) as default, open_encoder("local:SmolLM2-135M-instruct@7") as seventh:
        assert default.name == "smollm2-135m-instruct-b179c952@20"
        assert seventh.name == "smollm2-135m-instruct-b179c952@7"
    with pytest.raises(InputError, match="'deep' is not the number"):
        open_encoder("local:smollm2-135m-instruct@deep")
    with pytest.raises(InputError, match="no layer 99"):
        open_encoder("local:smollm2-135m-instruct@99")
    with pytest.raises(UnknownModelError, match="'smollm3'"):
        open_encoder("local:smollm3@20")


def test_a_file_of_ones_own(smollm_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "mira@home.gguf"
    path.symlink_to(smollm_path)
    with open_encoder(f"local:{path}") as whole, open_encoder(f"local:{path}@3") as third:
        assert (whole.name.rpartition("@")[2], third.name.rpartition("@")[2]) == ("20", "3")


def test_without_the_extra_it_says_how_to_get_it(smollm_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"hyperalign\[local\]"):
        LocalEncoder(smollm_path, name="smol")
