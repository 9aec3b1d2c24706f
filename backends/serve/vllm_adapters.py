"""Which adapters may be served: whole ones of one base, that passed their gate, each under a name of its own.

This file loads no model.

Adapters put on a running vLLM server and taken off it; each is proved to change its base's answers there.

An adapter whose keys fit no layer can load without a word and then answers as the base does: the probe's fixed answers
are scored on the server, under both names. This file starts no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hyperalign.errors import InputError, ModelServerError, NotFoundError, TrainingError
from hyperalign.scores import Message

from ..distill.adapters import Adapter, check_tokenizer, find_adapters, open_adapter
from ..distill.probe import PROBE, Probed
from ..models.scorers.vllm import VLLMScorer
from ..models.target import error_message, matching_names

__all__ = ["Running", "check_gate", "choose_adapters", "list_models", "load_adapter", "probe_served", "unload_adapter"]


def choose_adapters(root: Path, *, force: bool = False) -> list[Adapter]:
    """The adapters under a folder, or the one that the folder is.

    Args:
        root: the folder.
        force: also those that failed the gate, or were never judged.

    Raises:
        NotFoundError: there is none.
        InputError: they are of several bases, or two have one name.
        TrainingError: one is not whole, or did not pass its gate.
    """
    folders = find_adapters(root)
    if not folders:
        raise NotFoundError(f"There is no adapter under {root}.", remedy="Make one: hyperalign distill --help")
    found = [open_adapter(folder) for folder in folders]
    if not force:
        for adapter in found:
            check_gate(adapter)
    bases = sorted({adapter.card.base for adapter in found})
    if len({adapter.card.base_sha256 for adapter in found}) > 1:
        raise InputError(
            f"The adapters under {root} are of {len(bases)} bases: {', '.join(bases)}.",
            remedy="Serve the adapters of one base at a time, each base from a folder of its own.",
        )
    _check_names(found)
    return found


def check_gate(adapter: Adapter) -> None:
    """Refuse an adapter that did not pass its gate.

    Raises:
        TrainingError: it failed, or was never judged.
    """
    verdict = adapter.card.gate
    if verdict is None:
        raise TrainingError(
            f"The adapter {adapter.card.name} was never judged.",
            remedy=f'Ask the gate: hyperalign adapters gate "{adapter.path}", or serve it anyway with --force.',
        )
    if not verdict.passed:
        raise TrainingError(
            f"The adapter {adapter.card.name} failed its gate: {'; '.join(verdict.reasons)}.",
            remedy="Distill it again, or serve it anyway with --force.",
        )


def _check_names(found: Sequence[Adapter]) -> None:
    names = [adapter.card.name for adapter in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Two adapters are called {twice[0]}.", remedy="Distill one of them under another name.")


_LOAD_SECONDS = 300.0
# Nats a token: what fits no layer is off by exactly nothing, an adapter of a few steps by two hundred times as much.
_LEAST = 1e-3


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        address: its root, without ``/v1``.
        key: what it wants as a bearer token; empty for none.
    """

    address: str
    key: str = ""

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Send a request.

        Raises:
            ModelServerError: nothing answers.
        """
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        root = self.address.rstrip("/").removesuffix("/v1")
        try:
            return httpx.request(method, f"{root}{path}", json=body, headers=headers, timeout=_LOAD_SECONDS)
        # Not the error's own text: the address may hold a password.
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ModelServerError(
                f"No server of adapters answers ({type(error).__name__}).",
                remedy="Start one with 'hyperalign serve --engine vllm', or set HYPERALIGN_ADAPTERS to its address.",
            ) from error


def load_adapter(server: Running, adapter: Adapter) -> Probed:
    """Put an adapter on a running server, under its name with the hash of its weights, in place of others of that name.

    Args:
        server: of vLLM, started with room for adapters.
        adapter: whole; the server must see its folder.

    Returns:
        How far its answers are from its base's, as the server scores them.

    Raises:
        InputError: it is of another base than the server's.
        TrainingError: the server's base reads other tokens or has another chat template, the server refuses the
            adapter, or it changes nothing there; then it is taken off again.
        ModelServerError: the server does not answer, or takes no adapters while it runs.
    """
    base, there = list_models(server)
    name = adapter.served_name
    if base != adapter.card.base_name:
        raise InputError(
            f"The server's base is {base}, and the adapter {adapter.card.name} is of {adapter.card.base_name}.",
            remedy="Start a server for it: hyperalign serve --engine vllm --adapters FOLDER",
        )
    if checkpoint := _checkpoint(server):
        check_tokenizer(adapter, checkpoint)
    if name not in there:
        said = server.ask(
            "POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(adapter.path.resolve())}
        )
        _check(said, f"take the adapter {adapter.card.name}")
    try:
        seen = probe_served(server, base, name)
    except BaseException:
        # Nobody knows yet whether it does anything.
        unload_adapter(server, name)
        raise
    if seen.difference <= _LEAST:
        unload_adapter(server, name)
        raise TrainingError(
            f"The adapter {adapter.card.name} changes nothing in {base}: it was taken off the server again.",
            remedy="Its keys fit no layer of the base, or it learned nothing: distill it again.",
        )
    for earlier in matching_names(adapter.card.name, there):
        if earlier != name:
            unload_adapter(server, earlier)
    return seen


def unload_adapter(server: Running, name: str) -> None:
    """Take an adapter off a running server.

    Args:
        server: of vLLM.
        name: with or without the hash of its weights.

    Raises:
        NotFoundError: it serves no such adapter.
        ModelServerError: the server does not answer, or takes no adapters while it runs.
    """
    _, there = list_models(server)
    found = matching_names(name, there)
    if not found:
        raise NotFoundError(f"No adapter {name!r} is served.", remedy=f"There are: {', '.join(there) or 'none'}.")
    _check(server.ask("POST", "/v1/unload_lora_adapter", {"lora_name": found[0]}), f"let go of {found[0]}")


def list_models(server: Running) -> tuple[str, list[str]]:
    """The base's name on a server, and its adapters' names.

    Raises:
        ModelServerError: it does not answer, or not as vLLM does.
    """
    base, *others = _models(server)
    return base["id"], [model["id"] for model in others]


def _checkpoint(server: Running) -> Path | None:
    """The folder of a server's base; None where it is not to be seen from here."""
    folder = Path(_models(server)[0]["root"])
    return folder if folder.is_absolute() and folder.is_dir() else None


def _models(server: Running) -> list[dict[str, str]]:
    """What a server says of its models, the base first."""
    answer = server.ask("GET", "/v1/models")
    try:
        models = [
            {name: str(model.get(name) or "") for name in ("id", "root", "parent")}
            for model in answer.raise_for_status().json()["data"]
        ]
        # vLLM names the base of each adapter as its parent.
        base = next(model for model in models if not model["parent"])
        return [base, *(model for model in models if model["parent"])]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError, StopIteration, AttributeError) as error:
        raise ModelServerError(
            f"The server of adapters did not list its models ({answer.status_code}).",
            remedy="Is it one of 'hyperalign serve --engine vllm'? A key goes into HYPERALIGN_SERVE_KEY.",
        ) from error


def probe_served(server: Running, base: str, name: str) -> Probed:
    """Score the probe's answers under two names of one server.

    Args:
        server: of vLLM.
        base: a name.
        name: another.

    Raises:
        ModelError: it does not score.
    """
    with _scorer(server, base) as plain, _scorer(server, name) as tuned:
        pairs = [
            (
                *plain.score([Message(role="user", content=prompt)], [answer]),
                *tuned.score([Message(role="user", content=prompt)], [answer]),
            )
            for prompt, answer in PROBE
        ]
    tokens = sum(one.tokens for one, _ in pairs)
    return Probed(
        sum(one.logprob for one, _ in pairs) / tokens,
        sum(two.logprob for _, two in pairs) / tokens,
        sum(abs(one.logprob - two.logprob) for one, two in pairs) / tokens,
    )


def _scorer(server: Running, model: str) -> VLLMScorer:
    return VLLMScorer(server.address, model, api_key=server.key or None)


def _check(said: httpx.Response, what: str) -> None:
    if said.is_success:
        return
    if said.status_code in (404, 405):
        raise ModelServerError(
            f"The server can't {what} while it runs.",
            remedy="Start it with 'hyperalign serve --engine vllm', or put the adapter into its folder and start anew.",
        )
    message = error_message(said)
    if "rank" in message.lower():
        raise TrainingError(
            f"The server can't {what}: {message}",
            remedy="Start the server anew with this adapter among those it is given: it then makes room for its rank.",
        )
    raise TrainingError(f"The server can't {what}: {message}", remedy="See that the adapter is of the server's base.")
