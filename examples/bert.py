"""Fine-tuning of BERT while it is pruned: which sentences are kind?

python examples/bert.py                              a small BERT, which learns it first
python examples/bert.py --fresh                      the same, pruned while it learns
python examples/bert.py --model prajjwal1/bert-tiny  trained weights from the Hugging Face Hub
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, random_split
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig
from transformers import BertForSequenceClassification as Bert

from l1prune import L1Pruning, Sparsity, SparsityReport

THINGS = ["film", "book", "meal", "hotel", "concert", "journey", "lecture", "game"]
KIND = ["good", "wonderful", "charming", "splendid", "delightful", "fine"]
UNKIND = ["bad", "dreadful", "boring", "poor", "tedious", "awful"]


def sentence(kind: bool, source: random.Random) -> str:
    """One that is kind, or not; a "not" turns its word round."""
    turned = source.random() < 0.5
    word = source.choice(KIND if kind != turned else UNKIND)
    return f"the {source.choice(THINGS)} was {'not ' * turned}{word} , they said"


def examples(count: int, name: str | None) -> TensorDataset:
    """Sentences as numbers of words: those of a model's own tokenizer, or of a small vocabulary."""
    source = random.Random(0)
    labels = [source.random() < 0.5 for _ in range(count)]
    texts = [sentence(kind, source) for kind in labels]
    if name:
        ids = AutoTokenizer.from_pretrained(name)(
            texts, padding=True, return_tensors="pt"
        ).input_ids
    else:
        words = sorted({"the", "was", "not", ",", "they", "said", *THINGS, *KIND, *UNKIND})
        numbers = {word: number for number, word in enumerate(words, 1)}
        rows = [[numbers[word] for word in text.split()] for text in texts]
        ids = torch.tensor([row + [0] * (8 - len(row)) for row in rows])
    return TensorDataset(ids, torch.tensor(labels).long())


class Sentences(L.LightningModule):
    """A transformer of Hugging Face under Lightning; nothing in it knows of pruning."""

    def __init__(self, bert: Any, lr: float) -> None:
        super().__init__()
        self.bert, self.lr = bert, lr

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        ids, labels = batch
        loss: Tensor = self.bert(ids, attention_mask=(ids != 0).long(), labels=labels).loss
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        ids, labels = batch
        scores = self.bert(ids, attention_mask=(ids != 0).long()).logits
        self.log("val/accuracy", (scores.argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune BERT while it is fine-tuned.")
    parser.add_argument("--model", help="a BERT on the Hub; by default a small one, untrained")
    parser.add_argument("--fresh", action="store_true", help="prune the small one as it learns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--sparsity", type=float, default=0.9, help="share of zeros")
    parser.add_argument("--limit", type=int, default=2000, help="sentences in all")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> SparsityReport | None:
    options = arguments(given)
    L.seed_everything(options.seed, verbose=False)
    if options.model:
        bert = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2)
    else:
        sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
        bert = Bert(BertConfig(vocab_size=40, num_hidden_layers=2, num_labels=2, **sizes))
    model = Sentences(bert.train(), lr=5e-5 if options.model else 1e-3)
    data = examples(options.limit, options.model)
    train, val = random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))
    loaders = DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=256)

    def trainer(*callbacks: L.Callback) -> L.Trainer:
        return L.Trainer(
            max_epochs=options.epochs,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            log_every_n_steps=1,
        )

    fresh = options.fresh and not options.model
    kind = L1Pruning if fresh else L1Pruning.finetune
    pruning = kind(threshold=Sparsity(options.sparsity))
    if not options.model and not fresh:
        trainer().fit(model, *loaders)  # in the place of the weights that a trained one brings
    pruned = trainer(pruning)
    pruned.fit(model, *loaders)
    print(f"validation accuracy {float(pruned.callback_metrics['val/accuracy']):.4f}")
    return pruning.report


if __name__ == "__main__":
    main()
