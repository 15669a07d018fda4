"""Messages of the package, translated into the words of the shell.

Messages give parameters, calls and places in AnnData as Python code between backticks. Here, each such span is parsed
and translated by the rows of :mod:`ginseng.cli._options` and the commands themselves: `layer='counts'` becomes
`--layer counts`, `gs.tl.train(adata, label_key)` becomes `ginseng train DATA --labels COLUMN`, and `adata.obs['x']`
becomes obs/x. Code without a counterpart is left out, with the colon, comma or bracket that introduces it. A message
must therefore say in words what to do, before the code. Lines of code at the end become a command that runs them.
"""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import re
import shlex
from collections.abc import Iterable
from typing import Any

from ginseng.cli._options import OPTIONS

_SPAN = re.compile(r"`([^`]+)`")
#: How Python code starts; anything else, such as `gunzip`, is a command or a name within a file.
_ROOTS = {"adata", "ginseng", "gs", "sc", "scanpy", "anndata", "ad", "mudata", "np", "pd", "GinsengDataset"}
#: Commands of the shell.
_COMMANDS = ("python -c ", "Rscript -e ", "ginseng ", "pip ")
_NAMES = {"obs_names": "the index of obs", "var_names": "the index of var"}
#: Text before code that is left out, which goes with it.
_BEFORE = re.compile(r"(?:\s*[:,(]|\s+(?:with|by|as by|as|in))?\s*$")
#: Lines of code at the end, and their language.
_LINES = re.compile(r"(?: in (Python|R))?:((?:\n    .*)+)$")
_BETWEEN = re.compile(r"\s*(?:;|,|and|then|, then|or)*\s*")


class Unsayable(Exception):  # noqa: N818 - not an error
    """The code has no counterpart on the command line."""


class Words:
    """Translates Python in messages into the commands of one parser.

    Parameters
    ----------
    commands
        Parser and verbs of each command, by name.
    """

    def __init__(self, commands: dict[str, tuple[argparse.ArgumentParser, Iterable[str]]]) -> None:
        self.parsers = {name: parser for name, (parser, _) in commands.items()}
        self.verbs = {verb: name for name, (_, verbs) in commands.items() for verb in verbs}

    def say(self, message: str) -> str:
        """Return a message without Python, as one line."""
        return self.line(" ".join(_LINES.sub(_one_command, message).split()))

    def line(self, message: str) -> str:
        """Return a line without Python, with its blanks unchanged."""
        said, end, dropped = "", 0, False
        for span in _SPAN.finditer(message):
            between = message[end : span.start()]
            try:
                words = self._span(span[1])
            except Unsayable:
                if not (dropped and _BETWEEN.fullmatch(between)):
                    said += between
                bracket = said.rstrip().endswith("(")
                said, end, dropped = _BEFORE.sub("", said), span.end(), True
                if bracket and message[end : end + 1] == ")":
                    end += 1
                continue
            if dropped and _BETWEEN.fullmatch(between):
                between = " "
            said, end, dropped = said + between + words, span.end(), False
        return said + message[end:]

    def code(self, code: str) -> str:
        """Return a call as a command.

        Raises
        ------
        Unsayable
            If there is no such command.
        """
        return self._span(code).strip("`")

    def _span(self, code: str) -> str:
        if code.startswith(_COMMANDS):
            return f"`{code}`"
        name = code.removesuffix("=...").removesuffix("=")
        if name in OPTIONS:
            return OPTIONS[name][0][-1]
        if name in _settings():
            return f"--set {name}" if code != name else name
        if name in self.verbs:
            return f"`ginseng {self.verbs[name]}`"
        if name != code and name.isidentifier():
            return name
        if code.startswith("."):
            code = f"adata{code}"
        try:
            arguments = ast.parse(f"f({code})", mode="eval").body
            if isinstance(arguments, ast.Call) and arguments.keywords and not arguments.args:
                return " ".join(self._keyword(keyword) for keyword in arguments.keywords)
            tree = ast.parse(code, mode="eval").body
        except SyntaxError:
            return self._statement(code)
        if isinstance(tree, ast.Call):
            return f"`{self._call(tree)}`"
        if isinstance(tree, ast.Name) and tree.id != "adata":
            return code
        if verb := self._verb(code):
            return f"`ginseng {self.verbs[verb]}`"
        return self._place(tree, code)

    def _verb(self, code: str) -> str | None:
        """Return the verb that the code names, if it has a command."""
        names = (code, code.removeprefix("gs."), code.removeprefix("ginseng."))
        return next((name for name in names if name in self.verbs), None)

    @staticmethod
    def _statement(code: str) -> str:
        try:
            ast.parse(code)
        except SyntaxError:
            return f"`{code}`"  # a command, such as `pip install`
        raise Unsayable

    @staticmethod
    def _place(tree: ast.expr, code: str) -> str:
        """Return a place in an AnnData as the path within its file: obs/cell_type."""
        path: list[str] = []
        while not isinstance(tree, ast.Name):
            if isinstance(tree, ast.Attribute):
                path.append(tree.attr)
                tree = tree.value
            elif isinstance(tree, ast.Subscript) and isinstance(tree.slice, ast.Constant):
                path.append(str(tree.slice.value))
                tree = tree.value
            else:
                break
        if not isinstance(tree, ast.Name):
            if code.startswith(tuple(f"{root}." for root in _ROOTS)):
                raise Unsayable
            return code if "/" in code else f"`{code}`"
        path.append(tree.id)
        path.reverse()
        if path[0] == "adata":
            return "/".join(_NAMES.get(part, part) for part in path[1:]) or "the data"
        if path[0] in _ROOTS:
            raise Unsayable
        return "/".join(path) if "[" in code else f"`{code}`"

    def _call(self, call: ast.Call) -> str:
        """Return a call of a verb as its command, with all required arguments."""
        verb = self._verb(ast.unparse(call.func))
        if verb is None:
            raise Unsayable
        name, signature = self.verbs[verb], _signature(verb)
        given = dict(zip(signature, (a for a in call.args if not _is_ellipsis(a)), strict=False))
        given |= {str(keyword.arg): keyword.value for keyword in call.keywords}
        for parameter, how in signature.items():  # show required parameters
            if how.default is how.empty and parameter in OPTIONS:
                given.setdefault(parameter, ast.Constant(...))
        cells = "adata" if "adata" in signature else "path"
        places = {"data": cells, "inputs": cells, "model": "path", "output": "path" if cells == "adata" else ""}
        said = ["ginseng", name]
        for action in self.parsers[name]._actions:
            if not action.option_strings:
                said.append(_value(given.get(places.get(action.dest, ""), ast.Constant(...)), str(action.metavar)))
        said += [self._keyword(ast.keyword(p, v)) for p, v in given.items() if p in OPTIONS or p == "model"
                 if not (p == "model" and name == "info")]  # fmt: skip
        known = {*given, "help"}
        groups = self.parsers[name]._mutually_exclusive_groups
        needed = [action for action in self.parsers[name]._actions if action.required and action.option_strings]
        needed += [group._group_actions[0] for group in groups if group.required]
        said += [f"{a.option_strings[-1]} {a.metavar}" for a in needed if a.dest not in known]
        return " ".join(said)

    def _keyword(self, keyword: ast.keyword) -> str:
        parameter, value = str(keyword.arg), keyword.value
        if parameter == "model":
            return f"--model {_value(value, 'MODEL')}"
        if parameter not in OPTIONS:
            if parameter in _settings():
                return f"--set {parameter}={_value(value, 'VALUE')}"
            raise Unsayable
        flags, how = OPTIONS[parameter]
        constant = value.value if isinstance(value, ast.Constant) else None
        if how.get("action") is argparse.BooleanOptionalAction and constant is False:
            return f"--no-{flags[-1].removeprefix('--')}"
        if "action" in how:
            return flags[-1]
        return f"{flags[-1]} {_value(value, str(how.get('metavar', 'VALUE')))}".rstrip()


def _one_command(found: re.Match[str]) -> str:
    """Return lines of code as a shell command, without those that read the result in Python."""
    lines = [re.sub(r"\s+# .*", "", line).strip() for line in found[2].strip().split("\n")]
    lines = [line for line in lines if not line.startswith("ginseng.")]
    if found[1] is None:
        return f": `{'; '.join(lines)}`"
    if lines[-1].startswith("adata = "):
        lines.append("adata.write_h5ad('cells.h5ad')")
    code = "; ".join(lines)
    quoted = shlex.quote(code) if set(code) & set('"$\\!') else f'"{code}"'
    return f": `{'python -c' if found[1] == 'Python' else 'Rscript -e'} {quoted}`"


def _value(value: ast.expr, metavar: str) -> str:
    if isinstance(value, ast.Tuple | ast.List):
        return " ".join(_value(item, metavar) for item in value.elts)
    if not isinstance(value, ast.Constant) or _is_ellipsis(value):
        return metavar
    return "none" if value.value is None else shlex.quote(str(value.value))


@functools.cache
def _settings() -> frozenset[str]:
    """Return the names that `--set` takes; called only when a message is shown, since it loads JAX."""
    import dataclasses

    from ginseng.train.settings import GinsengClassifierTrainerSettings

    return frozenset(field.name for field in dataclasses.fields(GinsengClassifierTrainerSettings))


def _is_ellipsis(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is ...


def _signature(verb: str) -> dict[str, inspect.Parameter]:
    import ginseng as gs

    found: Any = gs
    for part in (f"data.{verb}" if verb.startswith("GinsengDataset") else verb).split("."):
        found = getattr(found, part)
    return dict(inspect.signature(found).parameters)
