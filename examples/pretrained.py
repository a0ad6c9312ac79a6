"""A ResNet or a ViT of torchvision or timm, pruned from a file of weights.

python examples/pretrained.py --weights resnet18.safetensors
python examples/pretrained.py --network vit_b_16 --weights vit_b_16.pth --size 224

Without --weights the network begins untrained, which shows no more than that it runs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from l1prune import L1Pruning, Sparsity, SparsityReport

CLASSES = 10


def build(name: str) -> nn.Module:
    """The network, untrained, from whichever library is there and knows it."""
    for library, made in (
        ("torchvision.models", lambda models: models.get_model(name, num_classes=CLASSES)),
        ("timm", lambda timm: timm.create_model(name, num_classes=CLASSES)),
    ):
        try:
            network: nn.Module = made(importlib.import_module(library))
        except (ImportError, ValueError, RuntimeError) as error:
            print(f"{library}: {error}", file=sys.stderr)
        else:
            return network
    raise SystemExit(
        f"neither torchvision nor timm has made a {name}: pip install torchvision timm"
    )


def load(network: nn.Module, file: Path) -> list[str]:
    """Fill a network from a file, all but what has another shape there; the names of that."""
    safe = file.suffix == ".safetensors"
    state = load_file(file) if safe else torch.load(file, "cpu", weights_only=True)
    own = network.state_dict()
    fitting = {name: w for name, w in state.items() if name in own and w.shape == own[name].shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())


def images(limit: int | None, size: int) -> TensorDataset:
    """Digits of scikit-learn, as large and colourful as the network wants them."""
    pixels, labels = load_digits(return_X_y=True)
    small = torch.tensor(pixels[:limit] / 8 - 1).float().view(-1, 1, 8, 8)
    large = F.interpolate(small, size=(size, size), mode="bilinear").expand(-1, 3, -1, -1)
    return TensorDataset(large, torch.tensor(labels)[:limit])


class Classifier(L.LightningModule):
    """Fine-tunes a network; nothing in it knows of pruning."""

    def __init__(self, network: nn.Module, lr: float) -> None:
        super().__init__()
        self.network, self.lr = network, lr

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        right = self.network(batch[0]).argmax(1) == batch[1]
        self.log("val/accuracy", right.float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune a network of torchvision or timm.")
    parser.add_argument("--network", default="resnet18", help="its name there")
    parser.add_argument("--weights", type=Path, help="safetensors, or a state dict of torch.save")
    parser.add_argument("--size", type=int, default=64, help="of the images, in pixels")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sparsity", type=float, default=0.9, help="share of zeros")
    parser.add_argument("--limit", type=int, help="images in all; by default 1,797")
    parser.add_argument("--output", type=Path, default=Path("pruned.safetensors"))
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> SparsityReport | None:
    options = arguments(given)
    L.seed_everything(0, verbose=False)
    network = build(options.network)
    if options.weights:
        print(f"not in {options.weights}: {', '.join(load(network, options.weights)) or 'nothing'}")
    data = images(options.limit, options.size)
    train, val = random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))
    loaders = DataLoader(train, 32, shuffle=True, drop_last=True), DataLoader(val, 128)
    pruning = L1Pruning.finetune(threshold=Sparsity(options.sparsity))
    trainer = L.Trainer(
        max_epochs=options.epochs, callbacks=[pruning], logger=False, enable_checkpointing=False
    )
    trainer.fit(Classifier(network, lr=1e-3), *loaders)
    save_file(network.state_dict(), options.output)  # loads as the file that it came from
    return pruning.report


if __name__ == "__main__":
    main()
