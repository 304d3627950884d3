"""The store at an address: a folder, or a place in an object store."""

from __future__ import annotations

from ..errors import InputError
from .remote import RemoteStore
from .store import Store


def open_store(address: str) -> Store:
    """The store in a folder, or in an object store by its URL (``s3://…``)."""
    if "://" in address:
        return RemoteStore(address)
    return Store(address)


def existing_store(address: str) -> Store:
    """The store, to be read.

    Raises:
        InputError: there is no such folder.
    """
    store = open_store(address)
    if store.address == str(store.root) and not store.root.is_dir():
        raise InputError(f"There is no store {address!r}.")
    return store
