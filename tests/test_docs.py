"""The documents: their programs run as they stand, and the site of them builds."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from blocks import PAGES, ROOT, Block, blocks
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from l1prune import SparsityReport
from l1prune.runs.folder import RunFolder
from l1prune.zoo import mlp

PENDING: dict[str, str] = {}
"""What the documents say already and the library does not do yet: such a block must fail. When it
does not any more, its test fails, and its line is taken out here."""


NEEDED = {
    "export_onnx": "onnxruntime",
    "from accelerate": "accelerate",
    "from transformers": "transformers",
}
"""Packages without which a block with these words is left out."""


class Task(L.LightningModule):
    """What the documents call `model`: it classifies eight numbers, and logs what they name."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
        self.example_input_array = torch.zeros(1, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.network(x)
        return y

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        x, y = batch
        loss: torch.Tensor = nn.functional.cross_entropy(self(x), y)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        x, y = batch
        self.log("val/accuracy", (self(x).argmax(1) == y).float().mean())
        self.log("val/loss", nn.functional.cross_entropy(self(x), y))

    def val_dataloader(self) -> DataLoader[Any]:
        return Data().val_dataloader()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Data(L.LightningDataModule):
    """What they call `datamodule`: four batches to learn from."""

    def __init__(self) -> None:
        super().__init__()
        x = torch.randn(64, 8)
        self.data = TensorDataset(x, (x[:, 0] > 0).long())

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, batch_size=16)

    val_dataloader = train_dataloader


def named(language: str) -> list[Any]:
    """The blocks of a language; those that cannot work yet are expected to fail."""
    return [
        pytest.param(
            block,
            id=block.name,
            marks=[pytest.mark.xfail(reason=PENDING[block.name])] if block.name in PENDING else [],
        )
        for block in blocks(language)
    ]


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the documents take for granted."""
    monkeypatch.chdir(tmp_path)
    model, data = Task(), Data()
    network = Task().network.eval()
    return {
        "__name__": "document",
        "L": L,
        "model": model,
        "datamodule": data,
        "data": data.data,
        "network": network,
        "make_network": lambda: Task().network,
        "example_input": torch.randn(1, 8),
    }


@pytest.fixture
def runs(tmp_path: Path) -> None:
    """The runs that the documents read again: one of digits, and one that is published."""
    digits = RunFolder(tmp_path / "runs/digits95")
    published = RunFolder(tmp_path / "outputs/2030-01-01/12-00-00-000000")
    for folder, network in ((digits, mlp((1, 8, 8), 10)), (published, Task().network)):
        folder.path.mkdir(parents=True)
        report = SparsityReport.of(network)
        folder.keep(network, report)
        folder.end({"test/accuracy": 0.9, **report.to_dict()})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hugging Face Hub that keeps nothing."""
    room = importlib.import_module("l1prune.runs.hub")

    class Api:
        def create_repo(self, repo_id: str, **_: Any) -> str:
            return repo_id

        def upload_folder(self, **_: Any) -> None: ...

    monkeypatch.setattr(room, "_checked", lambda *_: Api())


@pytest.mark.usefixtures("hub", "runs")
@pytest.mark.parametrize("block", named("python"))
def test_every_program_runs(block: Block, setting: dict[str, Any]) -> None:
    for words, package in NEEDED.items():
        if words in block.text:
            pytest.importorskip(package, reason=f"needs {package}")
    code = compile(block.text, block.name, "exec", dont_inherit=True)
    exec(code, setting)


@pytest.mark.parametrize(
    "block",
    [one for one in named("yaml") if one.values[0].text.startswith("trainer:")],
)
def test_every_configuration_is_taken_by_the_lightning_cli(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jsonargparse", reason="needs the extra cli")
    from lightning.pytorch.cli import LightningCLI

    monkeypatch.setattr("sys.argv", ["main.py"])
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text(block.text, encoding="utf-8")
    try:
        arguments = ["--config", str(file)]
        cli = LightningCLI(Task, Data, args=arguments, run=False, seed_everything_default=0)
    except SystemExit as end:  # as argparse refuses
        raise AssertionError(f"{block.name} is refused") from end
    asked = yaml.safe_load(block.text)["trainer"]["callbacks"][0]["init_args"]
    (pruning,) = [one for one in cli.trainer.callbacks if type(one).__name__ == "L1Pruning"]
    made = type(pruning.recipe.plan).__name__, type(pruning.recipe.threshold).__name__
    assert asked["threshold"]["class_path"].rpartition(".")[2] in made


def test_what_is_pending_is_in_the_documents() -> None:
    known = {one.name for language in ("python", "yaml") for one in blocks(language)}
    assert PENDING.keys() <= known


def test_there_is_an_example_of_each_kind() -> None:
    assert sum(block.page == "extending.md" for block in blocks("python")) >= 7


def test_the_readme_is_the_face_and_no_more() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_files_that_are_named_are_there() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:examples|scripts|conf|tests|\.github)/[\w./-]+)`", text):
            written = f"`{name}` is\n" in text  # by who reads it: a block of its content follows
            assert written or (ROOT / name).exists(), f"{page.name} names {name}"


def test_the_citation_says_what_the_package_says() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f'version = "{citation["version"]}"' in project
    assert f'license = "{citation["license"]}"' in project
    address = re.search(r'^Repository = "(.+)"$', project, re.MULTILINE)
    assert citation.get("repository-code") == (address and address[1])
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


@pytest.mark.parametrize("file", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=str)
def test_workflows_take_no_more_rights_than_they_need(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] in ({}, {"contents": "read"})
    writing = {
        name: right
        for job in workflow["jobs"].values()
        for name, right in job.get("permissions", {}).items()
        if right == "write"
    }
    assert writing == ({"id-token": "write"} if file.name == "publish.yml" else {})
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    pytest.importorskip("mkdocstrings_handlers.python", reason="needs the extra docs")
    pytest.importorskip("material", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_needs_no_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img)\b[^>]*?(?:src|href)=\"?(https?:[^\"\s>]+)", text)
        assert not loaded, f"{page.name} loads {loaded}"


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    import l1prune

    pages = "".join(page.read_text(encoding="utf-8") for page in site.glob("reference/*.html"))
    for room, names in l1prune.ROOMS.items():
        for name in names.split():
            assert re.search(rf'id="?l1prune\.{room}\.{name}"?[\s>]', pages), name


def test_examples_of_docstrings_are_code(site: Path) -> None:
    text = (site / "reference/weights.html").read_text(encoding="utf-8")
    article = text[text.index("<article") : text.index("</article>")]
    assert '<span class="gp">>>> </span>' in article.replace("&gt;", ">")
    assert "<blockquote>" not in article


@pytest.mark.parametrize("name", ["doctests", "pages"])
def test_what_builds_the_site_does_what_it_says(name: str) -> None:
    pytest.importorskip("griffe", reason="needs the extra docs")
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    specification = importlib.util.spec_from_file_location(name, ROOT / f"docs/hooks/{name}.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed
