"""A small GPT over characters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GPT(nn.Module):
    """A decoder-only transformer (Radford et al., 2019), in nanoGPT's proportions.

    Normalisation comes before each layer and once at the end, positions are learned. Embedding and
    head are two matrices, unlike in GPT-2: so the head can be pruned while the embedding stays.

    Args:
        vocabulary: number of different tokens V.
        length: of the longest sequence of tokens.
        layers: number of blocks.
        width: C, the length of a token's vector.
        heads: of each attention; they share the width evenly.

    Raises:
        ValueError: when the heads do not divide the width.

    >>> gpt = GPT(vocabulary=65, length=16, layers=2, width=32, heads=4)
    >>> gpt(torch.zeros(3, 16, dtype=torch.long)).shape
    torch.Size([3, 16, 65])
    """

    def __init__(
        self, vocabulary: int, length: int, layers: int = 6, width: int = 192, heads: int = 6
    ) -> None:
        super().__init__()
        self.length = length
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.apply(_initialise)
        for name, weight in self.named_parameters():
            # Each block adds to its input twice: without this, variance would grow with depth.
            if name.endswith(("attention.out.weight", "mlp.2.weight")):
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of each next token.

        Args:
            tokens: ``(B, T)``, integers below the vocabulary; T is at most the length.

        Returns:
            ``(B, T, V)``; those at position t depend on the tokens up to t alone.
        """
        if tokens.shape[1] > self.length:
            raise ValueError(
                f"tokens: {tokens.shape[1]} in a row, but this GPT was built for {self.length}"
            )
        places = torch.arange(tokens.shape[1], device=tokens.device)  # (T)
        x = self.embedding(tokens) + self.position(places)  # (B, T, C)
        x = self.norm(self.blocks(x))  # (B, T, C)
        logits: Tensor = self.head(x)  # (B, T, V)
        return logits


class Block(nn.Module):
    """Tokens look at each other, then each thinks by itself; both are added to what was there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))  # (B, T, C)
        x = x + self.mlp(self.norm2(x))  # (B, T, C)
        return x


class Attention(nn.Module):
    """Causal self-attention; queries, keys and values come from one fused layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads={heads} must divide width={width}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, nh, hs)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # (B, nh, T, hs) each
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, nh, T, hs)
        y = y.transpose(1, 2).flatten(2)  # (B, T, C)
        mixed: Tensor = self.out(y)  # (B, T, C)
        return mixed


def _initialise(module: nn.Module) -> None:
    """GPT-2's: small normal weights, no bias."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
