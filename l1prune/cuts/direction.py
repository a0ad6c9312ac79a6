"""Direction: whether a metric is the better the higher it is, as far as its name says it."""

from __future__ import annotations

import re

SHARES = {"acc", "accuracy", "auc", "auroc", "f1", "precision", "recall", "iou", "dice"}
HIGHER = SHARES | {"r2", "psnr", "ssim", "bleu", "rouge", "map", "ndcg", "mrr", "reward"}
LOWER = {"loss", "error", "err", "perplexity", "ppl", "mse", "mae", "rmse", "nll", "bpc"}
LOWER |= {"mape", "wer", "cer", "fid", "kl", "crossentropy", "ce", "bce", "deviance", "brier"}
VALIDATION = r"^(validation|valid|val|dev|eval)(?=[^a-z]|$)"
"""How the names of validation's figures begin."""
EVALUATION = r"^(validation|valid|val|dev|eval|test)(?=[^a-z]|$)"


def higher_is_better(metric: str) -> bool:
    """The direction of a metric, by the words of its name.

    Raises:
        ValueError: they do not say it, or say both.

    >>> higher_is_better("val/accuracy"), higher_is_better("valid_loss")
    (True, False)
    """
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    if bool(words & HIGHER) == bool(words & LOWER):
        raise ValueError(
            f"monitor={metric!r} does not say whether higher is better: give higher_is_better=True "
            "or higher_is_better=False"
        )
    return bool(words & HIGHER)
