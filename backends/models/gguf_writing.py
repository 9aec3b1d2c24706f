"""The graph that writes: a decoder that keeps what it read, for several sequences at once, made from a GGUF file."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperalign.concurrency import Progress
from hyperalign.errors import ModelError
from hyperalign.files import make_private_file, make_private_folder

from .gguf_file import GGUFFile
from .gguf_graph import Decoder, openvino

__all__ = ["Logits", "Memory", "common", "keep_states", "kept_file", "writing_graph"]

Logits = NDArray[np.float32]

_log = logging.getLogger(__name__)
_LARGEST = 127
_ROPE_BASE = 10_000.0
_BLOCK_TOKENS = 64
"""Tokens read at once. How a text is divided changes its logits a little, so blocks begin anew where its stable part
ends, whether that was read before or not: an answer does not depend on what is remembered."""
_UNSEEN = -1e9
_KIND = "states3"
_KEPT_PREFIXES = 4


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


class Memory:
    """What a writing graph has read: tokens that all its sequences share, and what each of them goes on with.

    Args:
        request: an ``openvino.InferRequest`` of a graph that ``writing_graph`` made; nobody else uses it.
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        self.tokens: list[int] = []
        self._stable = 0

    def rewind(self, prompt: Sequence[int], stable: int, file: Path | None = None) -> int:
        """Make it hold a beginning of a prompt.

        Args:
            prompt: what is read next.
            stable: so many tokens of it are the same next time.
            file: their keys and values, as ``states`` gives them; a damaged one goes.

        Returns:
            How many tokens are not to be read again.
        """
        same = min(common(self.tokens, prompt), len(prompt) - 1)
        is_like = stable == self._stable and same >= stable
        shared = stable + _whole_blocks(same - stable) if is_like else _whole_blocks(min(same, stable, self._stable))
        self._stable = stable
        if file is not None and file.is_file() and shared < stable:
            try:
                self._set_states(np.load(file, allow_pickle=False).astype(np.float32))
                # The one that was used last stays longest.
                os.utime(file)
                self.tokens = list(prompt[:stable])
                return stable
            except (OSError, EOFError, ValueError, RuntimeError):
                file.unlink(missing_ok=True)
        if shared < len(self.tokens):
            self._set_states(self.states(shared) if shared else None)
        self.tokens = self.tokens[:shared]
        return shared

    def read(self, prompt: Sequence[int]) -> Logits:
        """Read the rest of a prompt; returns the logits after it, shape (vocabulary,).

        Raises:
            ModelError: the text could not be read.
        """
        logits = np.zeros(0, np.float32)
        while len(self.tokens) < len(prompt):
            before = len(self.tokens)
            end = min(self._stable if before < self._stable else len(prompt), before + _BLOCK_TOKENS)
            part = np.array([prompt[before:end]], np.int64)
            mask = np.zeros((1, 1, end - before, end), np.float32)
            mask[0, 0, :, before:][~np.tri(end - before, dtype=bool)] = _UNSEEN
            logits = self._infer(part, np.arange(before, end)[np.newaxis], np.zeros(1, np.int32), mask)[0]
            self.tokens = list(prompt[:end])
        return logits

    def step(self, drawn: Sequence[int], at: int, sources: NDArray[np.int32]) -> Logits:
        """Read one more token of each sequence; returns the logits after them, shape (sequences, vocabulary).

        Args:
            drawn: the tokens.
            at: their place.
            sources: for each, the sequence before that it goes on from.

        Raises:
            ModelError: they could not be read.
        """
        mask = np.zeros((len(drawn), 1, 1, at + 1), np.float32)
        ids, places = np.array(drawn, np.int64)[:, np.newaxis], np.full((len(drawn), 1), at, np.int64)
        return self._infer(ids, places, sources, mask)

    def hold(self, length: int, sequence: int = 0) -> None:
        """Forget all but the first tokens of one sequence."""
        self._set_states(self.states(length, sequence))

    def states(self, length: int, sequence: int = 0) -> NDArray[np.float32]:
        """Keys and values of a sequence's first tokens, shape (layers x 2, groups, tokens, size of a head)."""
        found = sorted(self._request.query_state(), key=lambda state: state.name)
        return np.stack([np.array(state.state.data[sequence][..., :length, :]) for state in found])

    def _set_states(self, states: NDArray[np.float32] | None) -> None:
        """Make the memory hold one sequence; nothing if None."""
        if states is None:
            self._request.reset_state()
            return
        library = openvino()
        held = sorted(self._request.query_state(), key=lambda each: each.name)
        for state, values in zip(held, states, strict=True):
            state.state = library.Tensor(np.ascontiguousarray(values[np.newaxis]))

    def _infer(
        self, ids: NDArray[np.int64], places: NDArray[np.int64], sources: NDArray[np.int32], mask: NDArray[np.float32]
    ) -> Logits:
        """Logits after the last of the tokens that are read, shape (n, vocabulary)."""
        try:
            self._request.infer({0: ids, 1: places, 2: sources, 3: mask, 4: np.array([ids.shape[1] - 1], np.int64)})
        except RuntimeError as error:
            raise ModelError(f"OpenVINO could not read the text: {error}.") from error
        # The next call overwrites this memory.
        return np.array(self._request.get_output_tensor(0).data[:, 0, :])


def _whole_blocks(tokens: int) -> int:
    return tokens - tokens % _BLOCK_TOKENS


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))


def kept_file(folder: Path, name: str, tokens: Sequence[int]) -> Path:
    """Where a folder of a person's keeps what a model read of a prompt's first tokens."""
    sha256 = hashlib.sha256(f"{name} {_KIND} {list(tokens)}".encode()).hexdigest()
    return folder / f"{sha256[:32]}.npy"


def keep_states(path: Path, states: NDArray[np.float32]) -> None:
    """Write keys and values in 16 bits; the files that were used longest ago go.

    Where the disk takes none, nothing is kept, which the log says: they only save time.
    """
    temporary = path.with_suffix(".new")
    try:
        make_private_folder(path.parent)
        make_private_file(temporary)
        with temporary.open("wb") as file:
            np.save(file, states.astype(np.float16), allow_pickle=False)
        temporary.replace(path)
    except OSError as error:
        _log.warning("What was read of a person's texts is not kept: %s.", error.strerror or error)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    kept = sorted(path.parent.glob("*.npy"), key=_last_used)
    for old in kept[:-_KEPT_PREFIXES]:
        old.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    """When a file was used last; another process may have taken it away."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
