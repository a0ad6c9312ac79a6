"""Model cards: what a network on the Hugging Face Hub says of itself, and how it is loaded."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml  # type: ignore[import-untyped]

from l1prune.checks import is_number
from l1prune.runs import reader
from l1prune.runs.escapes import markdown
from l1prune.runs.monitor import Monitor
from l1prune.runs.summary import monitor_of
from l1prune.weights.report import SparsityReport

PICTURE = "frontier.png"
"""The curve of a run in stages, drawn where a card has one."""


@dataclass(frozen=True)
class Card:
    """What is told of a network.

    Args:
        repo_id: where it is on the Hub.
        network: what it is called, as the name of its class.
        report: the counts of its layers.
        file: its weights, in the same repository.
        is_sparse: whether `save_sparse` wrote them, and not safetensors itself.
        summary: the figures of its run, empty where it has none.
        pictures: of the files beside it, those to show.

    >>> from torch import nn
    >>> card = Card("me/line", "Linear", SparsityReport.of(nn.Linear(2, 1)), "model.safetensors")
    >>> "# line" in str(card), "load_file" in card.code
    (True, True)
    """

    repo_id: str
    network: str
    report: SparsityReport
    file: str
    is_sparse: bool = False
    summary: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()

    @property
    def monitor(self) -> Monitor:
        """The metric by which the run was judged."""
        return monitor_of(self.summary)

    @property
    def code(self) -> str:
        """Python that fills a `model` from the Hub, without l1prune."""
        fetched = f'hf_hub_download("{self.repo_id}", "{self.file}")'
        if self.is_sparse:
            _, _, body = inspect.getsource(reader).partition('"""\n\n')
            body = re.sub(r'\n    """.*?"""\n', "\n", body, flags=re.DOTALL)
            imports, _, function = body.partition("from safetensors")
            head = f"{imports}from huggingface_hub import hf_hub_download\nfrom safetensors"
            loading = f"{head}{function}\n\nstate = read_sparse({fetched})"
        else:
            loading = (
                "from huggingface_hub import hf_hub_download\n"
                f"from safetensors.torch import load_file\n\nstate = load_file({fetched})"
            )
        return f"{loading}\nmodel.load_state_dict(state)"

    def metadata(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the Hub finds it by; what is given goes first, and tags come together."""
        own: dict[str, Any] = {"library_name": "pytorch"}
        if self.monitor.name in self.summary:
            own["metrics"] = [self.monitor.words]
        tags = ["pruning", "sparsity", "l1prune", *given.get("tags", ())]
        return {**own, **given, "tags": list(dict.fromkeys(tags))}

    def text(self, given: Mapping[str, Any]) -> str:
        """The file `README.md`, with metadata of the author's own, as a license."""
        front = yaml.safe_dump(self.metadata(given), allow_unicode=True, sort_keys=False)
        return f"---\n{front}---\n\n{self}"

    def __str__(self) -> str:
        parts = [f"# {self.repo_id.rpartition('/')[2]}", _counted(self.network, self.report)]
        parts += [f"![Accuracy against the weights that are left]({one})" for one in self.pictures]
        parts += ["## Figures\n\n" + "\n".join(self._figures())] if any(self._told()) else []
        parts.append("## Layers\n\n" + "\n".join(_layers(self.report)))
        if self.report.skipped:
            parts.append("Left alone:\n\n" + "\n".join(_skipped(self.report)))
        parts.append(
            "## How to load it\n\nThe network is a plain PyTorch model, and needs nothing else. "
            f"With `model` the {markdown(self.network)} as it was trained, of the same shapes:\n\n"
            f"```python\n{self.code}\n```\n\nRemoved weights are exact zeros in its tensors."
        )
        return "\n\n".join(parts) + "\n"

    def _told(self) -> dict[str, float]:
        named = sorted(self.summary, key=lambda name: (name != self.monitor.test, name))
        figures = {name: self.summary[name] for name in named if not name.startswith("params/")}
        return {n: v for n, v in figures.items() if is_number(v) and n not in ("seed", "seconds")}

    def _figures(self) -> Iterator[str]:
        yield "| figure | value |\n| --- | ---: |"
        for name, value in self._told().items():
            ours = name in (self.monitor.name, self.monitor.test)
            yield f"| {markdown(name)} | {self.monitor.shown(value) if ours else f'{value:.4g}'} |"


def _counted(network: str, report: SparsityReport) -> str:
    gone = report.prunable - report.nonzero
    return (
        f"A {markdown(network)}, pruned with l1prune: of {report.prunable:,} prunable weights "
        f"{report.nonzero:,} are left ({100 * report.sparsity:.2f} % zeros), of all "
        f"{report.total:,} parameters {report.total - gone:,}."
    )


def _layers(report: SparsityReport) -> Iterator[str]:
    yield "| layer | shape | weights | left | zeros |\n| --- | --- | ---: | ---: | ---: |"
    for layer in report.layers:
        shape = "×".join(map(str, layer.shape))
        counts = f"{layer.total:,} | {layer.nonzero:,} | {100 * layer.sparsity:.2f} %"
        yield f"| {markdown(layer.name)} | {shape} | {counts} |"


def _skipped(report: SparsityReport) -> Iterator[str]:
    """A line for each reason, with the parameters that it is one for."""
    names = defaultdict[str, list[str]](list)
    for name, reason in report.skipped.items():
        names[reason].append(name)
    for reason, several in names.items():
        some = ", ".join(map(markdown, several[:3])) + (", …" if len(several) > 3 else "")
        yield f"- {markdown(reason)}: {len(several)} ({some})"
