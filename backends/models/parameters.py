"""Which parameters of a call are sent to a model: those that it accepts.

LiteLLM's table and its own check tell what a known model accepts; what a server refuses is omitted from then on. A
model that thinks before it answers gets extra tokens for its thoughts.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["SHORT_ANSWER_TOKENS", "Parameters", "is_accepted", "optional_names", "speaks_responses", "thinks"]

_log = logging.getLogger("hyperalign")

SHORT_ANSWER_TOKENS = 320
"""An answer limited to this many tokens is a letter or a list of letters: little thinking is enough."""
_ROOM_TOKENS = 8_192
_MORE_ROOM_TOKENS = 32_768
_LEAST_ROOM_TOKENS = 256
# Parameters that a call can do without, the most important last.
_OPTIONAL = (
    "top_logprobs",
    "logprobs",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "top_k",
    "top_p",
    "stop",
    "temperature",
    "reasoning_effort",
    "response_format",
)
_JSON = "json"
_LENGTHS = ("max_tokens", "max_completion_tokens")
_LOWEST_TEMPERATURE = 0.01
_POSITIVE = re.compile(r"strictly positive|greater than (?:0|zero)|> ?0", re.IGNORECASE)
_LENGTH = re.compile(r"max[_ ](?:completion[_ ]|output[_ ]|new[_ ])?tokens", re.IGNORECASE)
_AT_MOST = re.compile(
    r"(?:less than or equal to|at most|no more than|up to|not exceed|<=|maximum (?:value )?(?:is|of)|limit (?:is|of))"
    r"\s*(\d{2,6})",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(r"unsupported|not supported|unknown|unrecognized|not permitted|use '", re.IGNORECASE)
_OUT_OF_ROOM = re.compile(r"higher max_(?:completion_)?tokens|could not finish", re.IGNORECASE)
# How servers describe a parameter, beside its name.
_ALSO_CALLED = {
    "response_format": r"json[ _]?(?:schema|object|mode)|structured output|grammar",
    "logprobs": r"(?<!top_)log[ -]?prob",
    "reasoning_effort": r"reasoning|thinking",
    "frequency_penalty": r"penalt",
}
# For these LiteLLM asks a running server instead of its table.
_ASKS_SERVER = ("ollama/", "ollama_chat/")
# Asking these for an effort turns their thinking on, or has no effect.
_UNASKED = re.compile(r"claude|anthropic|deepseek|bedrock|mistral|ollama", re.IGNORECASE)


class Parameters:
    """The parameters that one model accepts; shared by all calls to it, and safe to use from several threads.

    Args:
        model: LiteLLM's name of it.
        name: its name in messages to the user.
        fixed: parameters that the user set, which override those of a call.
    """

    def __init__(self, model: str, name: str, fixed: Mapping[str, Any] | None = None) -> None:
        self._model = model
        self._name = name
        self.fixed = dict(fixed or {})
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self._length = _LENGTHS[0]
        self._room: int | None = None
        self._most_room = _MORE_ROOM_TOKENS
        self._longest: int | None = None
        self._lowest_temperature = 0.0
        self._suspected = False
        self.merges_roles = False
        self._reported: set[str] = set()
        self._by_user = set(self.fixed)

    def set_by_user(self, names: Iterable[str]) -> None:
        """Note settings that the user chose: a warning tells when one is omitted."""
        with self._lock:
            self._by_user.update(names)

    def sent(self, wished: Mapping[str, Any], *, without: Collection[str] = (), extra: int = 0) -> dict[str, Any]:
        """The arguments of a call to LiteLLM.

        Args:
            wished: all arguments that the call asks for.
            without: names to omit this time.
            extra: tokens beside those of the answer, this time.
        """
        arguments = {**wished, **self.fixed}
        limit = next((arguments.pop(name) for name in reversed(_LENGTHS) if arguments.get(name) is not None), None)
        for name in _LENGTHS:
            arguments.pop(name, None)
        with self._lock:
            refused, length, told = set(self._refused), self._length, set(self._by_user)
            room, longest = self._room_now(), self._longest
        if arguments.get("temperature") is not None:
            arguments["temperature"] = max(arguments["temperature"], self._lowest_temperature)
        if limit is not None:
            is_letters = limit <= SHORT_ANSWER_TOKENS and arguments.get("response_format") is None
            if room and is_letters and _takes_low_effort(self._model):
                arguments.setdefault("reasoning_effort", "low")
            if length not in refused:
                asked = min(limit + room + extra, max(limit, _longest_answer(self._model)))
                arguments[length] = asked if longest is None else min(asked, longest)
        if "json_schema" in refused and _is_schema(arguments.get("response_format")):
            arguments["response_format"] = {"type": "json_object"}
        wishes = {name: arguments[name] for name in _OPTIONAL if arguments.get(name) is not None}
        refused |= set(without)
        granted = _grant(self._model, {name: value for name, value in wishes.items() if name not in refused})
        self._report_omitted(name for name in told if name in wishes and name not in granted)
        return {name: value for name, value in arguments.items() if name not in _OPTIONAL} | granted

    def learn_refusal(self, said: str, sent: Mapping[str, Any], *, room: int) -> bool:
        """Note which parameter a server refused.

        Args:
            said: the server's message.
            sent: the arguments that were sent.
            room: how many of the sent tokens were room to think.

        Returns:
            Whether another way of asking is worth a try.
        """
        if _OUT_OF_ROOM.search(said):
            return self.learn_thinking(had=room)
        if (name := next((name for name in _LENGTHS if name in sent), None)) and _LENGTH.search(said):
            if _UNKNOWN.search(said):
                self._rename_length(name)
                return True
            return self._learn_longest(said, int(sent[name])) or self.learn_too_long(room)
        # One at a time, the least important first: of two that exclude each other, the other one may stay.
        named = next((name for name in optional_names(sent) if _names(said, name)), None)
        if named == "temperature" and sent[named] == 0 and _POSITIVE.search(said):
            self._lowest_temperature = _LOWEST_TEMPERATURE
        elif named is not None:
            self.leave_out(["json_schema" if _is_schema(sent[named]) else named])
        return named is not None

    def learn_roles(self) -> bool:
        """Note that a server accepts no system turn, or wants alternating roles; False if it was known."""
        with self._lock:
            known, self.merges_roles = self.merges_roles, True
        return not known

    def suspect(self, names: Iterable[str]) -> None:
        """Note that a call succeeded without these, after a refusal that named none: a second time omits them."""
        with self._lock:
            again, self._suspected = self._suspected, True
        if again:
            self.leave_out(names)

    def _learn_longest(self, said: str, sent: int) -> bool:
        """Note how long an answer may be, if the server's message says it."""
        longest = min((int(number) for number in _AT_MOST.findall(said) if int(number) < sent), default=0)
        if not longest:
            return False
        with self._lock:
            self._longest = min(longest, self._longest or longest)
        return True

    def learn_too_long(self, room: int) -> bool:
        """Note that this much room to think was too long for the model or its context; False if there was none."""
        if not room:
            return False
        with self._lock:
            # By what was sent: calls beside this one say the same.
            self._most_room = min(self._most_room, room // 4 if room // 4 >= _LEAST_ROOM_TOKENS else 0)
        return True

    def leave_out(self, names: Iterable[str]) -> None:
        """Omit these from now on, and warn the user once."""
        names = list(names)
        with self._lock:
            self._refused.update(names)
        self._report_omitted(names)

    def learn_thinking(self, *, had: int | None = None) -> bool:
        """Note that the model thinks before it answers.

        Args:
            had: how much room a call had that ran out of it; None if it was enough.

        Returns:
            Whether the next call gets more room than that.
        """
        with self._lock:
            wanted = _MORE_ROOM_TOKENS if had is not None and had >= _ROOM_TOKENS else _ROOM_TOKENS
            self._room = max(self._room or self._usual_room(), wanted)
            return had is not None and self._room_now() > had

    @property
    def room(self) -> int:
        """Tokens to think that a call gets beside those of its answer."""
        with self._lock:
            return self._room_now()

    def _room_now(self) -> int:
        return min(self._usual_room() if self._room is None else self._room, self._most_room)

    @property
    def supported(self) -> frozenset[str]:
        """The names of OpenAI's parameters that the model accepts, as far as is known."""
        with self._lock:
            return _known(self._model) - self._refused

    def _rename_length(self, name: str) -> None:
        """Limit an answer by the parameter's other name; by none if that was refused, too."""
        with self._lock:
            self._refused.add(name)
            self._length = _LENGTHS[1 - _LENGTHS.index(name)]

    def _report_omitted(self, names: Iterable[str]) -> None:
        with self._lock:
            new = [name for name in dict.fromkeys(names) if name not in self._reported]
            self._reported.update(new)
        for name in new:
            _log.warning("%s takes no %s: it is asked without.", self._name, name)

    def _usual_room(self) -> int:
        return _ROOM_TOKENS if thinks(self._model) else 0


def optional_names(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The names among a call's arguments that it can do without."""
    return tuple(name for name in _OPTIONAL if name in arguments)


def is_accepted(model: str, wishes: Mapping[str, Any]) -> bool:
    """Whether LiteLLM's own check accepts these parameters for a model; nothing is sent."""
    from litellm.exceptions import UnsupportedParamsError
    from litellm.utils import get_optional_params

    bare, provider = _provider(model)
    try:
        get_optional_params(model=bare, custom_llm_provider=provider, **wishes)
    except (UnsupportedParamsError, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=256)
def thinks(model: str) -> bool:
    """Whether LiteLLM's table says that a model may think before it answers."""
    if model.startswith(_ASKS_SERVER):
        return bool(_about(model).get("supports_reasoning"))
    import litellm

    return bool(litellm.supports_reasoning(model))


@lru_cache(maxsize=256)
def speaks_responses(model: str) -> bool:
    """Whether LiteLLM's table says that a model is reached by OpenAI's Responses interface alone."""
    return _about(model).get("mode") == "responses"


def _takes_low_effort(model: str) -> bool:
    return not _UNASKED.search(model) and "reasoning_effort" in _known(model)


@lru_cache(maxsize=256)
def _known(model: str) -> frozenset[str]:
    import litellm

    bare, provider = _provider(model)
    return frozenset(litellm.get_supported_openai_params(model=bare, custom_llm_provider=provider) or ())


def _longest_answer(model: str) -> int:
    """How many tokens a model can write; a high number if the table does not tell."""
    return int(_about(model).get("max_output_tokens") or _MORE_ROOM_TOKENS * 2)


@lru_cache(maxsize=256)
def _about(model: str) -> Mapping[str, Any]:
    """LiteLLM's entry for a model; empty if its table lacks it."""
    import litellm

    if model.startswith(_ASKS_SERVER):
        return dict(litellm.model_cost.get(model, {}))
    try:
        return dict(litellm.get_model_info(model))
    except Exception:  # noqa: BLE001, RUF100 - LiteLLM raises a plain Exception for a model that its table lacks
        return {}


@lru_cache(maxsize=256)
def _provider(model: str) -> tuple[str, str]:
    import litellm

    bare, provider, _, _ = litellm.get_llm_provider(model)
    return bare, provider


def _grant(model: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the optional parameters that LiteLLM's check accepts together."""
    known = {name: value for name, value in wishes.items() if name in _known(model)}
    if "logprobs" not in known:
        known.pop("top_logprobs", None)
    kept = _check_together(model, tuple((name, _plain(name, value)) for name, value in known.items()))
    # No parameter of OpenAI's: LiteLLM passes it on where it is supported, and its table does not tell where.
    return {name: value for name, value in wishes.items() if name in kept or name == "top_k"}


def _plain(name: str, value: Any) -> Any:
    """A hashable form of a value; all schemas are alike."""
    if name == "response_format":
        return "json_schema" if _is_schema(value) else "json_object"
    return value if isinstance(value, str | int | float) else (_JSON, json.dumps(value, sort_keys=True))


@lru_cache(maxsize=1024)
def _check_together(model: str, wishes: tuple[tuple[str, Any], ...]) -> frozenset[str]:
    kept = {name: _example(name, value) for name, value in wishes}
    # Some are refused on their own, and some only beside another.
    for name, value in wishes:
        if name != "top_logprobs" and not _is_accepted_alone(model, name, value):
            del kept[name]
    for name in _OPTIONAL:
        if not kept or is_accepted(model, kept):
            break
        kept.pop(name, None)
    return frozenset(kept)


@lru_cache(maxsize=4096)
def _is_accepted_alone(model: str, name: str, value: Any) -> bool:
    return is_accepted(model, {name: _example(name, value)})


def _example(name: str, value: Any) -> Any:
    if name != "response_format":
        return json.loads(value[1]) if isinstance(value, tuple) else value
    if value == "json_object":
        return {"type": "json_object"}
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == "json_schema"


def _names(said: str, parameter: str) -> bool:
    pattern = rf"\b{parameter}\b"
    if parameter in _ALSO_CALLED:
        pattern += f"|{_ALSO_CALLED[parameter]}"
    return re.search(pattern, said, re.IGNORECASE) is not None
