"""What the commands do, one file each. `cli` parses and calls; nothing here knows of command-line syntax."""

from transferscope.commands.run import run_study
from transferscope.commands.templates import embedded_study

__all__ = ["embedded_study", "run_study"]
