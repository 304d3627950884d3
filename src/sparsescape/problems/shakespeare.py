"""Tiny Shakespeare: 1.1 million characters, each of which predicts the next."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from ..errors import InputError
from .gpt import GPT, Size
from .problem import Problem, units
from .recipe import Recipe
from .roots import data_root
from .text import Windows

_FILE = "tinyshakespeare.txt"


def small(recipe: Recipe, root: str | None = None) -> Problem:
    """nanoGPT's settings for a CPU (Karpathy 2022, its README, "I only have a macbook"): 4 blocks
    of width 128, 64 characters of context, 2000 steps of 12 windows.

    Published: a loss of 1.88 nats a character, estimated on 20 random batches of its validation
    set; here it is the mean over all of it, in windows end to end.
    """
    return _problem(recipe, root, context=64, layers=4, heads=4, width=128)


def large(recipe: Recipe, root: str | None = None) -> Problem:
    """nanoGPT's ``config/train_shakespeare_char.py`` (Karpathy 2022): 6 blocks of width 384, 256
    characters of context, dropout 0.2, 5000 steps of 64 windows.

    Published: a validation loss of 1.4697 nats a character, the best on the way; it overfits.
    """
    return _problem(recipe, root, context=256, layers=6, heads=6, width=384, dropout=0.2)


def _problem(
    recipe: Recipe,
    root: str | None,
    *,
    context: int,
    layers: int,
    heads: int,
    width: int,
    dropout: float = 0.0,
) -> Problem:
    text = _text(root)
    letters = sorted(set(text))
    numbers = {letter: number for number, letter in enumerate(letters)}
    tokens = torch.tensor([numbers[letter] for letter in text])
    first = int(0.9 * len(tokens))
    size = partial(Size, len(letters), context, layers, heads, dropout=dropout)

    def model(scale: float = 1.0) -> nn.Module:
        (of_head,) = units(scale, width // heads)
        return GPT(size(width=heads * of_head))

    return Problem(
        model,
        Windows(tokens[:first], context),
        Windows(tokens[first:], context, moved=False),
        recipe=recipe,
        dense=("tokens", "positions"),
        scaled=model,
    )


def _text(root: str | None) -> str:
    hint = "input.txt of char-rnn's data/tinyshakespeare, under that name"
    place = data_root(root, "Tiny Shakespeare", _FILE, hint)
    if not (place / _FILE).is_file():
        raise InputError(
            f"Tiny Shakespeare is not in {place}: that folder must hold {_FILE} ({hint})."
        )
    return (place / _FILE).read_text("utf-8")
