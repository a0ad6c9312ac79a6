"""The Hugging Face Hub: a pruned network published in one call, with a card that explains it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from l1prune.checks import is_whole, needing
from l1prune.deploy.archives import FORMAT
from l1prune.deploy.encodings import Encoding
from l1prune.deploy.storage import load_sparse, save_sparse
from l1prune.runs.card import PICTURE, Card
from l1prune.runs.curves import read_layers
from l1prune.runs.files import read_json, read_yaml
from l1prune.runs.folder import MODEL, is_first
from l1prune.runs.points import CONFIG, LAYERS, SUMMARY
from l1prune.runs.stages import FRONTIER
from l1prune.runs.summary import monitor_of
from l1prune.weights.report import SparsityReport
from l1prune.weights.shards import gathered

if TYPE_CHECKING:
    import huggingface_hub

SPARSE = "model.sparse.safetensors"
"""The weights where they are stored by what is left of them."""


def push_to_hub(
    source: nn.Module | str | Path,
    repo_id: str,
    *,
    values: Encoding | None = None,
    metadata: Mapping[str, Any] | None = None,
    private: bool | None = None,
    api: huggingface_hub.HfApi | None = None,
) -> str:
    """Publish a pruned network on the Hugging Face Hub.

    The repository gets the weights, a card (`README.md`) with the counts of the layers and code
    that loads the network without l1prune, and `report.csv`; from a run's folder also its figures
    and settings (without the folders of this machine), and the curve of its stages.

    Args:
        source: the pruned model, or the folder of a run that has ended.
        repo_id: `"NAME"` or `"OWNER/NAME"`; made if it is not there, else added to.
        values: how the weights are stored: by default as plain safetensors, which
            `safetensors.torch.load_file` reads; `Exact()`, `Half()` or `RowInt8()` as what is left
            of them, which is smaller: see `save_sparse`. The card has the code for either.
        metadata: of the card, as `{"license": "mit", "datasets": ["mnist"]}`.
        private: whether others see the repository; None: as is usual for its owner.
        api: a client with a token or an address of its own; by default that of `hf auth login`.

    Returns:
        The address of the repository.

    Raises:
        ImportError: the extra `hub` is not installed.
        ValueError: nobody is logged in, the Hub takes no such name, or `source` is no network and
            no run that has ended.

    Example::

        push_to_hub(model, "me/digits-20x", metadata={"license": "mit"})
        push_to_hub("outputs/2030-01-01/12-00-00-000000", "me/digits-20x")
    """
    api = _checked(repo_id, api)
    published = _of_model(source) if isinstance(source, nn.Module) else _of_run(Path(source))
    if not is_first():
        return ""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(published, folder, repo_id, values, metadata or {})
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=getattr(address, "repo_id", repo_id),
            folder_path=folder,
            commit_message=f"Upload a network with {100 * published.report.sparsity:.2f} % zeros",
        )
    return str(address)


@dataclass(frozen=True)
class _Published:
    """A network, and what is known of it: its run's figures, settings and further files."""

    name: str
    state: dict[str, Tensor]
    report: SparsityReport
    summary: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def _of_model(model: nn.Module) -> _Published:
    state = {n: gathered(w).detach().cpu().clone() for n, w in model.state_dict().items()}
    return _Published(type(model).__name__, state, SparsityReport.of(model))


def _of_run(run: Path) -> _Published:
    for file in (SUMMARY, MODEL, LAYERS):
        if not (run / file).is_file():
            raise ValueError(f"{run}: no run that has ended, it has no {file}")
    summary: Any = read_json(run / SUMMARY)
    total: Any = summary.get("params/total") if isinstance(summary, dict) else None
    if not is_whole(total, 0):
        raise ValueError(f"{run / SUMMARY}: does not say how many params/total there are")
    monitor_of(summary)  # refuses what is no metric
    settings = read_yaml(run / CONFIG) if (run / CONFIG).is_file() else {}
    settings = without_places(settings) if isinstance(settings, dict) else {}
    files = tuple(run / name for name in (FRONTIER, PICTURE) if (run / name).is_file())
    report = SparsityReport(read_layers(run / LAYERS), total)
    state = load_sparse(run / MODEL)
    return _Published(_network_of(settings), state, report, summary, settings, files)


def without_places(tree: Any) -> Any:
    """Settings without the folders of a machine: of an absolute path its last part alone.

    >>> without_places({"run_dir": "/home/me/outputs/a", "seeds": [1, "b"]})
    {'run_dir': 'a', 'seeds': [1, 'b']}
    """
    if isinstance(tree, dict):
        return {key: without_places(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [without_places(value) for value in tree]
    for kind in (PurePosixPath, PureWindowsPath):
        if isinstance(tree, str) and kind(tree).is_absolute():
            return kind(tree).name
    return tree


def _network_of(settings: Mapping[str, Any]) -> str:
    """The class, or the function, that made the network of a run."""
    model = settings.get("model")
    network = model.get("network", model) if isinstance(model, dict) else None
    target = network.get("_target_") if isinstance(network, dict) else None
    return str(target or "network").rpartition(".")[2]


def _write(
    published: _Published,
    folder: Path,
    repo_id: str,
    values: Encoding | None,
    metadata: Mapping[str, Any],
) -> None:
    """All files of the repository."""
    file = folder / (MODEL if values is None else SPARSE)
    if values is None:
        save_file(published.state, file)
    else:
        save_sparse(published.state, file, values)
    for one in published.files:
        shutil.copy(one, folder)
    published.report.to_csv(folder / LAYERS)
    if published.summary:
        text = json.dumps(published.summary, indent=2) + "\n"
        (folder / SUMMARY).write_text(text, encoding="utf-8")
    if published.settings:
        text = yaml.safe_dump(published.settings, allow_unicode=True, sort_keys=False)
        (folder / CONFIG).write_text(text, encoding="utf-8")
    pictures = tuple(one.name for one in published.files if one.name == PICTURE)
    card = Card(
        repo_id,
        published.name,
        published.report,
        file.name,
        _is_sparse(file),
        published.summary,
        pictures,
    )
    (folder / "README.md").write_text(card.text(metadata), encoding="utf-8")


def _is_sparse(file: Path) -> bool:
    """Whether it is stored by what is left: not where that would have saved nothing."""
    with safe_open(str(file), "pt") as archive:
        return FORMAT in (archive.metadata() or {})


def _checked(repo_id: str, api: huggingface_hub.HfApi | None) -> huggingface_hub.HfApi:
    """A client that somebody is logged in with, once the Hub would take the name."""
    with needing("hub", "push_to_hub"):
        import huggingface_hub
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"repo_id={repo_id!r}: {error}") from None
    if api is None and huggingface_hub.get_token() is None:
        raise ValueError(
            "nobody is logged in to the Hugging Face Hub: run `hf auth login`, set HF_TOKEN, or "
            "give api=HfApi(token=...)"
        )
    return api or huggingface_hub.HfApi()
