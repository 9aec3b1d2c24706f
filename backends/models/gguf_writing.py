"""The graph that writes: a decoder that keeps what it read, for several sequences at once, made from a GGUF file."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from hyperalign.concurrency import Progress

from .gguf_file import GGUFFile
from .gguf_graph import Decoder, openvino

__all__ = ["writing_graph"]

_LARGEST = 127
_ROPE_BASE = 10_000.0


class _RoundedDecoder(Decoder):
    """A decoder whose weights have eight bits and one scale a row.

    Weights of four bits are smaller, but unpacking them costs more than reading them where few tokens are read at once:
    the 1.5B model then writes half as fast. What the rounding adds to that of the file does not matter to a sample.
    """

    def __init__(self, file: GGUFFile, library: Any) -> None:
        super().__init__(file, library, keeps_quantized=False)

    def linear(self, hidden: Any, name: str, *, turned: int = 0) -> Any:
        """A linear map; see ``Decoder``."""
        weight = self.in_halves(self.file.weight(f"{name}.weight"), turned).astype(np.float32)
        scales = np.abs(weight).max(axis=1, keepdims=True) / _LARGEST
        scales[scales == 0] = 1.0
        numbers = self.op.constant(np.rint(weight / scales).astype(np.int8))
        weights = self.op.multiply(self.op.convert(numbers, "f16"), self.op.constant(scales.astype(np.float16)))
        mapped = self.op.matmul(hidden, self.op.convert(weights, "f32"), False, True)
        if f"{name}.bias" not in self.file:
            return mapped
        return self.op.add(
            mapped, self.numbers(self.in_halves(self.file.weight(f"{name}.bias"), turned).reshape(1, 1, -1))
        )


def writing_graph(file: GGUFFile, progress: Progress | None = None) -> Any:
    """The graph of a decoder that keeps what it read, for several sequences at once.

    Inputs: token ids, shape (n, length); their positions, the same shape; for each sequence the one before that it goes
    on from, shape (n,); what is added to attention, shape (n, 1, length, before + length); and which token's
    following one is asked about, shape (1,). Output: logits, shape (n, 1, vocabulary).

    Args:
        file: the model.
        progress: told of the layers that are made.

    Returns:
        An ``openvino.Model`` with a state for the keys and one for the values of each layer.

    Raises:
        ModelError: a tensor is missing, or quantized in a way that is not known.
    """
    library = openvino()
    decoder = _RoundedDecoder(file, library)
    op, older = library.opset13, library.opset6
    util = import_module("openvino.op.util")
    ids = op.parameter([-1, -1], np.int64, "ids")
    positions = op.parameter([-1, -1], np.int64, "positions")
    sources = op.parameter([-1], np.int32, "sources")
    mask = op.parameter([-1, 1, -1, -1], np.float32, "mask")
    asked = op.parameter([1], np.int64, "asked")
    zero, one = (op.constant(np.int64(number)) for number in (0, 1))
    hidden, rotations = decoder.embed(ids), _rotations(decoder, positions)
    count = op.gather(op.shape_of(ids, "i64"), decoder.integers([0]), zero)
    empty = op.broadcast(
        decoder.numbers(0.0), op.concat([count, decoder.integers([file.groups, 0, file.head_size])], 0)
    )
    sinks: list[Any] = []

    def remember(name: str, new: Any) -> Any:
        info = util.VariableInfo()
        info.data_shape = library.PartialShape([-1, file.groups, -1, file.head_size])
        info.data_type, info.variable_id = library.Type.f32, name
        variable = util.Variable(info)
        before = op.gather(older.read_value(empty, variable), sources, zero)
        whole = op.concat([before, new], 2)
        sinks.append(older.assign(whole, variable))
        return whole

    def attend(query: Any, key: Any, value: Any) -> Any:
        index = len(sinks) // 2
        key, value = remember(f"key.{index}", key), remember(f"value.{index}", value)
        return op.scaled_dot_product_attention(query, decoder.repeat(key), decoder.repeat(value), mask)

    for index in range(file.layers):
        if progress is not None:
            progress("prepare model to write (layers)", index, file.layers)
        hidden = decoder.layer(hidden, rotations, index, attend)
    last = decoder.norm(op.gather(hidden, asked, one), "output_norm")
    logits = decoder.linear(last, "output" if "output.weight" in file else "token_embd")
    return library.Model([op.result(logits)], sinks, [ids, positions, sources, mask, asked], "writing")


def _rotations(decoder: Decoder, positions: Any) -> tuple[Any, Any]:
    """As ``Decoder.rotations``, for positions of several sequences: each of shape (n, 1, length, size of a head)."""
    base = float(decoder.file.value("rope.freq_base", _ROPE_BASE))
    rates = base ** -(np.arange(0, decoder.file.head_size, 2) / decoder.file.head_size)
    op = decoder.op
    places = op.unsqueeze(op.convert(positions, "f32"), decoder.integers(2))
    angles = op.multiply(places, decoder.numbers(np.tile(rates, 2)[np.newaxis, np.newaxis]))
    return op.unsqueeze(op.cos(angles), decoder.integers(1)), op.unsqueeze(op.sin(angles), decoder.integers(1))
