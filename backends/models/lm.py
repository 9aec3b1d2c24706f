"""hyperalign's language model: a ``dspy.LM`` with our errors, a budget, a journal and settings without secrets."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import dspy

from hyperalign.budget import Budget
from hyperalign.errors import MissingExtraError, ModelOutputError, ModelServerError, UnknownModelError
from hyperalign.programs.dspy_internals import (
    LM_CLASS_STATE_KEY,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTransportError,
    Request,
    TextDelta,
    adapter_message_call,
    error_boundary,
    request_from_openai_chat,
)
from hyperalign.programs.hypothesis_tests.choice import SMALL_MODEL_STATEMENTS_PER_CALL, STATEMENTS_PER_CALL
from hyperalign.scores import Message, Scorer

from .bodies import well_formed
from .engine import AsyncEngine, Engine
from .error_mapping import from_dspy, own_cause
from .llama_server import LlamaServer, ServerSettings
from .meter import Journal, Meter
from .servers import ServerProvider
from .target import TARGET_OPTIONS, Target, open_target


class _Repeated(logging.Filter):
    """Drops warnings that are repeated at every call."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return "DeprecationWarning: `temperature`" not in said and not said.startswith("LM response was truncated")


for _name in ("LiteLLM", "dspy.clients.lm"):
    logging.getLogger(_name).addFilter(_Repeated())
# About LiteLLM's own types; it would show in the terminal while an answer streams.
warnings.filterwarnings("ignore", message="Items? '.*' on TypedDict class", category=UserWarning)

__all__ = ["LM", "stream"]

# On news leads the 1.5B model still looped at 0.2.
_LOOP_PENALTY = 0.5
_RETRIES = 3
_PASSING = (LMRateLimitError, LMServerError, LMTransportError)


class LM(dspy.LM):
    """A model to call, made by ``connect``.

    Calls raise hyperalign's errors instead of DSPy's. DSPy's own answer cache is off: it
    would keep people's texts outside the run's folder.

    Args:
        target: where requests go.
        meter: their budget and journal.
        settings: DSPy's settings, such as ``temperature``, ``max_tokens``, ``num_retries``.

    Attributes:
        side_by_side: how many calls one piece of work makes at once, where others share the server; None for all that
            it takes.
    """

    side_by_side: int | None = None

    def __init__(self, target: Target, meter: Meter | None = None, **settings: Any) -> None:
        meter = meter or Meter()
        if target.server is not None:
            settings.setdefault("provider", ServerProvider())
        target.parameters.set_by_user(name for name, value in settings.items() if value is not None)
        super().__init__(
            target.model,
            cache=False,
            engine=Engine(target, meter),
            async_engine=AsyncEngine(target, meter),
            **settings,
        )

    @classmethod
    def open(cls, name: str, meter: Meter | None = None, **settings: Any) -> Self:
        """The model of a name.

        Args:
            name: see ``connect``.
            meter: its budget and journal.
            settings: options of ``open_target``, and DSPy's settings.
        """
        options = {key: settings.pop(key) for key in TARGET_OPTIONS & settings.keys()}
        settings = {"num_retries": _RETRIES, **settings}
        target = open_target(name, patience=settings["num_retries"], **options)
        # Saved states of DSPy programs hold these; both are fixed here.
        for key in ("cache", "engine", "model_type"):
            settings.pop(key, None)
        return cls(target, meter, **settings)

    @property
    def target(self) -> Target:
        """Where requests go."""
        return self._own_engine.target

    @property
    def budget(self) -> Budget | None:
        """The budget that counts its calls."""
        return self._own_engine.meter.budget

    @property
    def concurrency(self) -> int:
        """How many requests are under way at once, at most."""
        limit = self.target.concurrency
        return limit if self.side_by_side is None else min(limit, self.side_by_side)

    @property
    def statements_per_call(self) -> int:
        """How many statements one call asks about."""
        return SMALL_MODEL_STATEMENTS_PER_CALL if self.target.kind in {"local", "adapter"} else STATEMENTS_PER_CALL

    @property
    def writing(self) -> dict[str, float]:
        """Settings for free writing: a penalty on repetition keeps small models out of loops.

        A vLLM server's model may be large and does not need it; it does little harm there.
        """
        return {"frequency_penalty": _LOOP_PENALTY} if self.target.kind in {"local", "vllm", "adapter"} else {}

    def scorer(self) -> Scorer | None:
        """Log-probabilities of given text by the same weights, where this machine or the server can give them.

        Returns:
            One for ``local:`` models (with the extra ``local``) and vLLM servers; None for hosted models.

        Raises:
            ModelError: the file of a ``local:`` model can't be had, or the vLLM server does not answer.
        """
        from .scorers import open_scorer

        try:
            return open_scorer(self.target.name, budget=self.budget)
        except (UnknownModelError, MissingExtraError):
            return None

    @contextmanager
    def journaling(self, journal: Journal) -> Iterator[None]:
        """Remember the answers to calls made inside the ``with`` block, also by copies; a journal of its own stays."""
        with self._own_engine.meter.journaling(journal):
            yield

    def metered(self, *, budget: Budget | None = None, journal: Journal | None = None) -> Self:
        """The same model with another budget and journal; the server is shared."""
        meter = Meter(budget, journal)
        copied: Self = self.copy(engine=Engine(self.target, meter), async_engine=AsyncEngine(self.target, meter))
        return copied

    def booked_in(self, budget: Budget) -> Self:
        """The same model with its calls booked in a budget; itself, if they are booked already."""
        meter = self._own_engine.meter
        return self if meter.budget is not None else self.metered(budget=budget, journal=meter.journal)

    def copy(self, **changed: Any) -> Any:
        """The same model with some settings changed; another ``model`` is another connection.

        DSPy's optimizers copy a model with the name of what was trained.
        """
        name = str(changed.get("model", ""))
        if not name.startswith(("adapter:", "local:", "vllm:")):
            return super().copy(**changed)
        kept = {"num_retries": self.num_retries, "provider": self.provider, "fixed": self.target.fixed}
        settings = {**self.kwargs, **kept, **changed}
        del settings["model"]
        return self.open(name, Meter(self.budget), **settings)

    def _get_initial_kwargs(self, *, temperature: Any, max_tokens: Any, **kwargs: Any) -> dict[str, Any]:
        # DSPy refuses small answers of models that think; room for their thoughts is added when they are asked.
        kept: dict[str, Any] = dspy.BaseLM._get_initial_kwargs(
            self, temperature=temperature, max_tokens=max_tokens, **kwargs
        )
        return {name: value for name, value in kept.items() if name != "rollout_id" or value is not None}

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """Ask the model; see ``dspy.LM``.

        Raises:
            ModelError: one of its subclasses, when the model could not be used.
            BudgetExceededError: a cap was reached before the call.
        """
        # DSPy refuses half a character, which nobody can read anyway.
        prompt, messages = well_formed(prompt), well_formed(messages)
        try:
            with adapter_message_call(self, messages):
                return super().__call__(prompt, messages=messages, **kwargs)
        except LMError as error:
            raise from_dspy(error, self.target) from error

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """The same, asynchronously."""
        prompt, messages = well_formed(prompt), well_formed(messages)
        try:
            with adapter_message_call(self, messages):
                return await super().acall(prompt, messages=messages, **kwargs)
        except LMError as error:
            raise from_dspy(error, self.target) from error

    def __getstate__(self) -> dict[str, Any]:
        # The history holds people's words: they do not travel with a model into a file or another process.
        state: dict[str, Any] = super().__getstate__()
        return {**state, "history": []}

    def dump_state(self) -> dict[str, Any]:
        """The settings to connect again: no key, headers, budget or journal."""
        target = self.target
        state = {
            LM_CLASS_STATE_KEY: f"{type(self).__module__}.{type(self).__qualname__}",
            "name": target.name,
            "timeout": target.timeout,
            "concurrency": target.concurrency,
            "num_retries": self.num_retries,
            **self.kwargs,
            "fixed": target.fixed,
        }
        if target.api_version is not None:
            state["api_version"] = target.api_version
        # An address may hold a password or a key; where it does, it has to be given again.
        if target.kind == "hosted" and target.api_base is not None and not {"@", "?"} & set(target.api_base):
            state["api_base"] = target.api_base
        if isinstance(target.server, LlamaServer):
            state["server"] = target.server.settings.model_dump()
        return state

    @classmethod
    def load_state(cls, state: dict[str, Any], *, allow_custom_lm_class: bool = False) -> LM:
        """Connect again from what ``dump_state`` gave; keys come from the environment."""
        settings = {key: value for key, value in state.items() if key != LM_CLASS_STATE_KEY}
        if (server := settings.pop("server", None)) is not None:
            settings["server"] = ServerSettings.model_validate(server)
        return cls.open(settings.pop("name"), **settings)

    @property
    def _own_engine(self) -> Engine:
        engine: Engine = self._engine_spec
        return engine


def stream(lm: Any, messages: Sequence[Message], **settings: Any) -> Iterator[str]:
    """Ask a model and yield its answer as it comes; counted like any other call.

    Args:
        lm: a model from ``connect``; the answer of any other ``dspy`` model comes in one piece.
        messages: the chat so far.
        settings: for this call only, such as ``temperature``.

    Yields:
        Pieces of the answer; joined they are the whole answer.

    Raises:
        ModelError: one of its subclasses, when the model could not be used or broke off.
        BudgetExceededError: a cap was reached before the call.
    """
    defaults = {key: value for key, value in lm.kwargs.items() if value is not None and key != "rollout_id"}
    body = {"model": lm.model, "messages": well_formed(copy.deepcopy(list(messages))), **defaults, **settings}
    request: Request = request_from_openai_chat(body)
    if not isinstance(lm, LM):
        response = lm(request)
        yield "".join(getattr(part, "text", "") for part in response.message.parts)
        return
    begun = False
    try:
        with error_boundary(lm.model, unexpected=True):
            for piece in _texts(lm._own_engine.stream(request)):
                begun = True
                yield piece
        if begun:
            return
    except LMError as error:
        if begun and isinstance(error, LMTransportError):
            raise ModelServerError(
                f"'{lm.target.name}' broke off in the middle of its answer.", remedy="Run it again."
            ) from error
        if begun or not _passes(error):
            raise from_dspy(error, lm.target) from error
    # Nothing is shown yet, and the fault may pass: an ordinary call tries again, with DSPy's pauses between.
    (answer,) = lm(messages=list(messages), **settings)
    yield answer if isinstance(answer, str) else answer["text"]


def _texts(events: Iterator[Any]) -> Iterator[str]:
    return (event.delta.text for event in events if event.type == "delta" and isinstance(event.delta, TextDelta))


def _passes(error: LMError) -> bool:
    """Whether asking again may help: the fault may pass, or the answer could not be used."""
    return isinstance(error, _PASSING) or isinstance(own_cause(error), ModelOutputError)
