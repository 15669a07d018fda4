"""Print a script for tab completion of commands, options and paths.

In ~/.bashrc:              eval "$(ginseng completion bash)"
In ~/.zshrc:               eval "$(ginseng completion zsh)"
In ~/.config/fish/config.fish:  ginseng completion fish | source
"""

from __future__ import annotations

import argparse

from ginseng.cli._outputs import Outcome

HELP = "print a script for tab completion"
EXAMPLES = """  eval "$(ginseng completion bash)"
  ginseng completion fish > ~/.config/fish/completions/ginseng.fish"""

SHELLS = ("bash", "zsh", "fish")
#: Metavars of arguments that are paths.
_PATHS = {"DATA", "MODEL", "PATH", "INPUT", "OUTPUT"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" | ".join(SHELLS))


def run(args: argparse.Namespace) -> Outcome:
    """Write a completion script."""
    import shtab

    commands = next(action for action in args.root._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        for action in command._actions:
            if action.metavar in _PATHS:
                action.complete = shtab.FILE
            elif action.metavar == "FOLDER":
                action.complete = shtab.DIRECTORY
    script = shtab.complete(args.root, args.shell)
    return Outcome(script, {"shell": args.shell, "script": script})
