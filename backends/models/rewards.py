"""Opens the reward that a profile keeps, with the encoder that it was learned with."""

from __future__ import annotations

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError
from hyperalign.profile import LearnedReward
from hyperalign.programs.reward import Reward

from .catalogue import entries, resolve
from .encoders import CachedEncoder, open_encoder

__all__ = ["open_reward", "reopen_encoder"]


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
    return open_encoder(encoder or _find_model(kept.encoder), budget=budget, progress=progress)


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
