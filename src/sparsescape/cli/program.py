"""The program: finds the function of a command and says what went wrong in one sentence."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

import tyro

from ..errors import InputError, StageError, unknown
from .commands import COMMANDS
from .computing import is_first
from .studies import STUDIES

_STUDY_HELP = "study {" + ",".join(STUDIES) + "}: run one of the studies, with all its stages"


def main(arguments: Sequence[str] | None = None) -> int:
    """The program: 0 where all went well, 2 for input that cannot be used, 1 for a failure."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _dispatch(words)
        sys.stdout.flush()
    except InputError as error:
        if is_first():
            print(f"sparsescape: {error}", file=sys.stderr)
        return 2
    except StageError as error:
        print(f"sparsescape: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sparsescape: stopped; run it again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's end says it
        return 128 + signal.SIGPIPE
    return 0


def _dispatch(words: list[str]) -> None:
    """Find the function of a command and call it with its flags."""
    if words[:1] == ["study"]:
        _call("sparsescape study", STUDIES, words[1:], "Run a study.", "study")
    else:
        about = f"Train sparse networks, and see why they are stuck.\n\n{_STUDY_HELP}"
        _call("sparsescape", COMMANDS, words, about, "command")


def _call(
    prog: str, commands: dict[str, Callable[..., None]], words: list[str], about: str, kind: str
) -> None:
    if words and words[0] in commands:  # alone: what is said of a flag is then of this command
        tyro.cli(commands[words[0]], prog=f"{prog} {words[0]}", args=words[1:])
        return
    names = sorted([*commands, *(["study"] if commands is COMMANDS else [])])
    if not words:
        raise InputError(f"Which {kind}? There are: {', '.join(names)}.")
    if not words[0].startswith("-"):
        raise unknown(kind, words[0], names)
    tyro.extras.subcommand_cli_from_dict(commands, prog=prog, description=about, args=words)
