"""The embedded scorer on the real SmolLM2."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyperalign.backends.models.gguf_file import GGUFFile
from hyperalign.backends.models.gguf_graph import BUILDER, compile_graph, hidden_states
from hyperalign.backends.models.scorers import OpenVINOScorer, open_scorer, openvino
from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, ContextLengthError, ModelError
from hyperalign.scores import Message, Scorer, TextScore

# Not importorskip: importing OpenVINO as it comes reports to its makers.
INSTALLED = all(importlib.util.find_spec(name) for name in ("gguf", "openvino", "tokenizers"))
pytestmark = pytest.mark.skipif(not INSTALLED, reason="the 'local' extra is not installed")

CONTEXT: list[Message] = [{"role": "user", "content": "What is the capital of France? Answer in a sentence."}]
TEXTS = [
    "The capital of France is Paris.",
    "The capital of France is London.",
    "Banana bread is what the capital of France is mostly made of.",
    "Paris",
    "The capital of France is Paris, a city known for its museums and its long, bright evenings.<|im_end|>",
    "é 日本語",
]


def same(left: Sequence[TextScore], right: Sequence[TextScore]) -> None:
    """Equal but for rounding.

    Where the processor computes in bfloat16, sums hang on what is read beside a text: some 0.04 nats a token,
    independent between tokens. Reading another text is far outside.
    """
    assert [score.tokens for score in left] == [score.tokens for score in right]
    for one, other in zip(left, right, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=0.2 * math.sqrt(other.tokens))


@pytest.fixture(scope="module")
def scorer(smollm_path: Path) -> Iterator[OpenVINOScorer]:
    with OpenVINOScorer(smollm_path, name="smol") as opened:
        yield opened


def exactly(graph: Any, threads: int = 1, **_: bool) -> Any:
    """A graph that rounds nothing to fewer bits than 32."""
    return compile_graph(graph, threads, is_exact=True)


def plainly(path: Path, prompt: list[int], branches: list[list[int]]) -> list[float]:
    """The log-probability of each text, from the hidden states of one plain sequence."""
    file = GGUFFile(path)
    request = exactly(hidden_states(file, file.layers))
    scale, words = file.weight("output_norm.weight"), file.weight("token_embd.weight")
    totals = []
    for branch in branches:
        request.infer({0: np.array([prompt + branch])})
        states = request.get_output_tensor(0).data[0, len(prompt) - 1 : -1]
        states = states / np.sqrt((states**2).mean(-1, keepdims=True) + 1e-5) * scale
        logits = states @ words.T
        normal = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
        totals.append(float((logits[range(len(branch)), branch] - normal).sum()))
    return totals


def test_it_is_a_scorer(scorer: OpenVINOScorer) -> None:
    assert isinstance(scorer, Scorer)
    assert scorer.name == "smol"


def test_branches_equal_plain_sequences(smollm_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "compile_graph", exactly)
    with OpenVINOScorer(smollm_path, name="smol") as exact:
        found = exact.score(CONTEXT, TEXTS)
        tokenizer, _ = exact._load()
        prompt, branches = tokenizer.prompt(CONTEXT), [tokenizer.tokens(text) for text in TEXTS]
    assert [score.tokens for score in found] == [len(branch) for branch in branches]
    assert [score.logprob for score in found] == pytest.approx(plainly(smollm_path, prompt, branches), abs=0.05)


@pytest.mark.parametrize("small", [1, 10**12], ids=["as the file has it", "16 bits"])
def test_log_probabilities_are_not_rounded_to_a_grid(
    smollm_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr(openvino, "_SMALL_PARAMETERS", small)
    with OpenVINOScorer(smollm_path.resolve(), name="smol") as opened:
        tokenizer, requests = opened._load()
        prompt = tokenizer.prompt(CONTEXT)
        seen = np.tri(len(prompt), dtype=bool)
        asked = [(len(prompt) - 1, token) for token in range(300, 1300)]
        found, _ = openvino._infer(requests, opened._nothing, openvino._Row(prompt, range(len(prompt)), seen, asked))
    # All are less the same sum: what they have beyond a multiple of 1/64 is a few numbers where logits are rounded.
    beyond = {round(float(rest), 6) for rest in np.mod(found.astype(np.float64) - found[0], 1 / 64)}
    assert len(beyond) > 900


def test_texts_do_not_see_each_other(scorer: OpenVINOScorer) -> None:
    together = scorer.score(CONTEXT, TEXTS)
    alone = [scorer.score(CONTEXT, [text])[0] for text in TEXTS]
    same(together, alone)
    same(scorer.score(CONTEXT, TEXTS * 3), together * 3)


def test_it_prefers_the_truth(scorer: OpenVINOScorer) -> None:
    paris, london, banana, *_ = scorer.score(CONTEXT, TEXTS)
    assert paris.logprob > london.logprob
    assert london.mean > banana.mean


def test_empty_text_and_no_texts(scorer: OpenVINOScorer) -> None:
    (empty,) = scorer.score(CONTEXT, [""])
    assert (empty.logprob, empty.tokens, empty.mean) == (0.0, 0, 0.0)
    assert scorer.score(CONTEXT, []) == []


def anew(scorer: OpenVINOScorer, context: list[Message]) -> list[TextScore]:
    """The scores of a scorer that has read nothing before."""
    scorer._prefixes.clear()
    return scorer.score(context, TEXTS)


def test_a_shared_prefix_is_read_once(smollm_path: Path, scorer: OpenVINOScorer) -> None:
    record = "My grandmother kept bees behind the chapel, and every summer we ate her honey on warm bread. " * 4
    first: list[Message] = [{"role": "user", "content": record + "Who kept bees?"}]
    second: list[Message] = [{"role": "user", "content": record + "What did they eat?"}]
    budget = Budget()
    with OpenVINOScorer(smollm_path, name="smol", budget=budget) as warm:
        warm.score(first, ["Grandmother."])
        reused = warm.score(second, TEXTS)
        assert warm.score(second, ["Honey."])[0].tokens == 2
    spent = budget.spent
    assert spent.calls == 3
    assert spent.tokens_cached > 150
    assert spent.tokens_in > spent.tokens_cached
    same(reused, anew(scorer, second))


def test_contexts_that_take_turns_stay(smollm_path: Path, scorer: OpenVINOScorer) -> None:
    told = ["My grandmother kept bees behind the chapel. ", "The harbor froze over in the winter of our wedding. "]
    contexts: list[list[Message]] = [
        [{"role": "user", "content": record * 12 + question}]
        for question in ("What was it?", "Who was there?", "And then?")
        for record in told
    ]
    budget = Budget()
    with OpenVINOScorer(smollm_path, name="smol", budget=budget) as warm:
        found = [warm.score(context, TEXTS) for context in contexts]
    assert budget.spent.tokens_cached > 4 * 100, "all but the first two find their beginning"
    for context, scores in zip(contexts, found, strict=True):
        same(scores, anew(scorer, context))


def test_long_contexts_make_room_for_each_other(scorer: OpenVINOScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[list[Message]] = [
        [{"role": "user", "content": f"{animal} are mentioned here. " * 20}]
        for animal in ("Bees", "Owls", "Cats", "Eels")
    ]
    apart = [anew(scorer, context) for context in contexts]
    monkeypatch.setattr(scorer._prefixes, "_room", 256)
    for context, scores in zip(contexts * 2, apart * 2, strict=True):
        same(scorer.score(context, TEXTS), scores)
        assert scorer._prefixes.tokens <= 256


def test_many_texts_take_turns_and_long_ones_are_read_in_blocks(
    scorer: OpenVINOScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{text} {'And so on and on. ' * 10}" for text in TEXTS]
    wide = scorer.score(CONTEXT, texts)
    monkeypatch.setattr(openvino, "_WAVE_TOKENS", 32)
    monkeypatch.setattr(openvino, "_BLOCK_TOKENS", 16)
    scorer._prefixes.clear()
    same(scorer.score(CONTEXT, texts), wide)


def test_too_long(scorer: OpenVINOScorer) -> None:
    before = scorer.score(CONTEXT, TEXTS[:1])
    with pytest.raises(ContextLengthError, match="at most 4096 tokens") as caught:
        scorer.score(CONTEXT, ["word " * 60_000])
    assert "Shorten" in caught.value.remedy
    with pytest.raises(ContextLengthError):
        scorer.score([{"role": "user", "content": "word " * 5_000}], ["x"])
    same(scorer.score(CONTEXT, TEXTS[:1]), before)


def test_a_cap_stops_it_before_reading(smollm_path: Path) -> None:
    budget = Budget(max_calls=1)
    with OpenVINOScorer(smollm_path, name="smol", budget=budget) as capped:
        capped.score(CONTEXT, ["Paris"])
        with pytest.raises(BudgetExceededError):
            capped.score(CONTEXT, ["London"])
    assert budget.spent.calls == 1


def test_a_closed_scorer_and_files_that_are_no_models(smollm_path: Path, tmp_path: Path) -> None:
    closed = OpenVINOScorer(smollm_path, name="smol")
    closed.close()
    closed.close()
    with pytest.raises(ModelError, match="closed"):
        closed.score(CONTEXT, ["Paris"])
    with pytest.raises(ModelError, match="no model file"):
        OpenVINOScorer(tmp_path / "absent.gguf", name="x")
    (tmp_path / "prose.gguf").write_text("This is not a model.")
    with pytest.raises(ModelError, match="does not load"):
        OpenVINOScorer(tmp_path / "prose.gguf", name="x")


def test_the_engine_is_named_so_that_scores_of_another_do_not_mix(smollm_path: Path) -> None:
    assert smollm_path.is_file()
    with open_scorer("local:smollm2-135m-instruct") as opened:  # type: ignore[attr-defined]
        assert opened.name == f"smollm2-135m-instruct-b179c952+openvino{BUILDER}"


def test_a_large_model_is_kept_as_the_file_has_it(smollm_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "compile_graph", exactly)
    monkeypatch.setattr(openvino, "_SMALL_PARAMETERS", 1)
    told: list[tuple[int, int]] = []
    path = smollm_path.resolve()
    with OpenVINOScorer(path, name="smol", progress=lambda step, done, total: told.append((done, total))) as large:
        found = large.score(CONTEXT, TEXTS)
        tokenizer, _ = large._load()
        prompt, branches = tokenizer.prompt(CONTEXT), [tokenizer.tokens(text) for text in TEXTS]
    assert told == [(done, 30) for done in range(31)]
    assert [score.logprob for score in found] == pytest.approx(plainly(smollm_path, prompt, branches), abs=0.1)
