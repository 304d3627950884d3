"""Functions in a user's own files, as the command line names them: ``my_file.py:make_problem``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import itertools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from .errors import InputError

Made = TypeVar("Made")


def is_file(word: str) -> bool:
    """Whether a word names a function in a file, and not something in a table.

    >>> is_file("my_file.py:make_problem"), is_file("my_file.py"), is_file("rigl")
    (True, True, False)
    """
    return ":" in word or word.endswith(".py")


@dataclass(frozen=True)
class FileFunction:
    """A function in a file that makes something: a problem, or a sparsifier.

    Args:
        path: the file, which is there.
        name: the function.
        takes: the names of the arguments that it is called with.
    """

    path: Path
    name: str
    takes: tuple[str, ...] = ()

    @classmethod
    def named(cls, word: str, example: str, takes: tuple[str, ...] = ()) -> FileFunction:
        """From a word on the command line.

        Args:
            example: a word that would do, for the sentence about one that does not.

        Raises:
            InputError: it names no function, or there is no such file.
        """
        file, _, name = word.rpartition(":")
        if not file or not name:
            raise InputError(f"{word!r} does not name a function: write {example}.")
        path = Path(file)
        if not path.is_file():
            raise InputError(f"There is no file {file!r}.")
        return cls(path, name, takes)

    @property
    def absolute(self) -> str:
        """The word for it in any folder."""
        return f"{self.path.absolute()}:{self.name}"

    @property
    def source(self) -> str:
        """What changes whenever the file does."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def make(self, kind: type[Made], *arguments: Any) -> Made:
        """What the function returns.

        Args:
            kind: what that is to be; a public class of this package.

        Raises:
            InputError: the file cannot be imported or has no such function, or the function takes
                other arguments, fails, or returns something else.
        """
        make = self._function()
        self._check(make, kind, arguments)
        try:
            made = make(*arguments)
        except (Exception, SystemExit) as error:  # what a user's function raises is for the user
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{self.name} in {self.path} fails: {reason}") from error
        if not isinstance(made, kind):
            raise InputError(
                f"{self.name} in {self.path} made a {type(made).__name__}, not an "
                f"ss.{kind.__name__}."
            )
        return made

    def _function(self) -> Callable[..., Any]:
        make = getattr(self._module(), self.name, None)
        if not callable(make):
            raise InputError(f"{self.path} has no function named {self.name!r}.")
        return make

    def _module(self) -> ModuleType:
        # A name of its own each time, by which pickle finds the classes of this very import; with
        # a dot in it, it would be that of a module in a package.
        name = f"sparsescape_user_{self.path.stem.replace('.', '_')}_{next(_NUMBERS)}"
        _UserFiles.known[name] = self.path.absolute()
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:  # likewise, of a file
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{self.path} cannot be imported: {reason}") from error

    def _check(self, make: Callable[..., Any], kind: type[Any], arguments: tuple[Any, ...]) -> None:
        """Before it is called, so that a TypeError in it is its own."""
        if isinstance(make, type) and issubclass(make, kind):
            raise InputError(
                f"{self.name} in {self.path} is the class of an ss.{kind.__name__}: name a "
                "function that makes one."
            )
        try:
            inspect.signature(make).bind(*arguments)
        except TypeError:
            wanted = f"def {self.name}({', '.join(self.takes)})"
            raise InputError(
                f"{self.name} in {self.path} takes other arguments: write {wanted}."
            ) from None
        except ValueError:  # what is written in C need not have a signature
            pass


_NUMBERS = itertools.count()


class _UserFiles:
    """Finds the modules that users' files are imported as."""

    known: ClassVar[dict[str, Path]] = {}

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        file = cls.known.get(name)
        return None if file is None else importlib.util.spec_from_file_location(name, file)


sys.meta_path.append(_UserFiles)


class Imported:
    """Where the user's files are: another process that unpickles it finds them, too.

    What is pickled after it can then be of classes in those files.
    """

    def __reduce__(self) -> Any:
        return _known_too, (dict(_UserFiles.known),)


def _known_too(files: Mapping[str, Path]) -> Imported:
    _UserFiles.known.update(files)
    return Imported()
