"""Prints the table of docs/problems.md, from the catalogue: python docs/problems.py"""

from __future__ import annotations

from sparsescape.problems.catalogue import CATALOGUE, Entry
from sparsescape.problems.recipe import Recipe


def table() -> str:
    rows = [
        "| name | data; model | parameters | recipe | of | published |",
        "|---|---|---|---|---|---|",
    ]
    rows += [row(name, entry) for name, entry in CATALOGUE.items()]
    return "\n".join(rows)


def row(name: str, entry: Entry) -> str:
    cells = (
        f"`{name}`",
        entry.summary,
        f"{entry.parameters:,}".replace(",", " "),
        recipe(entry.recipe),
        entry.source,
        entry.published,
    )
    return f"| {' | '.join(cells)} |"


def recipe(of: Recipe) -> str:
    """The recipe in words; what is not said is as in ``Recipe()``."""
    kind = "AdamW" if of.optimizer == "adamw" else "Nesterov" if of.nesterov else "SGD"
    schedule = {
        "cosine": f"cosine to {of.final_lr:g}",
        "constant": "constant",
        "step": f"× {of.decay_factor:g} at {', '.join(map(str, of.decay_at))}",
    }[of.schedule]
    said = [
        f"{of.steps} steps of {of.batch_size}",
        f"{kind} {of.lr:g}, {schedule}",
        f"warm-up {of.warmup}" if of.warmup else "",
        f"weight decay {of.weight_decay:g}" if of.weight_decay else "",
        f"label smoothing {of.label_smoothing:g}" if of.label_smoothing else "",
        f"gradients clipped to {of.clip:g}" if of.clip else "",
        f"pruning {of.prune_begin} to {of.prune_end} every {of.prune_every}",
        "bfloat16" if of.precision == "bfloat16" else "",
    ]
    return "; ".join(words for words in said if words)


if __name__ == "__main__":
    print(table())
