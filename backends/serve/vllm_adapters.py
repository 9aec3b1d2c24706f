"""Selects the adapters to serve, and loads them onto a running vLLM server, where each is checked to change answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hyperalign.errors import InputError, ModelServerError, NotFoundError, TrainingError
from hyperalign.scores import Message

from ..distill.adapters import Adapter, check_tokenizer, find_adapters, open_adapter
from ..distill.probe import PROBE, ProbeResult
from ..models.scorers.vllm import VLLMScorer
from ..models.servers import error_message, matching_names

__all__ = [
    "VLLMClient",
    "check_gate",
    "list_models",
    "load_adapter",
    "probe_server",
    "select_adapters",
    "unload_adapter",
]

_LOAD_SECONDS = 300.0
# Nats per token. An adapter that matches no layer differs by exactly 0, one of a few steps by 200 times as much.
_MIN_DIFFERENCE = 1e-3


def select_adapters(root: Path, *, force: bool = False) -> list[Adapter]:
    """Return the adapters under a folder, or the one that the folder is, if they can be served together.

    Args:
        root: the folder.
        force: include adapters that failed the gate, or that it has not judged.

    Raises:
        NotFoundError: there is none.
        InputError: they have different bases, or two have one name.
        TrainingError: one is damaged, or did not pass the gate.
    """
    folders = find_adapters(root)
    if not folders:
        raise NotFoundError(f"There is no adapter under {root}.", remedy="Make one: hyperalign distill --help")
    adapters = [open_adapter(folder) for folder in folders]
    if not force:
        for adapter in adapters:
            check_gate(adapter)
    bases = sorted({adapter.card.base for adapter in adapters})
    if len({adapter.card.base_sha256 for adapter in adapters}) > 1:
        raise InputError(
            f"The adapters under {root} are of {len(bases)} bases: {', '.join(bases)}.",
            remedy="Serve the adapters of one base at a time, each base from a folder of its own.",
        )
    counts = Counter(adapter.card.name for adapter in adapters)
    if duplicates := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"Two adapters are called {duplicates[0]}.", remedy="Distill one of them under another name.")
    return adapters


def check_gate(adapter: Adapter) -> None:
    """Refuse an adapter that did not pass the gate.

    Raises:
        TrainingError: it failed, or was not judged.
    """
    verdict = adapter.card.gate
    if verdict is None:
        raise TrainingError(
            f"The gate has not judged the adapter {adapter.card.name}.",
            remedy=f'Run: hyperalign adapters gate "{adapter.path}", or serve it anyway with --force.',
        )
    if not verdict.passed:
        raise TrainingError(
            f"The adapter {adapter.card.name} failed its gate: {'; '.join(verdict.reasons)}.",
            remedy="Distill it again, or serve it anyway with --force.",
        )


@dataclass(frozen=True)
class VLLMClient:
    """A running vLLM server.

    Attributes:
        address: its root, with or without ``/v1``.
        key: the bearer token that requests must carry; empty for none.
    """

    address: str
    key: str = ""

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Send a request.

        Raises:
            ModelServerError: the server does not answer.
        """
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        root = self.address.rstrip("/").removesuffix("/v1")
        try:
            return httpx.request(method, f"{root}{path}", json=body, headers=headers, timeout=_LOAD_SECONDS)
        # Without the error's own text: the address may hold a password.
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ModelServerError(
                f"No server of adapters answers ({type(error).__name__}).",
                remedy="Start one with 'hyperalign serve --engine vllm', or set HYPERALIGN_ADAPTERS to its address.",
            ) from error

    def scorer(self, model: str) -> VLLMScorer:
        """Return a scorer of one of the server's models."""
        return VLLMScorer(self.address, model, api_key=self.key or None)


def load_adapter(server: VLLMClient, adapter: Adapter) -> ProbeResult:
    """Load an adapter onto a running server, and unload others of the same name.

    Args:
        server: started with --enable-lora.
        adapter: the server must be able to read its folder.

    Returns:
        How much it changes the log-probabilities of its base, by the server's own scores.

    Raises:
        InputError: the server has another base.
        TrainingError: the server's base has another vocabulary or chat template, the server rejects the adapter, or
            the adapter changes nothing there and was unloaded.
        ModelServerError: the server does not answer, or can't load adapters at run time.
    """
    (base, checkpoint), *others = [(model["id"], Path(model["root"])) for model in _fetch_models(server)]
    served = [other for other, _ in others]
    name = adapter.served_name
    if base != adapter.card.base_name:
        raise InputError(
            f"The server's base is {base}, and the adapter {adapter.card.name} is of {adapter.card.base_name}.",
            remedy="Start a server for it: hyperalign serve --engine vllm --adapters FOLDER",
        )
    if checkpoint.is_absolute() and checkpoint.is_dir():  # else the server runs on another machine
        check_tokenizer(adapter, checkpoint)
    if name not in served:
        body = {"lora_name": name, "lora_path": str(adapter.path.resolve())}
        _check_response(server.request("POST", "/v1/load_lora_adapter", body), f"load the adapter {adapter.card.name}")
    try:
        result = probe_server(server, base, name)
    except BaseException:
        unload_adapter(server, name)
        raise
    if result.difference <= _MIN_DIFFERENCE:
        unload_adapter(server, name)
        raise TrainingError(
            f"The adapter {adapter.card.name} changes nothing in {base}: it was unloaded.",
            remedy="Its keys match no layer of the base, or it learned nothing: distill it again.",
        )
    for other in matching_names(adapter.card.name, served):
        if other != name:
            unload_adapter(server, other)
    return result


def unload_adapter(server: VLLMClient, name: str) -> None:
    """Unload an adapter from a running server.

    Args:
        server: started with --enable-lora.
        name: of the adapter, with or without the hash of its weights.

    Raises:
        NotFoundError: the server has no such adapter.
        ModelServerError: the server does not answer, or can't unload adapters at run time.
    """
    _, served = list_models(server)
    matches = matching_names(name, served)
    if not matches:
        raise NotFoundError(f"No adapter {name!r} is served.", remedy=f"There are: {', '.join(served) or 'none'}.")
    response = server.request("POST", "/v1/unload_lora_adapter", {"lora_name": matches[0]})
    _check_response(response, f"unload {matches[0]}")


def list_models(server: VLLMClient) -> tuple[str, list[str]]:
    """Return the name of a server's base, and the names of its adapters.

    Raises:
        ModelServerError: it does not answer, or not as vLLM does.
    """
    base, *adapters = _fetch_models(server)
    return base["id"], [model["id"] for model in adapters]


def _fetch_models(server: VLLMClient) -> list[dict[str, str]]:
    """Return a server's models, the base first; vLLM names the base as the parent of each adapter."""
    response = server.request("GET", "/v1/models")
    try:
        models = [
            {name: str(model.get(name) or "") for name in ("id", "root", "parent")}
            for model in response.raise_for_status().json()["data"]
        ]
        base = next(model for model in models if not model["parent"])
        return [base, *(model for model in models if model["parent"])]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError, StopIteration, AttributeError) as error:
        raise ModelServerError(
            f"The server of adapters did not list its models ({response.status_code}).",
            remedy="Is it a 'hyperalign serve --engine vllm'? Set HYPERALIGN_SERVE_KEY if it has a key.",
        ) from error


def probe_server(server: VLLMClient, base: str, adapter: str) -> ProbeResult:
    """Score the probe's answers by two models of a server.

    Args:
        server: the server.
        base: a model's name.
        adapter: another model's name.

    Raises:
        ModelError: the server does not score.
    """
    with server.scorer(base) as first, server.scorer(adapter) as second:
        pairs = []
        for prompt, answer in PROBE:
            turns = [Message(role="user", content=prompt)]
            pairs.append((*first.score(turns, [answer]), *second.score(turns, [answer])))
    tokens = sum(one.tokens for one, _ in pairs)
    return ProbeResult(
        sum(one.logprob for one, _ in pairs) / tokens,
        sum(two.logprob for _, two in pairs) / tokens,
        sum(abs(one.logprob - two.logprob) for one, two in pairs) / tokens,
    )


def _check_response(response: httpx.Response, action: str) -> None:
    if response.is_success:
        return
    if response.status_code in (404, 405):
        raise ModelServerError(
            f"The server can't {action} at run time.",
            remedy="Start it with 'hyperalign serve --engine vllm', or add the adapter to its folder and restart it.",
        )
    message = error_message(response)
    remedy = "Check that the adapter is of the server's base."
    if "rank" in message.lower():
        remedy = "Restart the server with this adapter in its folder: it then makes room for its rank."
    raise TrainingError(f"The server can't {action}: {message}", remedy=remedy)
