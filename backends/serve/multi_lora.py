"""A base model with several LoRA adapters in memory, each served under its own name, by transformers and PEFT.

Requests run one at a time: the active adapter is a state of the model.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from hyperalign.errors import ContextLengthError, InputError, NotFoundError, TrainingError
from hyperalign.scores import Message

from ..distill.adapters import Adapter
from ..distill.probe import GREEDY, attach_adapter, compare_logprobs, probe_logprobs
from ..distill.student import Student, load_student
from ..models.scorers.chat import tokenize_context
from .openai_server import Completion, CompletionRequest

__all__ = ["MultiLoraModel"]


class MultiLoraModel:
    """A base and its adapters; each adapter is loaded and checked to differ from the base.

    Args:
        base: the model that all adapters are for.
        base_name: the name that the base is served under.
        adapters: of the base.

    Raises:
        TrainingError: an adapter's keys match no layer of the base, or it changes nothing.
        ModelError: the base does not load.
        MissingExtraError: the 'train' extra is not installed.
    """

    def __init__(self, base: Student, base_name: str, adapters: Sequence[Adapter]) -> None:
        self._torch = import_module("torch")
        self._lock = threading.Lock()
        self._adapters = {base_name: ""}
        model, self._tokenizer = load_student(base)
        added = self._tokenizer.added_tokens_decoder.items()
        self._special = {token.content: index for index, token in added if token.special}
        base_logprobs = probe_logprobs(model, self._tokenizer)
        self._model: Any = model
        for number, adapter in enumerate(adapters):
            # PEFT turns the name into an attribute, which may not contain a dot; people's names may.
            name = f"adapter{number}"
            self._model = attach_adapter(self._model, adapter.path, name)
            self._model.set_adapter(name)
            if not compare_logprobs(base_logprobs, probe_logprobs(self._model, self._tokenizer)).changed:
                raise TrainingError(
                    f"The adapter {adapter.card.name} changes nothing in {base_name}.",
                    remedy="Its keys match no layer of the base, or it learned nothing: distill it again.",
                )
            self._adapters |= {adapter.served_name: name, adapter.card.name: name}
        self._names = [base_name, *(adapter.served_name for adapter in adapters)]
        self._context_length = int(getattr(model.config, "max_position_embeddings", 0)) or None

    @property
    def names(self) -> list[str]:
        """The served names: the base, then each adapter with the hash of its weights."""
        return list(self._names)

    def complete(self, request: CompletionRequest, on_text: Callable[[str], object] | None = None) -> Completion:
        """Answer a conversation.

        Args:
            request: the conversation and sampling parameters.
            on_text: called with each piece of the text as it is generated; an error that it raises stops generation.

        Raises:
            NotFoundError: no model is served under that name.
            ContextLengthError: the conversation and its answer exceed the context length.
            InputError: the model's chat template refuses the turns.
        """
        if request.model not in self._adapters:
            raise NotFoundError(
                f"There is no model {request.model!r} here.", remedy=f"There are: {', '.join(self._names)}."
            )
        prompt = self._tokenize(request.messages)
        tokens_in = len(prompt)
        if self._context_length is not None and tokens_in + request.max_tokens > self._context_length:
            raise ContextLengthError(
                f"{tokens_in} tokens with an answer of {request.max_tokens} do not fit into {self._context_length}.",
                remedy="Shorten the conversation, or ask for a shorter answer.",
            )
        with self._lock, self._use_adapter(self._adapters[request.model]), self._torch.inference_mode():
            sampling: dict[str, Any] = {}
            if request.temperature > 0:
                sampling = {"do_sample": True, "temperature": request.temperature, "top_p": request.top_p}
                self._torch.manual_seed(secrets.randbits(63) if request.seed is None else request.seed)
            ids = self._torch.tensor([prompt], device=self._model.device)
            output = self._model.generate(
                input_ids=ids,
                attention_mask=self._torch.ones_like(ids),
                **{**GREEDY, **sampling},
                max_new_tokens=request.max_tokens,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
                streamer=_build_streamer(self._tokenizer, on_text) if on_text is not None else None,
            )
        answer = output[0, tokens_in:]
        text = self._tokenizer.decode(answer, skip_special_tokens=True).strip()
        end_tokens = self._model.generation_config.eos_token_id
        finished = bool(len(answer)) and int(answer[-1]) in (
            end_tokens if isinstance(end_tokens, list) else [end_tokens]
        )
        return Completion(text, tokens_in, len(answer), truncated=not finished)

    def _tokenize(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a conversation, in which what anybody wrote is never a control token."""

        def render(turns: list[Message]) -> str:
            try:
                return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
            except import_module("jinja2").TemplateError as error:
                raise InputError(f"The model's chat template refuses these turns: {error}.") from error

        def tokens(text: str) -> list[int]:
            return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

        return tokenize_context(render, messages, self._special, tokens)

    def _use_adapter(self, name: str) -> Any:
        if name:
            self._model.set_adapter(name)
            return nullcontext()
        # A model without any adapter has no disable_adapter.
        return self._model.disable_adapter() if hasattr(self._model, "disable_adapter") else nullcontext()


def _build_streamer(tokenizer: Any, on_text: Callable[[str], object]) -> Any:
    """Return a streamer whose pieces join to the stripped answer: space at the end is held back."""
    base: Any = import_module("transformers").TextStreamer

    class Streamer(base):  # type: ignore[misc]  # transformers has no types
        def __init__(self) -> None:
            super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
            self._held, self._started = "", False

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            text = self._held + text
            piece = text.rstrip()
            self._held = text[len(piece) :]
            piece = piece if self._started else piece.lstrip()
            if piece:
                self._started = True
                on_text(piece)

    return Streamer()
