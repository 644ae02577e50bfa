"""The command ``fruits``."""

from fruits.cli.commands import main

__all__ = ["main"]
