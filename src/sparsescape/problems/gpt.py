"""A small GPT."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """How large a GPT is."""

    vocabulary: int
    context: int
    layers: int
    heads: int
    width: int
    dropout: float = 0.0


class GPT(nn.Module):
    """A decoder of pre-LN blocks (Radford et al. 2019, section 2.3), without biases, as in nanoGPT.

    Queries, keys, values and what attention puts out are matrices of their own, so that each has
    its own sparsity. The head is the tokens' embedding (Press & Wolf 2017): one parameter, which is
    no matrix of the network's inside.

    Inputs are tokens, (n, length); outputs are logits, (n, vocabulary, length), the classes second,
    as ``torch.nn.functional.cross_entropy`` takes them.

    >>> model = GPT(Size(vocabulary=65, context=64, layers=4, heads=4, width=128))
    >>> sum(p.numel() for p in model.parameters())
    804096
    >>> model(torch.zeros(2, 10, dtype=torch.int64)).shape
    torch.Size([2, 65, 10])
    """

    def __init__(self, size: Size):
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.context, size.width)
        self.dropout = nn.Dropout(size.dropout)
        self.blocks = nn.Sequential(*(Block(size) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:
                # What is added to the residual stream is scaled by its depth.
                shrunk = name.endswith(("output.weight", "down.weight"))
                scale = 0.02 / math.sqrt(2 * size.layers) if shrunk else 0.02
                nn.init.normal_(parameter, std=scale)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.dropout(self.tokens(tokens) + self.positions(places))
        hidden = self.norm(self.blocks(hidden))
        return F.linear(hidden, self.tokens.weight).transpose(1, 2)


class Block(nn.Module):
    """Attention and a perceptron, each after a LayerNorm and beside an identity."""

    def __init__(self, size: Size):
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, bias=False)
        self.attention = Attention(size)
        self.norm2 = nn.LayerNorm(size.width, bias=False)
        self.up = nn.Linear(size.width, 4 * size.width, bias=False)
        self.down = nn.Linear(4 * size.width, size.width, bias=False)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs + self.attention(self.norm1(inputs))
        return hidden + self.dropout(self.down(F.gelu(self.up(self.norm2(hidden)))))


class Attention(nn.Module):
    """Causal self-attention of several heads."""

    def __init__(self, size: Size):
        super().__init__()
        self.query, self.key, self.value, self.output = (
            nn.Linear(size.width, size.width, bias=False) for _ in range(4)
        )
        self.heads, self.dropout = size.heads, nn.Dropout(size.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        query, key, value = (
            part(inputs).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        dropped = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropped, is_causal=True)
        return self.dropout(self.output(mixed.transpose(1, 2).flatten(2)))
