"""What pressure, masks and cuts cost, in time and in memory: all rows of the table, by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from benchmarks.measure import Row
from benchmarks.pressure.cuts import LAYERS, cuts
from benchmarks.pressure.fits import FITS, fits
from benchmarks.pressure.kernels import passes
from benchmarks.pressure.launches import launches
from benchmarks.pressure.memory import memory
from benchmarks.pressure.steps import steps
from benchmarks.pressure.tasks import TASKS
from benchmarks.scale import Scale

Measure = Callable[[Scale], Iterator[Row]]

MIXED = "bf16-mixed"

PARTS: Mapping[str, Measure] = {
    "passes": passes,
    "launches": launches,
    **{f"steps/{name}": partial(steps, make, "float32") for name, make in TASKS.items()},
    **{f"cuts/{name}": partial(cuts, layers) for name, layers in LAYERS.items()},
    "memory": memory,
    **{f"fits/{name}": partial(fits, fit) for name, fit in FITS.items()},
}
"""By name; a name before a slash stands for all that begin with it."""

ON_GPUS: Mapping[str, Measure] = {
    **PARTS,
    **{f"steps-mixed/{name}": partial(steps, make, MIXED) for name, make in TASKS.items()},
}
"""Those in mixed precision too, which a CPU has no use for."""
