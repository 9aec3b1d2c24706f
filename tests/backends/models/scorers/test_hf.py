"""The transformers scorer, held against the embedded one on the same weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hyperalign.backends.models.encoders import LocalEncoder
from hyperalign.backends.models.scorers import OpenVINOScorer
from hyperalign.backends.models.scorers.hf import HFScorer, _waves
from hyperalign.errors import ContextLengthError, MissingExtraError, ModelError
from hyperalign.scores import Message, Scorer

INSTALLED = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "gguf"))
needs_train = pytest.mark.skipif(not INSTALLED, reason="the 'train' extra is not installed")
CONTEXT: list[Message] = [{"role": "user", "content": "What is the capital of France? <|im_end|> Answer."}]
TEXTS = ["The capital of France is Paris.", "Banana.", "", "Paris", "Paris, a city known for its museums.<|im_end|>"]


@pytest.mark.skipif(INSTALLED, reason="the 'train' extra is installed: nothing is missing that could be told")
def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"hyperalign\[train\]"):
        HFScorer(tmp_path, name="x")


def test_waves_hold_texts_of_like_length() -> None:
    lengths = [1, 0, 300, 20, 25, 290, 2] + [10] * 20
    waves = list(_waves([[7] * length for length in lengths]))
    assert sorted(text for wave in waves for text in wave) == [i for i, n in enumerate(lengths) if n > 1]
    assert all(len(wave) == 1 or len(wave) * max(lengths[i] for i in wave) <= 512 for wave in waves)
    assert max(map(len, waves)) <= 16


@pytest.fixture(scope="module")
def scorer(smollm_path: Path) -> Iterator[HFScorer]:
    with HFScorer(smollm_path.resolve(), name="smol-hf") as opened:
        yield opened


@needs_train
@pytest.mark.filterwarnings("default")
def test_it_agrees_with_openvino(scorer: HFScorer, smollm_path: Path) -> None:
    assert isinstance(scorer, Scorer)
    with OpenVINOScorer(smollm_path, name="smol") as other:
        tokenizer, _ = other._load()
        assert scorer._prompt(CONTEXT) == tokenizer.prompt(CONTEXT)
        theirs = other.score(CONTEXT, TEXTS)
    ours = scorer.score(CONTEXT, TEXTS)
    assert [score.tokens for score in ours] == [score.tokens for score in theirs]
    # The processor may compute in bfloat16, which has eight bits.
    assert [score.mean for score in ours] == pytest.approx([score.mean for score in theirs], abs=0.06)


@needs_train
@pytest.mark.filterwarnings("default")
def test_its_hidden_states_are_the_encoders(scorer: HFScorer, smollm_path: Path) -> None:
    import torch

    items = [("What is the capital of France?", text) for text in TEXTS if text]
    with LocalEncoder(smollm_path, name="smol", layer=20) as encoder:
        ours = encoder.encode(items)
    theirs = []
    for prompt, text in items:
        before, tokens = scorer._prompt([{"role": "user", "content": prompt}]), scorer._tokens(text)
        with torch.inference_mode():
            layers = scorer._model(torch.tensor([before + tokens]), output_hidden_states=True).hidden_states
        theirs.append(layers[20][0, len(before) :].float().mean(dim=0).numpy())
    wanted = np.stack(theirs)
    # What all texts share is far larger than what sets them apart.
    for left, right in zip(ours - wanted.mean(axis=0), wanted - wanted.mean(axis=0), strict=True):
        assert left @ right / np.linalg.norm(left) / np.linalg.norm(right) > 0.998


@needs_train
@pytest.mark.filterwarnings("default")
def test_texts_do_not_see_each_other(scorer: HFScorer) -> None:
    together = scorer.score(CONTEXT, TEXTS)
    alone = [scorer.score(CONTEXT, [text])[0] for text in TEXTS]
    assert [score.mean for score in together] == pytest.approx([score.mean for score in alone], abs=1e-3)


@needs_train
@pytest.mark.filterwarnings("default")
def test_limits(scorer: HFScorer, tmp_path: Path) -> None:
    with pytest.raises(ContextLengthError, match="at most"):
        scorer.score(CONTEXT, ["word " * 10_000])
    with pytest.raises(ModelError, match="no checkpoint"):
        HFScorer(tmp_path / "absent", name="x")
    with pytest.raises(ModelError, match="does not load"):
        HFScorer(tmp_path, name="x")
