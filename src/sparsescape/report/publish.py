"""A study's folder: results.json, report.html, figures, and when and where it was computed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..studies.graph import Stage, with_inputs
from ..studies.store import Store, read_json, write_json
from . import page


def publish(results: dict[str, Any], stages: Iterable[Stage], store: Store) -> Path:
    """Write the folder of a study, whole or not at all; an equal one is left as it is.

    Returns:
        The folder: ``results.json`` is the same bytes for the same results;
        ``provenance.json`` has times and machines.
    """
    decided = results["settings"] | {"problem": results["problem"]} | _sources(results)
    settings = json.dumps(decided, sort_keys=True)
    name = f"{results['study']}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"
    with store.lock(name):  # others may be at the end of the same study
        folder = _published(name, results, stages, store)
    store.forget_lock(name)
    return folder


def _sources(results: dict[str, Any]) -> dict[str, Any]:
    """What the files of methods of one's own hold: another file is another study."""
    own = {m["name"]: m["source"] for m in results.get("methods", ()) if "source" in m}
    return {"sources": own} if own else {}


def _published(name: str, results: dict[str, Any], stages: Iterable[Stage], store: Store) -> Path:
    folder, old = store.root / name, store.root / f"{name}.old"
    shutil.rmtree(store.partial(name))  # of an earlier attempt
    fresh = store.partial(name)
    write_json(fresh / "results.json", results)
    if _same(fresh, folder):
        shutil.rmtree(fresh)
        return folder
    page.write(read_json(fresh / "results.json"), fresh)
    write_json(fresh / "provenance.json", _provenance(stages, store))
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(fresh, folder)
    store.keep(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def _same(fresh: Path, folder: Path) -> bool:
    old = folder / "results.json"
    return old.is_file() and old.read_bytes() == (fresh / "results.json").read_bytes()


def _provenance(stages: Iterable[Stage], store: Store) -> dict[str, Any]:
    parts = {s.key: store.provenance(s.key) for s in with_inputs(stages)}
    return {
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "stage_seconds": sum(part["seconds"] for part in parts.values()),
        "stages": parts,
    }
