"""Embeddings of texts, from an inner layer of a GGUF file or any embedding API that LiteLLM knows, cached in SQLite.

``open_encoder`` makes an encoder from a model's name, ``open_reward`` a profile's reward with the encoder that it was
learned with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, ModelOutputError, UnknownModelError
from hyperalign.files import cache_folder, data_folder, write_whole
from hyperalign.profile import LearnedReward
from hyperalign.programs.reward import Reward, RewardPopulation, load_population, read_population
from hyperalign.programs.reward.population import adapt_to_encoder

from ..catalogue import entries, resolve
from ..download import ensure_local
from ..number_cache import EMBEDDINGS, EMBEDDINGS_FILE, NumberCache, Remembering, digest
from .hosted import HostedEncoder
from .local import LocalEncoder

if TYPE_CHECKING:
    from hyperalign.programs.reward.features import Encoder

__all__ = [
    "DEFAULT_ENCODER",
    "NO_ENCODER",
    "CachedEncoder",
    "HostedEncoder",
    "LocalEncoder",
    "encoder",
    "open_encoder",
    "open_population",
    "open_reward",
    "reopen_encoder",
]

DEFAULT_ENCODER = "local:smollm2-135m-instruct"
"""The encoder that is taken where none is named."""
NO_ENCODER = "none"
"""What stands for no encoder on the command line and in the settings."""

# So many texts are read before their embeddings are written: a killed run goes on from there.
_LOCAL_BATCH = 128
_NUMBER = np.dtype("<f4")
_HASH_CHARACTERS = 16


class CachedEncoder(Remembering["Encoder"]):
    """An ``Encoder`` that asks another one only for what it has not seen.

    Keys are the encoder's name, which names the weights (of a hosted model with a hash of its address), and a hash of
    prompt and text: the file holds nobody's words.

    Args:
        inner: the encoder that knows; ``close`` closes it too.
        path: the SQLite file; made if missing, and safe with two processes.
        budget: where to book calls that were answered from the file alone.
        batch_size: texts that the inner encoder is asked for at once; None for all.

    Attributes:
        hits: texts answered from the file.
        misses: texts the inner encoder was asked about.

    Raises:
        StorageError: the file can't be made, or is not a database.
    """

    def __init__(
        self,
        inner: Encoder,
        path: Path | str,
        *,
        budget: Budget | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._batch_size = batch_size
        super().__init__(inner, NumberCache(Path(path), "embeddings", **EMBEDDINGS), budget)

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Embed texts as answers to their prompts; see ``hyperalign.programs.reward.features.Encoder``.

        Raises:
            StorageError: the file can't be read or written.
            ModelOutputError: the model gave embeddings of another length before.
        """
        name = getattr(self._inner, "cache_name", self.name)
        keys = [(name, digest(prompt, text)) for prompt, text in items]
        known: dict[Any, NDArray[np.float32]] = {
            key: np.frombuffer(row[0], _NUMBER) for key, row in self._cache.find(keys).items()
        }
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
        for fresh in self._read(missing):
            known |= fresh
        self._count(len(items), len(missing))
        if len({len(embedding) for embedding in known.values()}) > 1:
            raise ModelOutputError(
                f"'{self.name}' gave embeddings of another length before.",
                remedy=f"Remove {cache_folder() / EMBEDDINGS_FILE}, and fit again.",
            )
        return np.stack([known[key] for key in keys]) if keys else np.zeros((0, 0), np.float32)

    def _read(self, missing: dict[Any, tuple[str, str]]) -> Iterator[dict[Any, NDArray[np.float32]]]:
        """Embeddings of new texts, batch by batch, each written before it is given."""
        keys = list(missing)
        size = self._batch_size or max(1, len(keys))
        for start in range(0, len(keys), size):
            batch = keys[start : start + size]
            rows = self._inner.encode([missing[key] for key in batch]).astype(_NUMBER)
            self._cache.add([(*key, row.tobytes()) for key, row in zip(batch, rows, strict=True)])
            yield dict(zip(batch, rows, strict=True))


def open_encoder(
    name: str = DEFAULT_ENCODER,
    *,
    budget: Budget | None = None,
    progress: Progress | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    timeout: float | None = None,
) -> CachedEncoder:
    """An encoder whose embeddings are remembered in the user's cache folder, as numbers and hashes only.

    Args:
        name: ``local:<name from the catalogue or path of a .gguf file>``, after which ``@20`` takes the hidden states
            after layer 20 instead of after two thirds of the layers; or an embedding model by its LiteLLM name, such as
            ``openai/text-embedding-3-small`` or ``ollama/nomic-embed-text``.
        budget: where to book what is read.
        progress: told of the download of a ``local:`` model's file.
        api_key: instead of the provider's environment variable; never saved or shown.
        api_base: another address for a hosted model, such as that of an OpenAI-compatible server.
        timeout: seconds to wait for a hosted model's answer; see ``connect``.

    Raises:
        UnknownModelError: no such model, or one of a kind that gives no embeddings.
        InputError: the model has no such layer.
        ModelError: the hidden states of a ``local:`` model can't be read.
        MissingExtraError: a ``local:`` model without the part that reads it.
        DownloadError: the model's file can't be had.
    """
    scheme, _, rest = name.strip().partition(":")
    path = cache_folder() / EMBEDDINGS_FILE
    if scheme != "local":
        if scheme in ("adapter", "vllm"):
            raise UnknownModelError(
                f"'{name}' gives no embeddings.",
                remedy="An encoder is 'local:<name>', or an embedding model such as 'openai/text-embedding-3-small'.",
            )
        hosted = HostedEncoder(name, budget=budget, api_key=api_key, api_base=api_base, timeout=timeout)
        return CachedEncoder(hosted, path, budget=budget)
    found, layer = _split_layer(rest)
    model = resolve(found)
    inner = LocalEncoder(ensure_local(model, progress), name=model.served_name, layer=layer, budget=budget)
    return CachedEncoder(inner, path, budget=budget, batch_size=_LOCAL_BATCH)


encoder = open_encoder
"""``open_encoder``, as the package ``hyperalign`` calls it."""


def _split_layer(name: str) -> tuple[str, int | None]:
    """The model's name, and the layer that follows it, if any."""
    model, mark, layer = name.rpartition("@")
    # A path may hold the mark as well.
    if not mark or layer.lower().endswith(".gguf"):
        return name, None
    if not layer.isdecimal():
        raise InputError(f"'{layer}' is not the number of a layer.", remedy="Write it as 'local:<name>@20'.")
    return model, int(layer)


def open_population(encoder: Encoder | None) -> RewardPopulation:
    """The population that ships, with the axes of an encoder.

    Where it does not know the encoder, it is adapted once and kept in the data folder: a profile names that file.

    Args:
        encoder: reads texts for the reward; with None there are no axes.

    Raises:
        ModelServerError: the encoder could not be reached.
        StorageError: the data folder can't be written.
    """
    shipped = load_population()
    axes = shipped.space.encoder_axes
    if encoder is None or (axes is not None and axes.name == encoder.name):
        return shipped
    path = data_folder() / "populations" / f"{digest(shipped.to_json(), encoder.name).hex()[:_HASH_CHARACTERS]}.json"
    if not path.exists():
        write_whole(path, replace(adapt_to_encoder(shipped, encoder), name=str(path)).to_json())
    return replace(read_population(path), name=str(path))


def open_reward(
    kept: LearnedReward, *, encoder: str | None = None, budget: Budget | None = None, progress: Progress | None = None
) -> Reward:
    """The reward that a profile keeps, ready to read texts.

    Args:
        kept: the profile's.
        encoder: names the encoder's model, where its file is not of the catalogue.
        budget: where to book what is read.
        progress: told of the download of the encoder's file.

    Raises:
        InputError: the encoder or the population is not known here, or is another one.
        MissingExtraError: the part that runs the encoder is not installed.
        DownloadError: the encoder's file can't be had.
    """
    return Reward.from_profile(kept, encoder=reopen_encoder(kept, encoder=encoder, budget=budget, progress=progress))


def reopen_encoder(
    kept: LearnedReward | None,
    *,
    encoder: str | None = None,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> CachedEncoder | None:
    """The encoder of a profile's reward; None without a reward, or where the reward has no encoder.

    Arguments and errors are those of ``open_reward``.
    """
    if kept is None or not kept.encoder:
        return None
    # 'none' is for fits to come: a reward that was learned with an encoder can't be read without it.
    named = encoder if encoder and encoder != NO_ENCODER else _find_model(kept.encoder)
    return open_encoder(named, budget=budget, progress=progress)


def _find_model(encoder: str) -> str:
    """The name to open an encoder by, from the name that it has itself."""
    if "/" in encoder:
        return encoder
    served, _, layer = encoder.rpartition("@")
    for entry in entries():
        if resolve(entry.name).served_name == served:
            return f"local:{entry.name}@{layer}"
    raise InputError(
        f"The reward was learned with the encoder '{encoder}', which is not in the catalogue.",
        remedy="Name its file with --encoder local:FILE, or fit again.",
    )
