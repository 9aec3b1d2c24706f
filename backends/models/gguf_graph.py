"""Graphs that OpenVINO runs, made from a GGUF file: a Llama or Qwen2 decoder, for hidden states or log-probabilities.

In small models weights have 16 bits: all that the file says, and fastest. In large ones they stay the whole numbers
that the file holds, and the minimum of a group of weights is a product of its own, so that nothing is rounded.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperalign.concurrency import Progress
from hyperalign.errors import MissingExtraError

from .gguf_blocks import Quantized
from .gguf_file import GGUFFile

__all__ = [
    "BUILDER",
    "Decoder",
    "body_and_head",
    "check_installed",
    "compile_graph",
    "hidden_states",
    "log_probabilities",
    "openvino",
]

BUILDER = 2
"""Raised whenever graphs of the same file change: stored ones are then made anew, and scores are not mixed."""
_MODULES = ("openvino", "gguf", "tokenizers")
_ROPE_BASE = 10_000.0
_STEP = "prepare model (layers)"
_BODY_INPUTS, _BODY_OUTPUTS = 5, 2

Attend = Callable[[Any, Any, Any], Any]
"""From queries, keys and values, each of shape (n, heads, length, size), to what the queries take from the values."""


def hidden_states(file: GGUFFile, layers: int) -> Any:
    """The graph of a decoder up to one of its layers.

    Attention is causal, and texts are padded on the right: no token sees what pads.

    Args:
        file: the model.
        layers: how many of its layers are run.

    Returns:
        An ``openvino.Model`` from token ids, shape (n, length), padded on the right, to the residual stream after the
        last of these layers, before any final norm, shape (n, length, width).

    Raises:
        ModelError: a tensor is missing, or quantized in a way that is not known.
    """
    library = openvino()
    decoder = Decoder(file, library, keeps_quantized=False)
    op = library.opset13
    ids = op.parameter([-1, -1], np.int64, "ids")
    hidden = decoder.embed(ids)
    length = op.gather(op.shape_of(ids, "i64"), op.constant(np.int64(1)), op.constant(np.int64(0)))
    places = op.range(op.constant(np.int64(0)), length, op.constant(np.int64(1)), "i64")
    rotations = decoder.rotations(places)

    def attend(query: Any, key: Any, value: Any) -> Any:
        return op.scaled_dot_product_attention(query, decoder.repeat(key), decoder.repeat(value), causal=True)

    for index in range(layers):
        hidden = decoder.layer(hidden, rotations, index, attend)
    return library.Model([op.result(hidden)], [ids], "hidden_states")


def log_probabilities(file: GGUFFile, *, keeps_quantized: bool, progress: Progress | None = None) -> Any:
    """The graph of a whole decoder that reads tokens after others that it read before, and of its vocabulary head.

    The two are not connected, so that the head may compute more exactly than the decoder; see ``body_and_head``.

    Args:
        file: the model.
        keeps_quantized: whether weights stay the whole numbers of the file, instead of 16 bits each.
        progress: told of the layers that are made.

    Returns:
        An ``openvino.Model``. Inputs of the decoder: token ids, shape (1, length); their positions, shape (length,);
        what is added to their attention, zero or about minus infinity, shape (1, 1, length, before + length); keys and
        values of the tokens before, shape (layers, 2, groups, before, size of a head); and the rows of tokens whose
        following token is asked about, shape (rows,). Inputs of the head: states of those rows, shape (1, rows, width);
        and pairs of a place among them and a token id, shape (n, 2). Outputs of the decoder: those states, and keys
        and values of the tokens that were read. Output of the head: the log-probability of each pair's token in nats,
        shape (n,).

    Raises:
        ModelError: a tensor is missing, or quantized in a way that is not known.
    """
    library = openvino()
    decoder = Decoder(file, library, keeps_quantized=keeps_quantized)
    op = library.opset13
    asked = _Asked(
        op.parameter([1, -1], np.int64, "ids"),
        op.parameter([-1], np.int64, "positions"),
        op.parameter([1, 1, -1, -1], np.float32, "mask"),
        op.parameter([file.layers, 2, file.groups, -1, file.head_size], np.float32, "past"),
        op.parameter([-1], np.int64, "rows"),
        op.parameter([1, -1, file.width], np.float32, "states"),
        op.parameter([-1, 2], np.int64, "pairs"),
    )
    hidden, rotations = decoder.embed(asked.ids), decoder.rotations(asked.positions)
    zero, one = (op.constant(np.int64(number)) for number in (0, 1))
    tell = progress or (lambda *step: None)
    read: list[Any] = []

    def attend(query: Any, key: Any, value: Any) -> Any:
        past = op.gather(asked.past, op.constant(np.int64(len(read))), zero)
        read.append(op.unsqueeze(op.concat([key, value], 0), zero))
        keys, values = op.split(past, zero, 2).outputs()
        key, value = op.concat([keys, key], 2), op.concat([values, value], 2)
        return op.scaled_dot_product_attention(query, decoder.repeat(key), decoder.repeat(value), asked.mask)

    for index in range(file.layers):
        tell(_STEP, index, file.layers)
        hidden = decoder.layer(hidden, rotations, index, attend)
    tell(_STEP, file.layers, file.layers)
    results = op.gather(hidden, asked.rows, one), op.concat(read, 0), decoder.asked(asked.states, asked.pairs)
    return library.Model([op.result(each) for each in results], list(asked), "log_probabilities")


def body_and_head(model: Any) -> tuple[Any, Any]:
    """The two parts of what ``log_probabilities`` made, each an ``openvino.Model`` of its own."""
    library = openvino()
    inputs, outputs = model.get_parameters(), model.get_results()
    body = library.Model(outputs[:_BODY_OUTPUTS], inputs[:_BODY_INPUTS], "body")
    return body, library.Model(outputs[_BODY_OUTPUTS:], inputs[_BODY_INPUTS:], "head")


def compile_graph(model: Any, threads: int, *, is_exact: bool = False, is_rounded: bool = False) -> Any:
    """Compile a graph for this processor.

    It computes in bfloat16 where the processor has it, and in float32 elsewhere. With SmolLM2 bfloat16 is twice
    as fast; the cosine of mean hidden states, less the mean over texts, with those in float32 is at least 0.999.

    Args:
        model: the graph.
        threads: processor threads.
        is_exact: whether it computes in float32 everywhere. A logit of 16 to 32 in bfloat16 is a multiple of an eighth.
        is_rounded: whether it multiplies in eight bits where its weights have as many: fastest for few tokens at once.

    Returns:
        An ``openvino.InferRequest``; one call at a time.
    """
    core = openvino().Core()
    is_short = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if is_short and not (is_exact or is_rounded) else "f32",
    }
    if is_exact:
        # As it comes it rounds what it multiplies with quantized weights to eight bits.
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
    if is_rounded:
        # What is taken out of a memory of eight bits, as by default, and put back makes other logits.
        settings["KV_CACHE_PRECISION"] = "f16"
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


def openvino() -> Any:
    """The library, without its conversion tools, which report each import to the makers over the network."""
    tools = "openvino.tools.ovc"
    sys.modules.setdefault(tools, None)  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    finally:
        if sys.modules[tools] is None:
            del sys.modules[tools]


class _Asked(NamedTuple):
    """The inputs of ``log_probabilities``, in order: those of the decoder, then those of its head."""

    ids: Any
    positions: Any
    mask: Any
    past: Any
    rows: Any
    states: Any
    pairs: Any


class Decoder:
    """Makes the parts of a decoder's graph; each method adds operations and returns what they give.

    Args:
        file: where its weights are.
        library: OpenVINO.
        keeps_quantized: whether weights stay the whole numbers of the file.
    """

    def __init__(self, file: GGUFFile, library: Any, *, keeps_quantized: bool) -> None:
        self.op = library.opset13
        self.library = library
        self.file = file
        self._keeps_quantized = keeps_quantized
        self._heads, self._groups, self._size = file.heads, file.groups, file.head_size
        self._epsilon = float(file.value("attention.layer_norm_rms_epsilon"))
        self._sums: dict[tuple[str, int], Any] = {}

    def embed(self, ids: Any) -> Any:
        """Embeddings of tokens, shape (n, length, width)."""
        name = "token_embd.weight"
        found = self.file.quantized(name) if self._keeps_quantized else None
        if found is None:
            return self.rows(self.file.weight(name).astype(np.float16), ids)
        # Bytes: four bits can't be gathered.
        numbers = self.rows(found.numbers, ids)
        scales = self.op.unsqueeze(self.rows(found.scales.astype(np.float16), ids), self.integers(-1))
        hidden = self.op.multiply(numbers, scales)
        if found.minima is not None:
            minima = self.op.unsqueeze(self.rows(found.minima.astype(np.float16), ids), self.integers(-1))
            hidden = self.op.subtract(hidden, minima)
        return self.op.reshape(hidden, self.integers([0, 0, self.file.width]), True)

    def rotations(self, positions: Any) -> tuple[Any, Any]:
        """Cosine and sine of each position's rotary angles, each of shape (1, 1, length, size of a head)."""
        base = float(self.file.value("rope.freq_base", _ROPE_BASE))
        rates = base ** -(np.arange(0, self._size, 2) / self._size)
        places = self.op.unsqueeze(self.op.convert(positions, "f32"), self.integers(1))
        angles = self.op.multiply(places, self.numbers(np.tile(rates, 2)[np.newaxis]))
        cosine, sine = self.op.cos(angles), self.op.sin(angles)
        return self.op.unsqueeze(cosine, self.integers([0, 1])), self.op.unsqueeze(sine, self.integers([0, 1]))

    def layer(self, hidden: Any, rotations: tuple[Any, Any], index: int, attend: Attend) -> Any:
        """The residual stream after one more layer: attention, then the gated feed-forward network."""
        name = f"blk.{index}."
        hidden = self.op.add(hidden, self._attention(self.norm(hidden, f"{name}attn_norm"), rotations, name, attend))
        inner = self.norm(hidden, f"{name}ffn_norm")
        gate = self.op.swish(self.linear(inner, f"{name}ffn_gate"))
        gated = self.op.multiply(gate, self.linear(inner, f"{name}ffn_up"))
        return self.op.add(hidden, self.linear(gated, f"{name}ffn_down"))

    def asked(self, states: Any, pairs: Any) -> Any:
        """Log-probabilities of tokens by states after the last layer; see ``log_probabilities``."""
        zero, one, last = (self.integers(number) for number in (0, 1, -1))
        name = "output" if "output.weight" in self.file else "token_embd"
        logits = self.op.squeeze(self.linear(self.norm(states, "output_norm"), name), zero)
        top = self.op.reduce_max(logits, last, True)
        total = self.op.log(self.op.reduce_sum(self.op.exp(self.op.subtract(logits, top)), last, True))
        of_row = self.op.squeeze(self.op.add(total, top), one)
        of_pair = self.op.gather(of_row, self.op.gather(pairs, zero, one), zero)
        return self.op.subtract(self.op.gather_nd(logits, pairs), of_pair)

    def repeat(self, groups: Any) -> Any:
        """Keys or values for every head: in grouped-query attention some heads share them (Ainslie et al., 2023)."""
        if self._heads == self._groups:
            return groups
        shape = self.integers([1, 1, self._heads // self._groups, 1, 1])
        repeated = self.op.broadcast(self.op.unsqueeze(groups, self.integers(2)), shape, broadcast_spec="BIDIRECTIONAL")
        return self.op.reshape(repeated, self.integers([0, self._heads, -1, self._size]), True)

    def norm(self, hidden: Any, name: str) -> Any:
        """Root-mean-square normalization with learned scales."""
        square = self.op.reduce_mean(self.op.power(hidden, self.numbers(2)), self.integers([-1]), True)
        root = self.op.sqrt(self.op.add(square, self.numbers(self._epsilon)))
        scaled = self.op.multiply(hidden, self.op.divide(self.numbers(1), root))
        return self.op.multiply(scaled, self.numbers(self.file.weight(f"{name}.weight").reshape(1, 1, -1)))

    def _attention(self, hidden: Any, rotations: tuple[Any, Any], name: str, attend: Attend) -> Any:
        query = self.linear(hidden, f"{name}attn_q", turned=self._heads)
        key = self.linear(hidden, f"{name}attn_k", turned=self._groups)
        value = self.linear(hidden, f"{name}attn_v")
        mixed = attend(
            self._turn(self._split(query, self._heads), rotations),
            self._turn(self._split(key, self._groups), rotations),
            self._split(value, self._groups),
        )
        joined = self.op.transpose(mixed, self.integers([0, 2, 1, 3]))
        joined = self.op.reshape(joined, self.integers([0, 0, self._heads * self._size]), True)
        return self.linear(joined, f"{name}attn_output")

    def linear(self, hidden: Any, name: str, *, turned: int = 0) -> Any:
        """A linear map; ``turned`` is the number of heads that are rotated afterwards."""
        found = self.file.quantized(f"{name}.weight") if self._keeps_quantized else None
        if found is None:
            # OpenVINO keeps weights of 16 bits as they are, and computes in its own precision.
            weight = self.in_halves(self.file.weight(f"{name}.weight"), turned).astype(np.float16)
            mapped = self.op.matmul(hidden, self.op.convert(self.op.constant(weight), "f32"), False, True)
        else:
            mapped = self._quantized(hidden, found, turned)
        if f"{name}.bias" not in self.file:
            return mapped
        bias = self.in_halves(self.file.weight(f"{name}.bias"), turned)
        return self.op.add(mapped, self.numbers(bias.reshape(1, 1, -1)))

    def _quantized(self, hidden: Any, found: Quantized, turned: int) -> Any:
        """A product with whole numbers in groups of like scale, less that of the groups' minima."""
        outputs, groups, size = found.numbers.shape
        numbers = self.in_halves(found.numbers, turned)
        constant = self._four_bits(numbers) if found.is_half else self.op.constant(numbers)
        scales = self.op.constant(self.in_halves(found.scales, turned).astype(np.float16)[..., np.newaxis])
        weight = self.op.multiply(self.op.convert(constant, "f16"), scales)
        weight = self.op.convert(self.op.reshape(weight, self.integers([outputs, groups * size]), False), "f32")
        mapped = self.op.matmul(hidden, weight, False, True)
        if found.minima is None:
            return mapped
        minima = self.op.constant(self.in_halves(found.minima, turned).astype(np.float16))
        less = self.op.matmul(self._group_sums(hidden, groups, size), self.op.convert(minima, "f32"), False, True)
        return self.op.subtract(mapped, less)

    def _group_sums(self, hidden: Any, groups: int, size: int) -> Any:
        """Sums over groups of a state's numbers, shape (n, length, groups); the same for all products with a state."""
        key = hidden.get_name(), size
        if key not in self._sums:
            apart = self.op.reshape(hidden, self.integers([0, 0, groups, size]), True)
            self._sums[key] = self.op.reduce_sum(apart, self.integers([-1]), False)
        return self._sums[key]

    def _four_bits(self, numbers: NDArray[np.int8]) -> Any:
        packed = numbers.view(np.uint8)
        tensor = self.library.Tensor(self.library.Type.u4, self.library.Shape(list(numbers.shape)))
        tensor.data.reshape(-1)[:] = (packed[..., 0::2] | (packed[..., 1::2] << 4)).reshape(-1)
        return self.library.op.Constant(tensor)

    def rows(self, table: NDArray[Any], ids: Any) -> Any:
        """Rows of a table."""
        return self.op.convert(self.op.gather(self.op.constant(table), ids, self.integers(0)), "f32")

    def in_halves(self, weight: NDArray[Any], heads: int) -> NDArray[Any]:
        """Rows with the two halves of a head's rotations apart: files of the kind ``llama`` have them in pairs."""
        if not heads or self.file.architecture != "llama":
            return weight
        paired = weight.reshape(heads, self._size // 2, 2, -1)
        return np.ascontiguousarray(paired.swapaxes(1, 2).reshape(weight.shape))

    def _split(self, hidden: Any, heads: int) -> Any:
        apart = self.op.reshape(hidden, self.integers([0, 0, heads, self._size]), True)
        return self.op.transpose(apart, self.integers([0, 2, 1, 3]))

    def _turn(self, heads: Any, rotations: tuple[Any, Any]) -> Any:
        """Rotary position embedding (Su et al., 2021)."""
        cosine, sine = rotations
        first, second = self.op.split(heads, self.integers(-1), 2).outputs()
        across = self.op.concat([self.op.multiply(second, self.numbers(-1)), first], -1)
        return self.op.add(self.op.multiply(heads, cosine), self.op.multiply(across, sine))

    def integers(self, values: Any) -> Any:
        """A constant of whole numbers."""
        return self.op.constant(np.asarray(values, np.int64))

    def numbers(self, values: Any) -> Any:
        """A constant of 32-bit numbers."""
        return self.op.constant(np.asarray(values, np.float32))
