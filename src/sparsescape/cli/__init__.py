"""The command line: one function per command, whose signature is its flags."""

from .commands import COMMANDS
from .program import main
from .studies import STUDIES

__all__ = ["COMMANDS", "STUDIES", "main"]
