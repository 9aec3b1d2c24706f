"""Log-probabilities of given text from a checkpoint, with transformers.

The context is read once; its key-value cache is repeated for the texts of a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from hyperalign.budget import Budget
from hyperalign.errors import ContextLengthError, MissingExtraError, ModelError
from hyperalign.scores import Message, TextScore

from .chat import ModelScorer, clean, tokenize_context

__all__ = ["HFScorer"]

_BRANCHES = 16
_BATCH = 512  # tokens in one batch: logits take 4 bytes x vocabulary each


class HFScorer(ModelScorer):
    """A ``Scorer`` over a transformers checkpoint.

    Args:
        path: the checkpoint folder; or a GGUF file, whose weights are dequantized (memory: 2 or 4
            bytes a parameter).
        name: names the model and its weights; scores are cached by it.
        dtype: ``bfloat16`` is fast only where the processor computes in it.
        device: where the model lives, such as ``cpu`` or ``cuda``.
        budget: where to book what is read.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: the checkpoint does not load, or has no chat template.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "cpu",
        budget: Budget | None = None,
    ) -> None:
        super().__init__(name, budget)
        self._device = device
        self._torch, transformers = _libraries()
        self._tokenizer, self._model = _load(transformers, Path(path), getattr(self._torch, dtype))
        if not self._tokenizer.chat_template:
            raise ModelError(
                "The checkpoint carries no chat template.",
                remedy="Choose the instruction-tuned checkpoint of the model.",
            )
        self._model.to(device).eval()
        self._special = {
            token.content: index for index, token in self._tokenizer.added_tokens_decoder.items() if token.special
        }
        self._room = int(getattr(self._model.config, "max_position_embeddings", 0)) or None

    def close(self) -> None:
        """See ``ModelScorer``."""
        with self._lock:
            self._model = None

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text as the assistant's next turn; see ``hyperalign.scores.Scorer``.

        Raises:
            ContextLengthError: the context and its longest text do not fit.
            BudgetExceededError: a cap is reached.
            ModelError: the scorer is closed, or torch failed.
        """
        prompt = self._prompt(context)
        branches = [self._tokens(clean(text)) for text in texts]
        longest = len(prompt) + max(map(len, branches), default=0)
        if self._room is not None and longest > self._room:
            raise ContextLengthError(
                f"A context with its text has {longest} tokens; the model reads at most {self._room}.",
                remedy="Shorten the records or the prompt.",
            )
        began = self._begin()
        with self._lock, self._torch.inference_mode():
            if self._model is None:
                raise ModelError("This scorer is closed.", remedy="Open the model again.")
            try:
                totals = self._read(prompt, branches)
            except RuntimeError as error:
                raise ModelError(f"torch could not read the text: {error}.") from error
        self._book(began, len(prompt) + sum(map(len, branches)))
        return [TextScore(total, len(branch)) for total, branch in zip(totals, branches, strict=True)]

    def _render(self, messages: list[Message]) -> str:
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except import_module("jinja2").TemplateError as error:
            raise ModelError(
                f"The model's chat template refuses these turns: {error}.",
                remedy="Begin with a user turn, or score with a model that takes system turns.",
            ) from error

    def _tokens(self, text: str) -> list[int]:
        if not text:
            return []
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def _prompt(self, context: Sequence[Message]) -> list[int]:
        return tokenize_context(self._render, context, self._special, self._tokens)

    def _read(self, prompt: list[int], branches: list[list[int]]) -> list[float]:
        torch = self._torch
        ids = torch.tensor([prompt], device=self._device)
        read = self._model(input_ids=ids, use_cache=True, logits_to_keep=1)
        first = torch.log_softmax(read.logits[0, -1].float(), dim=-1)
        totals = [float(first[branch[0]]) if branch else 0.0 for branch in branches]
        for wave in _waves(branches):
            for text, total in zip(
                wave, self._read_wave(read.past_key_values, len(prompt), wave, branches), strict=True
            ):
                totals[text] += total
        return totals

    def _read_wave(self, cache: Any, length: int, wave: list[int], branches: list[list[int]]) -> list[float]:
        torch = self._torch
        width = max(len(branches[text]) for text in wave) - 1
        ids = torch.zeros((len(wave), width), dtype=torch.long)
        following = torch.zeros_like(ids)
        real = torch.zeros_like(ids)
        for row, text in enumerate(wave):
            branch = branches[text]
            ids[row, : len(branch) - 1] = torch.tensor(branch[:-1])
            following[row, : len(branch) - 1] = torch.tensor(branch[1:])
            real[row, : len(branch) - 1] = 1
        ids, following, real = (tensor.to(self._device) for tensor in (ids, following, real))
        # The model appends to the cache it is given, and the next wave needs the context alone.
        repeated = copy.deepcopy(cache)
        repeated.batch_repeat_interleave(len(wave))
        seen = torch.ones((len(wave), length), dtype=torch.long, device=self._device)
        logits = self._model(
            input_ids=ids,
            attention_mask=torch.cat([seen, real], dim=1),
            position_ids=torch.arange(length, length + width, device=self._device).expand(len(wave), -1),
            past_key_values=repeated,
            use_cache=True,
        ).logits
        chosen = logits.gather(-1, following.unsqueeze(-1)).squeeze(-1).float()
        # Row by row: the float copy of a whole batch's logits would be gigabytes.
        norm = torch.stack([torch.logsumexp(row.float(), dim=-1) for row in logits])
        return [float(total) for total in ((chosen - norm).double() * real).sum(dim=1)]


def _waves(branches: list[list[int]]) -> Iterator[list[int]]:
    """Groups of texts of like length that make one batch; texts of one token need no reading."""
    order = sorted((i for i, branch in enumerate(branches) if len(branch) > 1), key=lambda i: -len(branches[i]))
    wave: list[int] = []
    for text in order:
        if wave and (len(wave) == _BRANCHES or (len(wave) + 1) * len(branches[wave[0]]) > _BATCH):
            yield wave
            wave = []
        wave.append(text)
    if wave:
        yield wave


def _libraries() -> tuple[Any, Any]:
    try:
        return import_module("torch"), import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("Scoring with transformers", "train") from error


def _load(transformers: Any, path: Path, dtype: Any) -> tuple[Any, Any]:
    if not path.exists():
        raise ModelError(f"There is no checkpoint {path}.", remedy="Give a checkpoint folder or a GGUF file.")
    folder: Path = path
    options: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    if path.is_file():
        folder, options = path.parent, {"gguf_file": path.name}
        weights = {"quantization_config": transformers.GgufConfig(dequantize=True)}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True, **options)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), local_files_only=True, dtype=dtype, **options, **weights
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path} does not load as a checkpoint: {error}.") from error
    return tokenizer, model
