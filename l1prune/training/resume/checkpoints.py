"""Checkpoints: what a file must hold for a run to be resumed from it, looked at before it is used.

Lightning and torch find out half-way, each with an error of its own inside; here it is one
sentence, before anything has been touched.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.plugins.io import CheckpointIO
from torch.nn.parameter import UninitializedParameter

from l1prune.training.lightning import CheckpointIOWrapper, overrides

AGAIN = "resume from another checkpoint, or begin a new run"
BEGIN = (
    "to begin a new run from its weights, load them with model.load_state_dict(...) and call fit "
    "without ckpt_path"
)


class Careful(CheckpointIOWrapper):
    """Loads a checkpoint to resume a run from, or refuses it with one sentence.

    Args:
        plain: what loads and saves the trainer's checkpoints without it.
        model: whose run is to be resumed.
    """

    def __init__(self, plain: CheckpointIO, model: pl.LightningModule) -> None:
        super().__init__(plain)
        self._model = model

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load, and look at what is loaded.

        Raises:
            ValueError: the file is broken, is no checkpoint of Lightning, holds weights alone, or
                the weights of another model.
        """
        _check_whole(Path(path))
        try:
            checkpoint = super().load_checkpoint(path, *args, **kwargs)
        except (RuntimeError, ValueError, KeyError, EOFError) as error:
            raise ValueError(
                f"ckpt_path={path}: an archive, but no checkpoint ({_first_line(error)}); {AGAIN}"
            ) from None
        _check_full(path, checkpoint)
        # Whoever changes the weights on their way in knows better what fits.
        if not overrides(self._model, "on_load_checkpoint"):
            _check_model(path, checkpoint["state_dict"], self._model)
        return checkpoint


def take_care(trainer: pl.Trainer, model: pl.LightningModule) -> None:
    """Have the checkpoint that a run is to be resumed from, if any, looked at when it is loaded."""
    trainer.strategy.checkpoint_io = Careful(trainer.strategy.checkpoint_io, model)


def relax(trainer: pl.Trainer) -> None:
    """Undo `take_care`: a test may load weights alone."""
    io = trainer.strategy.checkpoint_io
    if isinstance(io, Careful) and io.checkpoint_io is not None:
        trainer.strategy.checkpoint_io = io.checkpoint_io


def _check_whole(file: Path) -> None:
    if not file.is_file():
        return  # a folder of shards, or on another machine
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
        raise ValueError(
            f"ckpt_path={file}: not a whole checkpoint, or none at all ({_first_line(error)}; "
            f"{file.stat().st_size:,} bytes); {AGAIN}"
        ) from None
    if damaged is not None:
        raise ValueError(f"ckpt_path={file}: damaged, {damaged} fails its checksum; {AGAIN}")


def _check_full(file: Any, checkpoint: Any) -> None:
    known = isinstance(checkpoint, dict) and "pytorch-lightning_version" in checkpoint
    if not known or not isinstance(checkpoint.get("state_dict"), Mapping):
        raise ValueError(
            f"ckpt_path={file}: not a checkpoint of Lightning, which has 'state_dict' and "
            f"'pytorch-lightning_version'; {BEGIN}"
        )
    missing = [key for key in ("callbacks", "optimizer_states", "loops") if key not in checkpoint]
    if missing:
        raise ValueError(
            f"ckpt_path={file}: holds the weights, but not {', '.join(missing)} (it was saved with "
            "save_weights_only=True): neither phase nor masks of the pruning are in it, nor the "
            f"optimizer's state; {BEGIN}"
        )


def _check_model(file: Any, saved: Mapping[str, Any], model: pl.LightningModule) -> None:
    # Lightning has called configure_model by now. A parameter of a lazy module has no shape yet.
    own = {
        name: tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if not isinstance(parameter, UninitializedParameter)
    }
    for name, shape in own.items():
        if name in saved and tuple(saved[name].shape) != shape:
            raise ValueError(
                f"ckpt_path={file}: holds another model: {name} has the shape "
                f"{tuple(saved[name].shape)} there, and {shape} in this one; give the model that "
                "the run began with"
            )
    missing = [name for name in own if name not in saved]
    renamed = any(module._load_state_dict_pre_hooks for module in model.modules())
    if missing and model.strict_loading and not renamed:
        raise ValueError(
            f"ckpt_path={file}: holds another model: {len(missing)} of the {len(own)} parameters "
            f"of this one are not in it, such as {missing[0]}; give the model that the run began "
            "with"
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
