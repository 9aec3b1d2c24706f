"""A GGUF file as a graph that OpenVINO runs: Llama and Qwen2 decoders, up to any of their layers.

The weights are dequantized as llama.cpp does it, so that the numbers are those of the file. Attention is causal, and
texts are padded on the right: no token sees what pads.
"""

from __future__ import annotations

import importlib.util
import mmap
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import MissingExtraError, ModelError

__all__ = ["GGUFFile", "check_installed", "compile_graph", "hidden_states"]

ARCHITECTURES = ("llama", "qwen2")
_MODULES = ("openvino", "gguf")
# The types of values in a GGUF header, as in its specification.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_OLDEST_VERSION = 2
_ALIGNMENT = 32
_ROPE_BASE = 10_000.0


class GGUFFile:
    """The header of a GGUF file, and its tensors where they lie.

    Arrays of the header are passed over: reading the vocabulary takes longer than all the rest.

    Args:
        path: the file.

    Attributes:
        architecture: the kind of model, such as ``llama``.
        layers: its number of layers.

    Raises:
        ModelError: the file is damaged, or this reader does not know the model's kind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._read_header()
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise ModelError(
                f"{path} does not load as a model: {error}.", remedy="Fetch it again with 'hyperalign models pull'."
            ) from error
        self.architecture = str(self._values.get("general.architecture"))
        self._check()
        self.layers = int(self.value("block_count"))

    def value(self, name: str, default: Any = None) -> Any:
        """A value that the header gives for the model's kind.

        Args:
            name: without the architecture before it, such as ``block_count``.
            default: taken where the header has no such value.

        Raises:
            ModelError: it has none, and there is no default.
        """
        found = self._values.get(f"{self.architecture}.{name}", default)
        if found is None:
            raise self._unsupported(f"gives no single {name}")
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def weight(self, name: str) -> NDArray[np.float32]:
        """A tensor, dequantized.

        Args:
            name: as in the file, such as ``blk.0.attn_q.weight``.

        Returns:
            Its numbers, rows first: shape (outputs, inputs) for a matrix.

        Raises:
            ModelError: the file has no such tensor, or it is quantized in a way that ``gguf`` does not know.
        """
        from gguf import GGMLQuantizationType, dequantize
        from gguf.constants import GGML_QUANT_SIZES

        if name not in self._tensors:
            raise self._unsupported(f"has no tensor {name}")
        shape, kind, offset = self._tensors[name]
        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            count = int(np.prod(shape)) // block * size
            rows = np.frombuffer(self._map, np.uint8, count, offset).reshape(*shape[:-1], -1)
            return np.asarray(dequantize(rows, GGMLQuantizationType(kind)), np.float32).reshape(shape)
        except (NotImplementedError, KeyError, ValueError) as error:
            raise self._unsupported(f"has a tensor {name} that can't be read ({error})") from error

    def _read_header(self) -> None:
        magic, version, tensors, values = self._take("<4sIQQ")
        if magic != b"GGUF" or version < _OLDEST_VERSION:
            raise ValueError("it is not a GGUF file of version 2 or later")
        self._values = {self._take_text(): self._take_value(self._take("<I")[0]) for _ in range(values)}
        found = [
            (self._take_text(), self._take(f"<{self._take('<I')[0]}Q"), *self._take("<IQ")) for _ in range(tensors)
        ]
        alignment = self._values.get("general.alignment") or _ALIGNMENT
        start = -(-self._at // alignment) * alignment
        self._tensors = {name: (shape[::-1], kind, start + offset) for name, shape, kind, offset in found}

    def _take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self._map, self._at)
        self._at += struct.calcsize(form)
        return found

    def _take_text(self) -> str:
        (length,) = self._take("<Q")
        self._at += length
        return self._map[self._at - length : self._at].decode("utf-8", "replace")

    def _take_value(self, kind: int) -> Any:
        """A value of the header; None for an array."""
        if kind == _STRING:
            return self._take_text()
        if kind != _ARRAY:
            return self._take("<" + _SCALARS[kind])[0]
        inner, count = self._take("<IQ")
        if inner == _STRING:
            for _ in range(count):
                (length,) = self._take("<Q")
                self._at += length
        else:
            self._at += count * struct.calcsize(_SCALARS[inner])
        return None

    def _check(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise self._unsupported(f"is a model of the kind '{self.architecture}'")
        if self._values.get(f"{self.architecture}.expert_count"):
            raise self._unsupported("is a mixture of experts")
        scaling = self._values.get(f"{self.architecture}.rope.scaling.type", "none")
        if scaling != "none" or "rope_freqs.weight" in self:
            raise self._unsupported("scales its positions")
        size = self.value("rope.dimension_count", self._head_size())
        if size != self._head_size():
            raise self._unsupported("turns only a part of each attention head")

    def _head_size(self) -> int:
        return int(self.value("attention.key_length", self.value("embedding_length") // self.heads))

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return int(self.value("attention.head_count"))

    @property
    def head_size(self) -> int:
        """Numbers in an attention head."""
        return self._head_size()

    @property
    def width(self) -> int:
        """Numbers in a hidden state."""
        return int(self.value("embedding_length"))

    def _unsupported(self, why: str) -> ModelError:
        return ModelError(
            f"The hidden states of {self._path.name} can't be read: it {why}.",
            remedy=f"Choose a plain {' or '.join(ARCHITECTURES)} model, such as 'local:smollm2-135m-instruct'.",
        )


def hidden_states(file: GGUFFile, layers: int) -> Any:
    """The graph of a decoder up to one of its layers.

    Args:
        file: the model.
        layers: how many of its layers are run.

    Returns:
        An ``openvino.Model`` from token ids, shape (n, length), padded on the right, to the residual stream after the
        last of these layers, before any final norm, shape (n, length, width).

    Raises:
        ModelError: a tensor is missing, or quantized in a way that is not known.
    """
    library = _openvino()
    decoder = _Decoder(file, library.opset13)
    ids = decoder.op.parameter([-1, -1], np.int64, "ids")
    hidden = decoder.embed(ids)
    positions = decoder.rotations(ids)
    for index in range(layers):
        hidden = decoder.layer(hidden, positions, index)
    return library.Model([decoder.op.result(hidden)], [ids], "hidden_states")


def compile_graph(model: Any, threads: int) -> Any:
    """Compile a graph for this processor.

    It computes in bfloat16 where the processor has it, and in float32 elsewhere. With SmolLM2 bfloat16 is twice
    as fast; the cosine of mean hidden states, less the mean over texts, with those in float32 is at least 0.999.

    Args:
        model: the graph.
        threads: processor threads.

    Returns:
        An ``openvino.InferRequest``; one call at a time.
    """
    core = _openvino().Core()
    is_short = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if is_short else "f32",
    }
    return core.compile_model(model, "CPU", settings).create_infer_request()


def check_installed(what: str) -> None:
    """Check that the libraries that graphs need are installed.

    Args:
        what: what they are for, for the message.

    Raises:
        MissingExtraError: they are not.
    """
    if not all(importlib.util.find_spec(name) for name in _MODULES):
        raise MissingExtraError(what, "local")


def _openvino() -> Any:
    # Its conversion tools, which it imports too, report each import to the makers over the network.
    tools = "openvino.tools.ovc"
    sys.modules.setdefault(tools, None)  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    finally:
        if sys.modules[tools] is None:
            del sys.modules[tools]


class _Decoder:
    """Makes the parts of a decoder's graph.

    Args:
        file: where its weights are.
        op: OpenVINO's operations.
    """

    def __init__(self, file: GGUFFile, op: Any) -> None:
        self.op = op
        self._file = file
        self._heads = file.heads
        self._groups = int(file.value("attention.head_count_kv", file.heads))
        self._size = file.head_size
        self._epsilon = float(file.value("attention.layer_norm_rms_epsilon"))

    def embed(self, ids: Any) -> Any:
        """Embeddings of tokens, shape (n, length, width)."""
        table = self.op.constant(self._file.weight("token_embd.weight").astype(np.float16))
        return self.op.convert(self.op.gather(table, ids, self._integers(0)), "f32")

    def rotations(self, ids: Any) -> tuple[Any, Any]:
        """Cosine and sine of each position's rotary angles, each of shape (1, 1, length, size of a head)."""
        base = float(self._file.value("rope.freq_base", _ROPE_BASE))
        rates = base ** -(np.arange(0, self._size, 2) / self._size)
        length = self.op.gather(self.op.shape_of(ids, "i64"), self._integers(1), self._integers(0))
        places = self.op.convert(self.op.range(self._integers(0), length, self._integers(1), "i64"), "f32")
        angles = self.op.multiply(
            self.op.unsqueeze(places, self._integers(1)), self._numbers(np.tile(rates, 2)[np.newaxis])
        )
        cosine, sine = self.op.cos(angles), self.op.sin(angles)
        return self.op.unsqueeze(cosine, self._integers([0, 1])), self.op.unsqueeze(sine, self._integers([0, 1]))

    def layer(self, hidden: Any, rotations: tuple[Any, Any], index: int) -> Any:
        """The residual stream after one more layer: attention, then the gated feed-forward network."""
        name = f"blk.{index}."
        hidden = self.op.add(hidden, self._attention(self.norm(hidden, f"{name}attn_norm"), rotations, name))
        inner = self.norm(hidden, f"{name}ffn_norm")
        gate = self.op.swish(self._linear(inner, f"{name}ffn_gate"))
        gated = self.op.multiply(gate, self._linear(inner, f"{name}ffn_up"))
        return self.op.add(hidden, self._linear(gated, f"{name}ffn_down"))

    def norm(self, hidden: Any, name: str) -> Any:
        """Root-mean-square normalization with learned scales."""
        square = self.op.reduce_mean(self.op.power(hidden, self._numbers(2)), self._integers([-1]), True)
        root = self.op.sqrt(self.op.add(square, self._numbers(self._epsilon)))
        scaled = self.op.multiply(hidden, self.op.divide(self._numbers(1), root))
        return self.op.multiply(scaled, self._numbers(self._file.weight(f"{name}.weight").reshape(1, 1, -1)))

    def _attention(self, hidden: Any, rotations: tuple[Any, Any], name: str) -> Any:
        query = self._linear(hidden, f"{name}attn_q", turned=self._heads)
        key = self._linear(hidden, f"{name}attn_k", turned=self._groups)
        value = self._linear(hidden, f"{name}attn_v")
        mixed = self.op.scaled_dot_product_attention(
            self._turn(self._split(query, self._heads), rotations),
            self._repeat(self._turn(self._split(key, self._groups), rotations)),
            self._repeat(self._split(value, self._groups)),
            causal=True,
        )
        joined = self.op.transpose(mixed, self._integers([0, 2, 1, 3]))
        joined = self.op.reshape(joined, self._integers([0, 0, self._heads * self._size]), True)
        return self._linear(joined, f"{name}attn_output")

    def _linear(self, hidden: Any, name: str, *, turned: int = 0) -> Any:
        """A linear map; ``turned`` is the number of heads that are rotated afterwards.

        OpenVINO keeps weights of 16 bits as they are, and computes in its own precision.
        """
        weight = self._in_halves(self._file.weight(f"{name}.weight"), turned).astype(np.float16)
        mapped = self.op.matmul(hidden, self.op.convert(self.op.constant(weight), "f32"), False, True)
        if f"{name}.bias" not in self._file:
            return mapped
        bias = self._in_halves(self._file.weight(f"{name}.bias"), turned)
        return self.op.add(mapped, self._numbers(bias.reshape(1, 1, -1)))

    def _in_halves(self, weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
        """Rows with the two halves of a head's rotations apart: files of the kind ``llama`` have them in pairs."""
        if not heads or self._file.architecture != "llama":
            return weight
        paired = weight.reshape(heads, self._size // 2, 2, -1)
        return np.ascontiguousarray(paired.swapaxes(1, 2).reshape(weight.shape))

    def _split(self, hidden: Any, heads: int) -> Any:
        apart = self.op.reshape(hidden, self._integers([0, 0, heads, self._size]), True)
        return self.op.transpose(apart, self._integers([0, 2, 1, 3]))

    def _turn(self, heads: Any, rotations: tuple[Any, Any]) -> Any:
        """Rotary position embedding (Su et al., 2021)."""
        cosine, sine = rotations
        first, second = self.op.split(heads, self._integers(-1), 2).outputs()
        across = self.op.concat([self.op.multiply(second, self._numbers(-1)), first], -1)
        return self.op.add(self.op.multiply(heads, cosine), self.op.multiply(across, sine))

    def _repeat(self, groups: Any) -> Any:
        """Keys or values for every head: in grouped-query attention some heads share them (Ainslie et al., 2023)."""
        if self._heads == self._groups:
            return groups
        shape = self._integers([1, 1, self._heads // self._groups, 1, 1])
        repeated = self.op.broadcast(
            self.op.unsqueeze(groups, self._integers(2)), shape, broadcast_spec="BIDIRECTIONAL"
        )
        return self.op.reshape(repeated, self._integers([0, self._heads, -1, self._size]), True)

    def _integers(self, values: Any) -> Any:
        return self.op.constant(np.asarray(values, np.int64))

    def _numbers(self, values: Any) -> Any:
        return self.op.constant(np.asarray(values, np.float32))
