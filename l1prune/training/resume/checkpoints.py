"""Checkpoints: what a file must hold for a run to be resumed from it, looked at before it is used.

Lightning and torch find out half-way, each with an error of its own inside; here it is one
sentence, before anything has been touched.
"""

from __future__ import annotations

import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
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
ZIP = b"PK\x03\x04"
PLAIN = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class CheckedCheckpointIO(CheckpointIOWrapper):
    """Loads a checkpoint to resume a run from, or refuses it with one sentence.

    Tensors and plain values only, whatever loads it: a pickle can hold code, which would run while
    it is loaded. Who gives `weights_only=False` to `fit` has said that the file is to be trusted.

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
            FileNotFoundError, PermissionError: it cannot be read.
            ValueError: the file is broken, holds code, is no checkpoint of Lightning, holds weights
                alone, or the weights of another model.
        """
        _check_archive(Path(path))
        trusted = kwargs.get("weights_only") is False
        if kwargs.get("weights_only") is None:  # of which a CheckpointIO from before knows nothing
            kwargs.pop("weights_only", None)
        try:
            with nullcontext() if trusted else plain_values_only():
                checkpoint = super().load_checkpoint(path, *args, **kwargs)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # whatever a CheckpointIO of someone's own may raise
            raise ValueError(f"ckpt_path={path}: {_reason(error)}") from error
        _check_full(path, checkpoint)
        # Whoever changes the weights on their way in knows better what fits.
        if not overrides(self._model, "on_load_checkpoint"):
            _check_model(path, checkpoint["state_dict"], self._model)
        return checkpoint


@contextmanager
def plain_values_only() -> Iterator[None]:
    """Have `torch.load` take tensors and plain values alone, whoever calls it, and however.

    Lightning before 2.6 asks it to take everything, and so may a `CheckpointIO`. Who has set
    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD in the environment has decided otherwise.
    """
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        yield
        return
    before = os.environ.get(PLAIN)
    os.environ[PLAIN] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[PLAIN]
        else:
            os.environ[PLAIN] = before


def check_loading(trainer: pl.Trainer, model: pl.LightningModule) -> None:
    """Have the checkpoint that a run is to be resumed from, if any, looked at when it is loaded."""
    if not isinstance(trainer.strategy.checkpoint_io, CheckedCheckpointIO):
        trainer.strategy.checkpoint_io = CheckedCheckpointIO(trainer.strategy.checkpoint_io, model)


def uncheck_loading(trainer: pl.Trainer) -> None:
    """Undo `check_loading`: a test may load weights alone."""
    io = trainer.strategy.checkpoint_io
    if isinstance(io, CheckedCheckpointIO) and io.checkpoint_io is not None:
        trainer.strategy.checkpoint_io = io.checkpoint_io


def _check_archive(file: Path) -> None:
    """What torch saves is a zip archive with checksums, which it does not look at itself."""
    if not file.is_file():
        return  # a folder of shards, or on another machine
    with file.open("rb") as start:
        if start.read(len(ZIP)) != ZIP:
            return  # of a CheckpointIO that saves in another form, or broken
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except RuntimeError:
        return  # compressed or encrypted in a way that only what wrote it knows
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"ckpt_path={file}: {_reason(error)}") from None
    if damaged is not None:
        raise ValueError(f"ckpt_path={file}: damaged, {damaged} fails its checksum; {AGAIN}")


def _reason(error: Exception) -> str:
    """Why a file is refused. What torch says advises to load it all the same."""
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and code:
        return (
            f"holds {code[1]}, which is neither a tensor nor a plain value, and could run anything "
            "while it is loaded; resume from a checkpoint of your own, and if that is one, name "
            "the class with torch.serialization.add_safe_globals"
        )
    said = "" if isinstance(error, pickle.UnpicklingError) else f" ({_first_line(error)})"
    return f"not a whole checkpoint, or none at all{said}; {AGAIN}"


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
