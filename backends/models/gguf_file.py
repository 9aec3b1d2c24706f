"""A GGUF file's header, and its tensors: dequantized, or as the whole numbers, scales and minima that it holds."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import ModelError

from .gguf_blocks import READERS, Quantized

__all__ = ["CONTROL", "USER_DEFINED", "GGUFFile"]

CONTROL, USER_DEFINED = 3, 4
"""Kinds of tokens, as in the specification of GGUF; a model's maker defines the latter."""

ARCHITECTURES = ("llama", "qwen2")
# The types of values in a GGUF header, as in its specification.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_OLDEST_VERSION = 2
_ALIGNMENT = 32
# What a decoder of these kinds consists of. Anything else in a file would be passed over, and its numbers be wrong.
_OUTER = ("token_embd", "output_norm", "output")
_INNER = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")


class _Array(NamedTuple):
    """Where an array of the header lies."""

    kind: int
    length: int
    at: int


class GGUFFile:
    """The header of a GGUF file, and its tensors where they lie.

    Arrays of the header are read when they are asked for: the vocabulary takes longer than all the rest.

    Args:
        path: the file.
        any_kind: whether kinds of models that this reader does not know will do: their header alone is of use.

    Attributes:
        architecture: the kind of model, such as ``llama``.
        layers: its number of layers.

    Raises:
        ModelError: the file is missing or damaged, or this reader does not know the model's kind.
    """

    def __init__(self, path: Path, *, any_kind: bool = False) -> None:
        self._path = path
        self._at = 0
        if not path.is_file():
            raise ModelError(f"There is no model file {path}.", remedy="See 'hyperalign models list'.")
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._read_header()
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise ModelError(
                f"{path} does not load as a model: {error}.", remedy="Fetch it again with 'hyperalign models pull'."
            ) from error
        self.architecture = str(self._values.get("general.architecture"))
        if not any_kind:
            self._check()
        self.layers = int(self.value("block_count", 0 if any_kind else None))

    def value(self, name: str, default: Any = None) -> Any:
        """A value that the header gives for the model's kind.

        Args:
            name: without the architecture before it, such as ``block_count``.
            default: taken where the header has no such value.

        Raises:
            ModelError: it has none, and there is no default.
        """
        found = self._values.get(f"{self.architecture}.{name}", default)
        if found is None or isinstance(found, _Array):
            raise self.unsupported(f"gives no single {name}")
        return found

    def tokenizer(self, name: str, default: Any = None) -> Any:
        """What the header says of the tokenizer; the default where it says nothing.

        Args:
            name: without ``tokenizer.`` before it, such as ``ggml.tokens``.
            default: taken where the header has no such value.

        Returns:
            A value; a list for an array.

        Raises:
            ModelError: the array is damaged.
        """
        found = self._values.get(f"tokenizer.{name}", default)
        if not isinstance(found, _Array):
            return found
        self._at = found.at
        try:
            if found.kind == _STRING:
                return [self._take_text() for _ in range(found.length)]
            return list(self._take(f"<{found.length}{_SCALARS[found.kind]}"))
        except (KeyError, struct.error) as error:
            raise self.unsupported(f"holds a damaged list {name}") from error

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that the file has, rows first."""
        return tuple(self._tensors[name][0])

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

        shape, kind, blocks = self._blocks(name)
        try:
            rows = blocks.reshape(*shape[:-1], -1)
            return np.asarray(dequantize(rows, GGMLQuantizationType(kind)), np.float32).reshape(shape)
        except (NotImplementedError, ValueError) as error:
            raise self.unsupported(f"has a tensor {name} that can't be read ({error})") from error

    def quantized(self, name: str) -> Quantized | None:
        """A matrix as the file holds it; None where it is quantized in a way that this reader can't take apart.

        Args:
            name: as in the file, such as ``blk.0.attn_q.weight``.

        Raises:
            ModelError: the file has no such tensor.
        """
        from gguf import GGMLQuantizationType

        shape, kind, blocks = self._blocks(name)
        read = READERS.get(GGMLQuantizationType(kind).name)
        if read is None:
            return None
        found = read(blocks)
        rows = shape[0]
        return Quantized(
            found.numbers.reshape(rows, -1, found.numbers.shape[-1]),
            found.scales.reshape(rows, -1),
            None if found.minima is None else found.minima.reshape(rows, -1),
            found.is_half,
        )

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return int(self.value("attention.head_count"))

    @property
    def groups(self) -> int:
        """Heads of keys and values: in grouped-query attention several heads share one (Ainslie et al., 2023)."""
        return int(self.value("attention.head_count_kv", self.heads))

    @property
    def head_size(self) -> int:
        """Numbers in an attention head."""
        return int(self.value("attention.key_length", self.width // self.heads))

    @property
    def width(self) -> int:
        """Numbers in a hidden state."""
        return int(self.value("embedding_length"))

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(int(np.prod(shape)) for shape, _, _ in self._tensors.values())

    def unsupported(self, why: str) -> ModelError:
        """The error for a file that can't be read.

        Args:
            why: a sentence's end, of which the file is the subject.
        """
        kinds = " or ".join(ARCHITECTURES)
        return ModelError(
            f"{self._path.name} can't be read for log-probabilities or embeddings: it {why}.",
            remedy=f"Read with a plain {kinds} model, such as 'local:qwen2.5-coder-1.5b-instruct'. "
            "Or test by choice ('--scorer none'), or with a vLLM server ('--scorer vllm:ADDRESS').",
        )

    def _blocks(self, name: str) -> tuple[tuple[int, ...], int, NDArray[np.uint8]]:
        """A tensor's shape and type, and its bytes, shape (blocks, bytes of a block)."""
        from gguf import GGMLQuantizationType
        from gguf.constants import GGML_QUANT_SIZES

        if name not in self._tensors:
            raise self.unsupported(f"has no tensor {name}")
        shape, kind, offset = self._tensors[name]
        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            count = int(np.prod(shape)) // block
            return shape, kind, np.frombuffer(self._map, np.uint8, count * size, offset).reshape(count, size)
        except (KeyError, ValueError) as error:
            raise self.unsupported(f"has a tensor {name} that can't be read ({error})") from error

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
        if kind == _STRING:
            return self._take_text()
        if kind != _ARRAY:
            return self._take("<" + _SCALARS[kind])[0]
        inner, count = self._take("<IQ")
        found = _Array(inner, count, self._at)
        if inner == _STRING:
            for _ in range(count):
                (length,) = self._take("<Q")
                self._at += length
        else:
            self._at += count * struct.calcsize(_SCALARS[inner])
        return found

    def _check(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise self.unsupported(f"is a model of the kind '{self.architecture}'")
        if self._values.get(f"{self.architecture}.expert_count"):
            raise self.unsupported("is a mixture of experts")
        scaling = self._values.get(f"{self.architecture}.rope.scaling.type", "none")
        if scaling != "none" or "rope_freqs.weight" in self or self.value("rope.scale_linear", 1.0) != 1:
            raise self.unsupported("scales its positions")
        if self.value("attention.sliding_window", 0):
            raise self.unsupported("attends to a sliding window")
        if self.value("rope.dimension_count", self.head_size) != self.head_size:
            raise self.unsupported("turns only a part of each attention head")
        if odd := next((name for name in self._tensors if not _is_known(name)), None):
            raise self.unsupported(f"has a tensor {odd}, whose use is not known")


def _is_known(name: str) -> bool:
    """Whether a tensor is a part of a plain decoder."""
    part, _, last = name.rpartition(".")
    outer, _, inner = part.rpartition(".")
    known = _INNER if outer.startswith("blk.") else _OUTER
    return last in ("weight", "bias") and inner in known
