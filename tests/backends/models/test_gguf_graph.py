"""The graph of a GGUF file, on small files of random weights, against the same computation in NumPy."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.backends.models.gguf_blocks import READERS
from hyperalign.backends.models.gguf_file import GGUFFile
from hyperalign.backends.models.gguf_graph import (
    body_and_head,
    compile_graph,
    hidden_states,
    log_probabilities,
)
from hyperalign.errors import ModelError

gguf: Any = pytest.importorskip("gguf", reason="the 'local' extra is not installed")
# Not importorskip: importing OpenVINO as it comes reports to its makers.
pytestmark = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")

VOCABULARY, WIDTH, HEADS, GROUPS, SIZE, INNER, LAYERS = 50, 32, 4, 2, 8, 48, 3
EPSILON, BASE = 1e-5, 10_000.0
MIXED = {
    "token_embd": "Q4_1",
    "attn_q": "Q4_0",
    "attn_k": "Q4_1",
    "attn_v": "Q5_1",
    "ffn_gate": "Q5_0",
    "ffn_up": "Q8_0",
}

Weights = dict[str, NDArray[np.float32]]


def weights(architecture: str) -> Weights:
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (VOCABULARY, WIDTH), "output_norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        shapes |= {f"{name}attn_norm.weight": (WIDTH,), f"{name}ffn_norm.weight": (WIDTH,)}
        shapes |= {f"{name}attn_q.weight": (HEADS * SIZE, WIDTH), f"{name}attn_output.weight": (WIDTH, HEADS * SIZE)}
        shapes |= {f"{name}attn_k.weight": (GROUPS * SIZE, WIDTH), f"{name}attn_v.weight": (GROUPS * SIZE, WIDTH)}
        shapes |= {f"{name}ffn_gate.weight": (INNER, WIDTH), f"{name}ffn_up.weight": (INNER, WIDTH)}
        shapes |= {f"{name}ffn_down.weight": (WIDTH, INNER)}
        if architecture == "qwen2":
            shapes |= {f"{name}attn_{part}.bias": shapes[f"{name}attn_{part}.weight"][:1] for part in "qkv"}
    # Sixteen bits, which is what the graph keeps.
    return {
        name: (random.normal(size=shape) / 4).astype(np.float16).astype(np.float32) for name, shape in shapes.items()
    }


def write(
    path: Path,
    architecture: str = "llama",
    *,
    without: str = "",
    kinds: dict[str, str] | None = None,
    more: Weights | None = None,
    **values: Any,
) -> Path:
    # One matrix at least is quantized, so that this is read as well.
    kinds = {"ffn_up": "Q8_0"} if kinds is None else kinds
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_token_list(["a", "longer token", "ß"])
    for name, value in values.items():
        getattr(writer, f"add_{name}")(value)
    for name, weight in (weights(architecture) | (more or {})).items():
        if name != without:
            part = name.split(".")[-2]
            kind = gguf.GGMLQuantizationType[kinds[part]] if part in kinds and name.endswith(".weight") else None
            writer.add_tensor(name, weight if kind is None else gguf.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rotate(states: NDArray[Any], architecture: str) -> NDArray[Any]:
    """Rotary embedding of (length, heads, size): of neighbors in llama's files, of halves in qwen2's."""
    angles = np.arange(len(states))[:, None] / BASE ** (np.arange(0, SIZE, 2) / SIZE)
    if architecture == "llama":
        pairs = states[..., ::2] + 1j * states[..., 1::2]
        turned = pairs * np.exp(1j * angles)[:, None]
        return np.stack([turned.real, turned.imag], -1).reshape(states.shape)
    pairs = states[..., : SIZE // 2] + 1j * states[..., SIZE // 2 :]
    turned = pairs * np.exp(1j * angles)[:, None]
    return np.concatenate([turned.real, turned.imag], -1)


def plainly(file: Weights, architecture: str, ids: list[int], layers: int) -> NDArray[Any]:
    """Hidden states of one text, token by token and head by head."""

    def linear(states: NDArray[Any], name: str) -> NDArray[Any]:
        return np.asarray(states @ file[f"{name}.weight"].T + file.get(f"{name}.bias", np.float32(0)))

    def norm(states: NDArray[Any], name: str) -> NDArray[Any]:
        return np.asarray(states / np.sqrt((states**2).mean(-1, keepdims=True) + EPSILON) * file[f"{name}.weight"])

    states = file["token_embd.weight"][ids].astype(np.float64)
    for layer in range(layers):
        name = f"blk.{layer}."
        inner = norm(states, f"{name}attn_norm")
        query = rotate(linear(inner, f"{name}attn_q").reshape(-1, HEADS, SIZE), architecture)
        key = rotate(linear(inner, f"{name}attn_k").reshape(-1, GROUPS, SIZE), architecture)
        value = linear(inner, f"{name}attn_v").reshape(-1, GROUPS, SIZE)
        mixed = np.zeros((len(ids), HEADS, SIZE))
        for at in range(len(ids)):
            for head in range(HEADS):
                group = head // (HEADS // GROUPS)
                scores = np.exp(key[: at + 1, group] @ query[at, head] / np.sqrt(SIZE))
                mixed[at, head] = scores @ value[: at + 1, group] / scores.sum()
        states = states + linear(mixed.reshape(len(ids), -1), f"{name}attn_output")
        inner = norm(states, f"{name}ffn_norm")
        gate = linear(inner, f"{name}ffn_gate")
        states = states + linear(gate / (1 + np.exp(-gate)) * linear(inner, f"{name}ffn_up"), f"{name}ffn_down")
    return states


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("layers", [1, LAYERS])
def test_hidden_states_are_those_of_the_file(tmp_path: Path, architecture: str, layers: int) -> None:
    file = GGUFFile(write(tmp_path / "small.gguf", architecture))
    assert (file.architecture, file.layers, file.width) == (architecture, LAYERS, WIDTH)
    request = compile_graph(hidden_states(file, layers), threads=1)
    texts = [[3, 1, 4, 1, 5, 9, 2, 6], [27, 18, 28]]
    ids = np.zeros((2, 8), np.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    request.infer({0: ids})
    found = request.get_output_tensor(0).data
    # What was quantized is what is in the file.
    read = {name: file.weight(name) for name in weights(architecture)}
    for text, states in zip(texts, found, strict=True):
        wanted = plainly(read, architecture, text, layers)
        # Where the processor computes in bfloat16, a number has eight bits.
        assert np.linalg.norm(states[: len(text)] - wanted) < 2e-2 * np.linalg.norm(wanted)


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = GGUFFile(write(tmp_path / "small.gguf"))
    for name, weight in weights("llama").items():
        near = 0.01 if name.endswith("ffn_up.weight") else 0.0
        assert file.weight(name) == pytest.approx(weight, abs=near)
    assert "blk.0.attn_q.weight" in file
    assert "blk.9.attn_q.weight" not in file


@pytest.mark.parametrize(
    ("architecture", "values", "says"),
    [
        ("gpt2", {}, "kind 'gpt2'"),
        ("llama", {"expert_count": 8}, "mixture of experts"),
        ("llama", {"rope_scaling_type": gguf.RopeScalingType.YARN}, "scales its positions"),
        ("qwen2", {"rope_dimension_count": 4}, "a part of each"),
        ("qwen2", {"sliding_window": 4096}, "sliding window"),
        ("llama", {"more": {"rope_freqs.weight": np.ones(4, np.float32)}}, "scales its positions"),
        (
            "llama",
            {"more": {"blk.0.attn_q_norm.weight": np.ones(8, np.float32)}},
            "blk.0.attn_q_norm.weight, whose use",
        ),
    ],
)
def test_models_that_are_not_known(tmp_path: Path, architecture: str, values: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        GGUFFile(write(tmp_path / "odd.gguf", architecture, **values))
    assert "llama or qwen2" in caught.value.remedy
    assert "--scorer none" in caught.value.remedy


def test_damaged_files(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.gguf").read_bytes()
    for name, content in {
        "text": b"Once upon a time " * 9,
        "cut": whole[:300],
        "empty": b"",
        "old": b"GGUF\1" + whole[5:],
    }.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=f"{name}.gguf does not load"):
            GGUFFile(path)
    with pytest.raises(ModelError, match="no model file"):
        GGUFFile(tmp_path / "absent.gguf")
    (tmp_path / "short.gguf").write_bytes(whole[:-4000])
    with pytest.raises(ModelError, match="can't be read"):
        hidden_states(GGUFFile(tmp_path / "short.gguf"), LAYERS)
    lacking = GGUFFile(write(tmp_path / "lacking.gguf", without="blk.1.attn_k.weight"))
    hidden_states(lacking, 1)
    with pytest.raises(ModelError, match=r"no tensor blk\.1\.attn_k\.weight"):
        hidden_states(lacking, 2)


@pytest.mark.parametrize("kind", sorted(READERS))
def test_blocks_are_taken_apart_without_rounding(kind: str) -> None:
    random = np.random.default_rng(0)
    found = gguf.GGMLQuantizationType[kind]
    _, size = gguf.GGML_QUANT_SIZES[found]
    blocks = random.integers(0, 256, (64, size), dtype=np.uint8)
    # Where a block has numbers of 16 bits, which may not be just any bytes.
    for at in {"Q4_0": [0], "Q5_0": [0], "Q8_0": [0], "Q6_K": [208]}.get(kind, [0, 2]):
        blocks[:, at : at + 2] = random.normal(size=(64, 1)).astype(np.float16).view(np.uint8)
    apart = READERS[kind](blocks)
    groups = apart.numbers.reshape(*apart.scales.shape, -1).astype(np.float32) * apart.scales[..., np.newaxis]
    if apart.minima is not None:
        groups -= apart.minima[..., np.newaxis]
    assert np.array_equal(groups.reshape(64, -1), gguf.dequantize(blocks, found))
    if apart.is_half:
        assert (apart.numbers.min(), apart.numbers.max()) == (0, 15)


def ask(
    requests: list[Any],
    past: NDArray[np.float32],
    tokens: list[int],
    places: list[int],
    seen: Any,
    pairs: list[list[int]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One run of the graphs of log-probabilities, every token a row."""
    body, head = requests
    before = past.shape[-2]
    mask = np.zeros((1, 1, len(tokens), before + len(tokens)), np.float32)
    mask[..., before:][..., ~np.array(seen, bool)] = -1e9
    asked = np.array(pairs, np.int64).reshape(-1, 2)
    inputs = np.array([tokens]), np.array(places), mask, past, np.arange(len(tokens))
    body.infer(dict(enumerate(inputs)))
    head.infer({0: body.get_output_tensor(0), 1: asked})
    return head.get_output_tensor(0).data.copy(), body.get_output_tensor(1).data.copy()


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("keeps_quantized", [False, True])
def test_log_probabilities_are_those_of_the_file(tmp_path: Path, architecture: str, keeps_quantized: bool) -> None:
    head = {"output.weight": np.random.default_rng(1).normal(size=(VOCABULARY, WIDTH)).astype(np.float32)}
    more = head if architecture == "qwen2" else {}
    file = GGUFFile(write(tmp_path / "small.gguf", architecture, kinds=MIXED | {"output": "Q8_0"}, more=more))
    graph = log_probabilities(file, keeps_quantized=keeps_quantized)
    requests = [compile_graph(part, 1, is_exact=True) for part in body_and_head(graph)]
    prompt, texts = [3, 1, 4, 1, 5], [[9, 2, 6], [27, 18, 28, 40]]
    nothing = np.zeros((LAYERS, 2, GROUPS, 0, SIZE), np.float32)
    none, past = ask(requests, nothing, prompt[:-1], [0, 1, 2, 3], np.tri(4), [])
    assert len(none) == 0
    # The prompt's last token, and the two texts side by side after it.
    seen = np.tri(6)
    seen[3:, 1:3] = 0
    found, _ = ask(
        requests,
        past,
        [5, 9, 2, 27, 18, 28],
        [4, 5, 6, 5, 6, 7],
        seen,
        [[0, 9], [1, 2], [2, 6], [0, 27], [3, 18], [4, 28], [5, 40]],
    )
    read = {name: file.weight(name) for name in weights(architecture) | more}
    wanted = []
    for text in texts:
        states = plainly(read, architecture, prompt + text, LAYERS)[len(prompt) - 1 : -1]
        states = states / np.sqrt((states**2).mean(-1, keepdims=True) + EPSILON) * read["output_norm.weight"]
        logits = states @ read.get("output.weight", read["token_embd.weight"]).T
        wanted += list(logits[range(len(text)), text] - np.log(np.exp(logits).sum(-1)))
    # Scales of groups have 16 bits.
    assert found == pytest.approx(np.array(wanted), abs=2e-2)


_IMPORT = """
import json, sys
from hyperalign.backends.models.gguf_graph import openvino
openvino()
print(json.dumps([name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools")]))
"""


def test_nothing_that_reports_to_the_makers_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
