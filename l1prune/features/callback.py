"""FeaturePath: a callback that notes which features a network uses while it is trained."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn

from l1prune.checks import is_whole
from l1prune.features import chart
from l1prune.features.history import COLUMNS, FeatureHistory
from l1prune.features.places import (
    FIRST,
    Features,
    Place,
    are_all,
    count_inputs,
    features_of,
    places_of,
    variables_of,
)
from l1prune.training.lightning import callbacks_of
from l1prune.training.outlets import outlets
from l1prune.weights.files import check_folder, write_whole
from l1prune.weights.warning import warn

SELECTED = "features/selected"
KEPT = "features/kept"
"""In a summary: how many features are left, and their names."""
TABLE, PICTURE = "features.csv", "features.png"

Names = Sequence[str] | Mapping[str, Sequence[int]]


class FeaturePath(pl.Callback):
    """Notes at each validation which features are zero; beside `L1Pruning`, or any other pressure.

    Features are the inputs of a layer: columns of a linear one, input channels of a convolution, a
    table of embeddings; of several layers, those that all of them see. A feature is gone when all
    of its weights are exactly zero. Logs `features/selected`, how many are left. Leaves
    `features.csv`: by rank, whether each is selected, its last size (root mean square of its
    weights), the step at which it left, and all its changes, `-120 +180 -240`; and `features.png`:
    the largest as bars, or the pixels used. Loggers that take tables get the first. A resumed run
    goes on with what its checkpoint knows.

    Args:
        layer: name of the layer, or several that see the same input; shell patterns. `"first"`,
            where none is called so, is the first one.
        names: of the features; or, by name, the inputs that are one feature; None: those of the
            data module's `features`, where it has any, else numbers.
        dim: along which the layer's weights count its inputs; None: as its kind has it.
        block: consecutive inputs in a feature.
        parts: stacked inputs, each of which holds a block of each feature.
        image: `(H, W)`, if the features are pixels; None: told by the module's
            `example_input_array`, if a linear layer sees all its C·H·W numbers (`parts` is C then).
        folder: for the files; None: where the trainer's logger has its own, else the trainer's.

    Raises:
        ValueError: an argument makes no sense (at once), does not fit the model, or the folder is
            a file (before the first step).

    Example, for a module with a layer `first` and ten columns of 500 that are to be left::

        prune = L1Pruning(targets=["first"], penalty=GroupL1(dim=1), threshold=Count(10))
        path = FeaturePath("first", names=columns)
        L.Trainer(max_epochs=60, callbacks=[prune, path]).fit(model, data)
        print(path.selected)
    """

    def __init__(
        self,
        layer: str | Sequence[str] = FIRST,
        names: Names | None = None,
        dim: int | None = None,
        block: int = 1,
        parts: int = 1,
        image: Sequence[int] | None = None,
        folder: str | Path | None = None,
    ) -> None:
        for name, value in (("block", block), ("parts", parts)):
            if not is_whole(value, 1):
                raise ValueError(f"FeaturePath({name}={value!r}): give a whole number from 1")
        if image is not None and (len(image) != 2 or not all(is_whole(one, 1) for one in image)):
            raise ValueError(f"FeaturePath(image={image!r}): give height and width, as (28, 28)")
        self.layer, self.names, self.dim = layer, names, dim
        self.block, self.parts = block, parts
        self.image = None if image is None else (int(image[0]), int(image[1]))
        self.folder = None if folder is None else Path(folder)
        self._places: list[Place] = []
        self._features: Features | None = None
        self._shape = self.image
        self._history = FeatureHistory(())
        self._fits = self._resumed = False

    @property
    def selected(self) -> list[str]:
        """The names of the features that are left, the largest first."""
        return self._history.selected

    @property
    def ranking(self) -> list[str]:
        """The names of all features: those left by size, then the last to leave first."""
        return [self._history.names[number] for number in self._history.order]

    # ---- the run

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._fits = stage == "fit"
        if self._fits and self.folder is not None:
            check_folder("FeaturePath", self.folder)

    def state_dict(self) -> dict[str, Any]:
        return self._history.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._fits:  # what the last run came to is still worth knowing in a test
            self._history, self._resumed = FeatureHistory.of(state_dict), True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._features = self._find(trainer, pl_module)
        goes_on = trainer.global_step > 0 and self._history.names == [*self._features.names]
        if not (self._resumed or goes_on):
            self._history = FeatureHistory(self._features.names)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # By now a checkpoint is loaded, whenever the strategy does that.
        assert self._features is not None, "a fit has begun"
        before, now = self._history.names, [*self._features.names]
        if before != now:
            raise ValueError(
                f"FeaturePath: the run began with {len(before)} features and would go on with "
                f"{len(now)}, or others: give the arguments that it began with"
            )
        self._resumed = False

    def _find(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Features:
        """Settle where the features are, and what they are called."""
        places = places_of(pl_module, self.layer)
        if self.dim is not None:
            places = [replace(one, dim=self.dim % one.weight.ndim) for one in places]
        inputs, parts, names = count_inputs(places), self.parts, self.names
        told = variables_of(getattr(trainer, "datamodule", None))
        if names is None and are_all(told, inputs):
            names = told
        if self._shape is None and names is None and places[0].weight.ndim == 2:
            self._shape, parts = _image_of(pl_module.example_input_array, inputs, parts)
        if names is None and self._shape is not None:
            names = [
                f"({row}, {col})" for row in range(self._shape[0]) for col in range(self._shape[1])
            ]
        if names is None and all(one.dim is None for one in places):
            names = [one.name.removesuffix(".weight") for one in places]
        self._places = places
        return features_of(inputs, names, self.block, parts)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # With the validation's own figures, so that a logger puts both on one line.
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._note(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.enable_validation:
            self._note(trainer, pl_module)

    def _note(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer)
        if not trainer.barebones:
            count = float(len(self.selected))
            pl_module.log(SELECTED, count, sync_dist=True, reduce_fx="max")
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        sizes, left = self._look(trainer)
        self._write(trainer)
        if not trainer.is_global_zero:
            return
        figure = None
        try:
            figure = self._drawn(sizes, left)
        except ImportError as error:  # the run has all that it is for
            warn(f"no {PICTURE}: {error}")
        else:
            file = self._folder(trainer) / PICTURE
            write_whole(file, lambda part: figure.savefig(part, format="png", dpi=150))
        for outlet in outlets(trainer.loggers):
            outlet.table("features/ranking", COLUMNS, self._history.rows())
            if figure is not None:
                outlet.picture("features/picture", figure)

    # ---- what it leaves

    def _look(self, trainer: pl.Trainer) -> tuple[torch.Tensor, torch.Tensor]:
        assert self._features is not None, "a fit has begun"
        sizes, left = self._features.sizes(self._places)
        self._history.note(trainer.global_step, sizes, left)
        return sizes, left

    def _write(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            file = self._folder(trainer) / TABLE
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, self._table)

    def _table(self, file: Path) -> None:
        with open(file, "w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows([COLUMNS, *self._history.rows()])

    def _folder(self, trainer: pl.Trainer) -> Path:
        return self.folder or Path(trainer.log_dir or trainer.default_root_dir)

    def _drawn(self, sizes: torch.Tensor, left: torch.Tensor) -> Any:
        if self._shape is not None and prod(self._shape) == len(sizes):
            return chart.heat_map(sizes.view(self._shape), left.view(self._shape))
        kept = [number for number in self._history.order if bool(left[number])]
        names = [self._history.names[number] for number in kept]
        return chart.bars(names, [float(sizes[number]) for number in kept], len(sizes))


def kept_by(trainer: pl.Trainer) -> dict[str, Any]:
    """What a summary says of the features of a run, if it had a `FeaturePath`."""
    for one in callbacks_of(trainer):
        if isinstance(one, FeaturePath):
            return {SELECTED: len(one.selected), KEPT: one.selected}
    return {}


def _image_of(example: Any, inputs: int, parts: int) -> tuple[tuple[int, int] | None, int]:
    """Height and width, and the number of channels, if a layer sees whole images, flattened."""
    shape = example.shape[1:] if isinstance(example, torch.Tensor) else ()
    if len(shape) == 3 and prod(shape) == inputs and parts in (1, shape[0]):
        return (shape[1], shape[2]), shape[0]
    return None, parts
