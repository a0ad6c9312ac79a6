"""Cost of a step under each pressure, all in turns in one process."""

from __future__ import annotations

import time
from statistics import median, quantiles

import torch
from torch.nn import functional as F

from benchmarks.claims.runs import KINDS, TASKS, prepared

STEPS, BATCH = 30, 128
"""Of a turn; a batch of the usual size for LeNet-300-100."""


def table(rounds: int = 21, task: str = "mnist500") -> str:
    """Markdown: the time of a step under each pressure over that of one without.

    Args:
        rounds: how often all take their turn.
        task: whose network it is, on 784 random inputs.
    """
    torch.manual_seed(0)
    x, y = torch.randn(BATCH, 784), torch.randint(TASKS[task].outputs, (BATCH,))
    contenders = {}
    for name, kind in KINDS.items():
        network = TASKS[task].network(784)
        contenders[name] = network, prepared(task, name, kind.strengths[0], network)[0]
    ratios: dict[str, list[float]] = {name: [] for name in KINDS}
    for turn in range(rounds + 1):
        took = {}
        for name, (network, optimizer) in contenders.items():
            began = time.process_time()
            for _ in range(STEPS):
                optimizer.zero_grad()
                F.cross_entropy(network(x), y).backward()
                optimizer.step()
            took[name] = time.process_time() - began
        for name in KINDS:
            ratios[name] += [took[name] / took["none"]] * (turn > 0)  # the first warms up
    lines = ["| a step | over one without pressure | quartiles |", "| --- | ---: | ---: |"]
    for name, found in ratios.items():
        low, _, high = quantiles(found, n=4)
        lines.append(f"| {KINDS[name].words} | {median(found):.2f} × | {low:.2f} – {high:.2f} |")
    return "\n".join(lines)
