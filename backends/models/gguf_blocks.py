"""Takes the quantized blocks of a GGUF file apart: whole numbers, scales and minima, with nothing rounded.

The layouts are those of llama.cpp's block types. A type that is not here is dequantized instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["READERS", "Quantized"]

Blocks = NDArray[np.uint8]
"""The bytes of blocks, shape (blocks, bytes of a block)."""


class Quantized(NamedTuple):
    """A matrix in groups of like scale: a weight is its whole number times its group's scale, less the minimum.

    Attributes:
        numbers: shape (outputs, groups, size of a group), of signed bytes; 0 to 15 where ``is_half``.
        scales: shape (outputs, groups).
        minima: the same shape; None where there are none.
        is_half: whether four bits hold each number.
    """

    numbers: NDArray[np.int8]
    scales: NDArray[np.float32]
    minima: NDArray[np.float32] | None
    is_half: bool


def _half(blocks: Blocks, at: int) -> NDArray[np.float32]:
    """The number of 16 bits at a place of each block, shape (blocks, 1)."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16).astype(np.float32)


def _nibbles(packed: Blocks) -> Blocks:
    """Low halves of the bytes, then high halves, along the last axis."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _fifth_bits(packed: Blocks) -> Blocks:
    """Bits of four bytes as the fifth bit of 32 numbers, shape (blocks, 32)."""
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _signed(numbers: Blocks, less: int = 0) -> NDArray[np.int8]:
    return (numbers.astype(np.int16) - less).astype(np.int8)


def _q4_0(blocks: Blocks) -> Quantized:
    scales = _half(blocks, 0)
    return Quantized(_signed(_nibbles(blocks[:, 2:])), scales, 8 * scales, True)


def _q4_1(blocks: Blocks) -> Quantized:
    return Quantized(_signed(_nibbles(blocks[:, 4:])), _half(blocks, 0), -_half(blocks, 2), True)


def _q5_0(blocks: Blocks) -> Quantized:
    numbers = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
    return Quantized(_signed(numbers, 16), _half(blocks, 0), None, False)


def _q5_1(blocks: Blocks) -> Quantized:
    numbers = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return Quantized(_signed(numbers), _half(blocks, 0), -_half(blocks, 2), False)


def _q8_0(blocks: Blocks) -> Quantized:
    return Quantized(np.ascontiguousarray(blocks[:, 2:]).view(np.int8), _half(blocks, 0), None, False)


def _six_bit_pairs(packed: Blocks) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Eight scales and eight minima of six bits each, from the twelve bytes of a block of 256 weights."""
    first, second, last = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (last & 15) | ((first >> 6) << 4)], axis=1)
    minima = np.concatenate([second & 63, (last >> 4) | ((second >> 6) << 4)], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _q4_k(blocks: Blocks) -> Quantized:
    scales, minima = _six_bit_pairs(blocks[:, 4:16])
    numbers = _nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    return Quantized(_signed(numbers), _half(blocks, 0) * scales, _half(blocks, 2) * minima, True)


def _q5_k(blocks: Blocks) -> Quantized:
    scales, minima = _six_bit_pairs(blocks[:, 4:16])
    low = _nibbles(blocks[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    shifts = np.arange(8, dtype=np.uint8)[:, np.newaxis]
    high = ((blocks[:, np.newaxis, 16:48] >> shifts) & np.uint8(1)) << np.uint8(4)
    return Quantized(_signed(low | high), _half(blocks, 0) * scales, _half(blocks, 2) * minima, False)


def _q6_k(blocks: Blocks) -> Quantized:
    low = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, np.newaxis]
    high = ((blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts) & np.uint8(3)) << np.uint8(4)
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    return Quantized(_signed(low | high, 32).reshape(-1, 16, 16), _half(blocks, 208) * scales, None, False)


READERS: dict[str, Callable[[Blocks], Quantized]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
"""What takes blocks of a type apart; the last axis of its numbers is a group."""
