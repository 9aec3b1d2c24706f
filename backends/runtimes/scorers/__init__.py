"""Log-probabilities of given text, one kind of model a file.

``LlamaScorer`` reads a GGUF file, ``HFScorer`` a checkpoint, ``VLLMScorer`` asks a
server, and ``CachedScorer`` remembers what any of them said. None loads its library
before it is made. This package does not know what the scores are for.
"""

from __future__ import annotations

from .cache import CachedScorer
from .hf import HFScorer
from .llama import LlamaScorer
from .vllm import VLLMScorer

__all__ = ["CachedScorer", "HFScorer", "LlamaScorer", "VLLMScorer"]
