"""Pruning a BERT that the Trainer of Hugging Face fine-tunes: are most words high?

python examples/huggingface_trainer.py
python examples/huggingface_trainer.py --steps 600 --sparsity 0.95
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from l1prune import Pruning, Sparsity
from l1prune.training.huggingface import HFPruning

CONFIG = BertConfig(
    vocab_size=16,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=96,
    max_position_embeddings=8,
    num_labels=2,
)


class Numbers(Dataset[dict[str, Tensor]]):
    """Sentences of seven words, each a number up to 15: are most of them above eight?"""

    def __init__(self, count: int) -> None:
        source = torch.Generator().manual_seed(0)
        self.words = torch.randint(1, 16, (count, 7), generator=source)
        self.labels = ((self.words > 8).sum(1) > 3).long()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.words[index], "labels": self.labels[index]}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prune BERT in the Trainer of Hugging Face.")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--sparsity", type=float, default=0.9, help="share of zeros")
    parser.add_argument("--folder", type=Path, default=Path("runs/huggingface"))
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> tuple[HFPruning, Trainer]:
    options = arguments(given)
    plan = TrainingArguments(
        output_dir=str(options.folder),
        max_steps=options.steps,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=2,
        learning_rate=2e-3,
        logging_steps=max(options.steps // 6, 1),
        save_steps=max(options.steps // 2, 1),
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    torch.manual_seed(0)
    pruning = HFPruning(Pruning(threshold=Sparsity(options.sparsity)))
    trainer = Trainer(
        BertForSequenceClassification(CONFIG),
        plan,
        train_dataset=Numbers(2048),
        callbacks=[pruning],
    )
    trainer.train(resume_from_checkpoint=options.resume or None)
    print(pruning.report)
    trainer.save_model(str(options.folder / "pruned"))
    return pruning, trainer


if __name__ == "__main__":
    main()
