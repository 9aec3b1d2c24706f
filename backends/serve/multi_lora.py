"""One base model with many adapters in memory, answering under each one's name, with transformers and PEFT.

It works on one request at a time: the active adapter is a state of the model.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from hyperalign.errors import ContextLengthError, NotFoundError, TrainingError

from ..distill.adapters import Adapter
from ..distill.probe import probe_scores, tell_apart, with_adapter
from ..distill.student import Student, load_student
from .openai_server import Completion, CompletionRequest

__all__ = ["MultiLoraModel"]


class MultiLoraModel:
    """A base and its adapters, loaded and proved to differ from it.

    Args:
        base: the model that all adapters are of.
        base_name: what the base is called.
        adapters: whole ones.

    Raises:
        TrainingError: an adapter fits no layer of the base, or changes nothing.
        ModelError: the base does not load.
        MissingExtraError: the 'train' extra is not installed.
    """

    def __init__(self, base: Student, base_name: str, adapters: Sequence[Adapter]) -> None:
        self._torch = import_module("torch")
        self._lock = threading.Lock()
        self._names = {base_name: ""}
        model, self._tokenizer = load_student(base)
        plain = probe_scores(model, self._tokenizer)
        self._model: Any = model
        for number, adapter in enumerate(adapters):
            # PEFT makes its name an attribute, which may hold no dot; people's names may.
            voice = f"voice{number}"
            self._model = with_adapter(self._model, adapter.path, voice)
            self._model.set_adapter(voice)
            # What fits no layer loads without a word and answers like the base.
            if not tell_apart(plain, probe_scores(self._model, self._tokenizer)).changed:
                raise TrainingError(
                    f"The adapter {adapter.card.name} changes nothing in {base_name}.",
                    remedy="Its keys fit no layer of the base, or it learned nothing: distill it again.",
                )
            self._names |= {adapter.served_name: voice, adapter.card.name: voice}
        self._served = [base_name, *(adapter.served_name for adapter in adapters)]
        self._room = int(getattr(model.config, "max_position_embeddings", 0)) or None

    @property
    def names(self) -> list[str]:
        """What can be asked for: the base, then each adapter with the hash of its weights."""
        return list(self._served)

    def answer(self, asked: CompletionRequest, heard: Callable[[str], object] | None = None) -> Completion:
        """Answer a conversation.

        Args:
            asked: what, and how.
            heard: is handed the text as it is written, word by word; what it raises ends the answer.

        Raises:
            NotFoundError: nothing is served under that name.
            ContextLengthError: the conversation and its answer do not fit.
        """
        if asked.model not in self._names:
            raise NotFoundError(
                f"There is no model {asked.model!r} here.", remedy=f"There are: {', '.join(self._served)}."
            )
        text = self._tokenizer.apply_chat_template(list(asked.messages), tokenize=False, add_generation_prompt=True)
        ids = self._tokenizer(text, return_tensors="pt", add_special_tokens=False)
        read = int(ids["input_ids"].shape[1])
        if self._room is not None and read + asked.max_tokens > self._room:
            raise ContextLengthError(
                f"{read} tokens with an answer of {asked.max_tokens} do not fit into {self._room}.",
                remedy="Shorten the conversation, or ask for a shorter answer.",
            )
        with self._lock, self._speaking_as(self._names[asked.model]), self._torch.inference_mode():
            drawn = asked.temperature > 0
            if drawn:
                self._torch.manual_seed(secrets.randbits(63) if asked.seed is None else asked.seed)
            found = self._model.generate(
                **ids.to(self._model.device),
                max_new_tokens=asked.max_tokens,
                do_sample=drawn,
                temperature=asked.temperature if drawn else None,
                top_p=None,
                top_k=None,
                # A checkpoint's own settings may punish repetition: other engines do not know them.
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id,
                streamer=_streamer(self._tokenizer, heard) if heard is not None else None,
            )
        written = found[0, read:]
        said = self._tokenizer.decode(written, skip_special_tokens=True).strip()
        ended = bool(len(written)) and int(written[-1]) in _ends(self._model)
        return Completion(said, read, len(written), cut=not ended)

    def _speaking_as(self, adapter: str) -> Any:
        if adapter:
            self._model.set_adapter(adapter)
            return nullcontext()
        # Without any adapter the model is the base itself, and has nothing to switch off.
        return self._model.disable_adapter() if hasattr(self._model, "disable_adapter") else nullcontext()


def _streamer(tokenizer: Any, heard: Callable[[str], object]) -> Any:
    """Hands on what is sure of the text: as the whole answer it begins and ends without space."""
    parent: Any = import_module("transformers").TextStreamer

    class Hears(parent):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
            self._held, self._begun = "", False

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            text = self._held + text
            said = text.rstrip()
            self._held = text[len(said) :]
            said = said if self._begun else said.lstrip()
            if said:
                self._begun = True
                heard(said)

    return Hears()


def _ends(model: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}
