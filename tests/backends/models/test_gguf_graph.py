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

from hyperalign.backends.models.gguf_graph import GGUFFile, compile_graph, hidden_states
from hyperalign.errors import ModelError

gguf: Any = pytest.importorskip("gguf", reason="the 'local' extra is not installed")
# Not importorskip: importing OpenVINO as it comes reports to its makers.
pytestmark = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")

VOCABULARY, WIDTH, HEADS, GROUPS, SIZE, INNER, LAYERS = 50, 32, 4, 2, 8, 48, 3
EPSILON, BASE = 1e-5, 10_000.0

Weights = dict[str, NDArray[np.float32]]


def weights(architecture: str) -> Weights:
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (VOCABULARY, WIDTH)}
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


def write(path: Path, architecture: str = "llama", without: str = "", **values: Any) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_token_list(["a", "longer token", "ß"])
    for name, value in values.items():
        getattr(writer, f"add_{name}")(value)
    for name, weight in weights(architecture).items():
        if name != without:
            # One matrix is quantized, so that this is read as well.
            kind = gguf.GGMLQuantizationType.Q8_0 if name.endswith("ffn_up.weight") else None
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
    ],
)
def test_models_that_are_not_known(tmp_path: Path, architecture: str, values: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        GGUFFile(write(tmp_path / "odd.gguf", architecture, **values))
    assert "llama or qwen2" in caught.value.remedy


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
    with pytest.raises(ModelError, match="does not load"):
        GGUFFile(tmp_path / "absent.gguf")
    (tmp_path / "short.gguf").write_bytes(whole[:-4000])
    with pytest.raises(ModelError, match="can't be read"):
        hidden_states(GGUFFile(tmp_path / "short.gguf"), LAYERS)
    lacking = GGUFFile(write(tmp_path / "lacking.gguf", without="blk.1.attn_k.weight"))
    hidden_states(lacking, 1)
    with pytest.raises(ModelError, match=r"no tensor blk\.1\.attn_k\.weight"):
        hidden_states(lacking, 2)


_IMPORT = """
import json, sys
from hyperalign.backends.models.gguf_graph import _openvino
_openvino()
print(json.dumps([name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools")]))
"""


def test_nothing_that_reports_to_the_makers_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
