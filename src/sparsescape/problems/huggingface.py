"""A model and a data set of Hugging Face, by name: ``hf:MODEL:DATASET``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch, Examples, Tensors
from ..errors import InputError
from .problem import Problem
from .recipe import Recipe
from .text import Windows

_LENGTH = 128  # tokens, at most, of an example
_LABELS = ("label", "labels")
_WEIGHTS = ("*.safetensors", "*.bin")


def hub_problem(name: str, recipe: Recipe) -> Problem:
    """Fine-tuning of a model of the hub, or of a folder.

    The name is ``MODEL:DATASET`` or ``MODEL:DATASET:CONFIGURATION``
    (``google-bert/bert-base-uncased:nyu-mll/glue:sst2``); both can be folders, as
    ``from_pretrained`` and ``load_dataset`` read them. A data set with a column ``label`` is one of
    classification, of its one or two columns of text; one without is text whose tokens are
    predicted one from another. A model of the hub starts from its trained weights, and so does a
    folder that holds weights; what they lack, a new head, is drawn from the seed. The test set is
    the split ``validation``, or else ``test``. Embeddings stay dense.

    Raises:
        InputError: transformers or datasets is missing, or the model or the data set cannot be
            had, or they do not fit.
    """
    parts = name.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise InputError(f"'hf:{name}' is not of the form hf:MODEL:DATASET.")
    model, *dataset = parts
    _needed()
    data = _loaded(dataset)
    tokenizer = _from_hub("tokenizer", model)
    label = next((c for c in _LABELS if c in data["train"].column_names), None)
    if label is None:
        return _language_model(model, tokenizer, data, recipe)
    return _classifier(model, tokenizer, data, label, recipe)


def _needed() -> None:
    for name in ("datasets", "transformers"):
        if find_spec(name) is None:
            raise InputError(
                f"hf:MODEL:DATASET needs {name}: pip install 'sparsescape[huggingface]'."
            )


def _loaded(dataset: list[str]) -> dict[str, Any]:
    """The two splits, ``train`` and ``test``."""
    import datasets

    name = ":".join(dataset)
    try:
        found = datasets.load_dataset(*dataset)
    except Exception as error:  # whatever the hub or a file says is for the user to read
        message = str(error).strip().split("\n")[0]
        raise InputError(f"The data set {name!r} cannot be loaded: {message}") from error
    test = next((split for split in ("validation", "test") if split in found), None)
    if "train" not in found or test is None:
        raise InputError(
            f"The data set {name!r} has no split train, or neither validation nor test."
        )
    return {"train": found["train"], "test": found[test]}


def _from_hub(what: str, model: str, **settings: Any) -> Any:
    """The tokenizer or the configuration of a model."""
    import transformers

    kinds = {"tokenizer": transformers.AutoTokenizer, "configuration": transformers.AutoConfig}
    try:
        return kinds[what].from_pretrained(model, **settings)
    except (OSError, ValueError) as error:
        message = str(error).strip().split("\n")[0]
        raise InputError(f"The {what} of {model!r} cannot be loaded: {message}") from error


def _texts(data: Any) -> list[str]:
    """The columns that hold text."""
    columns = [name for name, f in data.features.items() if getattr(f, "dtype", "") == "string"]
    if not columns:
        raise InputError("The data set has no column of text.")
    return columns


def _text(rows: Any, column: str) -> list[str]:
    found = list(rows[column])
    if None in found:
        missing = found.index(None)
        raise InputError(f"Example {missing} of the data set has no text in {column!r}.")
    return found


# ---------------------------------------------------------------------------- classification


def _classifier(
    name: str, tokenizer: Any, data: Mapping[str, Any], label: str, recipe: Recipe
) -> Problem:
    labels = {split: _labels(rows, label, split) for split, rows in data.items()}
    classes = 1 + max(labels["train"])
    if max(labels["test"]) >= classes:
        raise InputError("The test split has labels that the training split has not.")
    config = _from_hub("configuration", name, num_labels=classes)
    splits = {split: _encoded(tokenizer, rows, labels[split]) for split, rows in data.items()}
    keys = tokenizer.model_input_names

    def model() -> nn.Module:
        import transformers

        made = _made(transformers.AutoModelForSequenceClassification, name, config)
        return Classifier(made, keys)

    return Problem(
        model, splits["train"], splits["test"], recipe=recipe, dense=_embeddings(model())
    )


def _labels(rows: Any, label: str, split: str) -> list[int]:
    """The classes, which are numbers from 0 on: a split without answers often has -1 for them."""
    found = list(rows[label])
    for number, given in enumerate(found):
        if not isinstance(given, int) or given < 0:
            raise InputError(
                f"The labels of the data set are no whole numbers from 0 on: example {number} of "
                f"the split {split} has {given!r}."
            )
    return found


def _encoded(tokenizer: Any, rows: Any, labels: list[int]) -> Tensors:
    columns = [_text(rows, column) for column in _texts(rows)[:2]]
    found = tokenizer(
        *columns, truncation=True, padding="max_length", max_length=_LENGTH, return_tensors="pt"
    )
    inputs = torch.stack([found[key] for key in tokenizer.model_input_names], dim=1)
    return Tensors(inputs, torch.tensor(labels, dtype=torch.long))


class Classifier(nn.Module):
    """A model whose inputs are one tensor (n, keys, length): tokens, attention mask and so on."""

    def __init__(self, model: nn.Module, keys: list[str]):
        super().__init__()
        self.model, self.keys = model, keys

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self.keys, inputs.unbind(1), strict=True))).logits


# ---------------------------------------------------------------------------- language models


def _language_model(name: str, tokenizer: Any, data: Mapping[str, Any], recipe: Recipe) -> Problem:
    config = _from_hub("configuration", name)
    context = getattr(config, "max_position_embeddings", _LENGTH)
    splits: dict[str, Batch | Examples] = {
        split: Windows(_stream(tokenizer, rows), min(_LENGTH, context), moved=split == "train")
        for split, rows in data.items()
    }

    def model() -> nn.Module:
        import transformers

        return LanguageModel(_made(transformers.AutoModelForCausalLM, name, config))

    return Problem(
        model, splits["train"], splits["test"], recipe=recipe, dense=_embeddings(model())
    )


def _stream(tokenizer: Any, rows: Any) -> Tensor:
    """All texts, one after the other, an end between them where the tokenizer has one."""
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    encoded = tokenizer(_text(rows, _texts(rows)[0]), add_special_tokens=False)["input_ids"]
    return torch.tensor(list(itertools.chain.from_iterable([*part, *end] for part in encoded)))


class LanguageModel(nn.Module):
    """A model whose logits have the classes second, as ``cross_entropy`` takes them."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens, use_cache=False).logits.transpose(1, 2)


# ---------------------------------------------------------------------------- both


def _made(kind: Any, name: str, config: Any) -> nn.Module:
    """The model with its trained weights, where there are any."""
    folder = Path(name)
    if folder.is_dir() and not any(next(folder.glob(p), None) for p in _WEIGHTS):
        return kind.from_config(config)
    try:
        return kind.from_pretrained(name, config=config)
    except (OSError, ValueError) as error:
        message = str(error).strip().split("\n")[0]
        raise InputError(f"The model {name!r} cannot be loaded: {message}") from error


def _embeddings(model: nn.Module) -> tuple[str, ...]:
    """The names of the embeddings' weights, under which a tied head goes too."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return tuple(name for name, p in model.named_parameters() if id(p) in tables)
