"""`%kaleyard` in a notebook: the command line's verbs and its parser, with rich output where there is a notebook."""

from __future__ import annotations

import shlex
from typing import Any

import click

from kaleyard.cli import cli
from kaleyard.cli.argument_types import NOTEBOOK
from kaleyard.cli.screen import Screen
from kaleyard.errors import KaleyardError
from kaleyard.jupyter.current_notebook import this_notebook
from kaleyard.jupyter.include import HELP, CellFailedError, include
from kaleyard.notebook.composition import include_of, is_include

__all__ = ["VerbError", "kaleyard_magic", "load", "unload"]

_NAME = "kaleyard"
_PROGRAM = f"%{_NAME}"
_MEANINGS = {
    1: "a step, cell or test failed",
    2: "wrong use",
    3: "there are findings, or stale components",
    4: "something outside is missing or refuses",
}


class VerbError(Exception):
    """What a verb ended with: it makes the cell fail, so that "Run All" stops, and shows its message alone."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of a traceback: the message, and which included notebook it comes from."""
        return ["\n".join([str(self), *getattr(self, "__notes__", ())])]


def load(shell: Any) -> None:
    """Make `%kaleyard` known to an IPython shell."""
    from IPython.core.magic import no_var_expand

    def magic(line: str) -> None:
        __tracebackhide__ = True
        # What `include` is told is read without a kernel too: it means what is written.
        if not is_include(_NAME, line):
            line = shell.var_expand(line, 2)  # IPython's own frame, then the user's code
        kaleyard_magic(line, shell)

    shell.register_magic_function(no_var_expand(magic), magic_kind="line", magic_name=_NAME)


def unload(shell: Any) -> None:
    """Take `%kaleyard` away again."""
    shell.magics_manager.magics["line"].pop(_NAME, None)


def kaleyard_magic(line: str, shell: Any) -> None:
    """Do what `kaleyard LINE` does. Raises VerbError where the command would exit with another code than 0.

    A verb that takes notebooks and is told none takes the one it stands in, where that is known. `include` is the one
    verb that the command line does not have; what a cell of the included notebook raises, it raises as it is.
    """
    __tracebackhide__ = True
    try:
        _do(line, shell)
    except CellFailedError as failed:
        raised = failed.error
    else:
        return
    raise raised


def _do(line: str, shell: Any) -> None:
    try:
        if is_include(_NAME, line):
            _include(line, shell)
        else:
            _call(shlex.split(line), shell)
    except KeyboardInterrupt:
        raise VerbError("interrupted: what was under way was stopped") from None
    except click.UsageError as error:
        usage = f"{error.ctx.get_usage()}\n" if error.ctx else ""
        raise VerbError(f"{usage}error: {error.format_message()}") from None
    except click.ClickException as error:
        raise VerbError(f"error: {error.format_message()}") from None
    except (KaleyardError, ValueError) as error:  # ValueError: shlex, of a quote that is not closed
        raise VerbError(f"error: {error}") from None
    except (SystemExit, click.exceptions.Exit) as end:
        code = end.code if isinstance(end, SystemExit) else end.exit_code
        if code:
            meaning = _MEANINGS.get(code, "") if isinstance(code, int) else str(code)
            raise VerbError(f"error: {meaning or f'exit code {code}'}") from None


def _include(line: str, shell: Any) -> None:
    if {"-h", "--help"} & set(line.split()):
        click.echo(HELP, nl=False)
        return
    told = include_of(_NAME, line)
    assert told is not None
    include(told, shell)


def _call(arguments: list[str], shell: Any) -> None:
    if not arguments or arguments[0].startswith("-"):
        cli.main(arguments or ["--help"], prog_name=_PROGRAM, standalone_mode=False)
        return
    context = click.Context(cli, info_name=_PROGRAM, obj=_screen(shell), **cli.context_settings)
    _, command, rest = cli.resolve_command(context, arguments)
    assert command is not None
    here = this_notebook(shell)
    taken = [p for p in command.params if isinstance(p, click.Argument) and p.type is NOTEBOOK and p.name]
    defaults = {p.name: str(here) for p in taken if here and p.nargs == 1}
    with command.make_context(arguments[0], rest, parent=context, default_map=defaults) as inner:
        for name in (p.name for p in taken if here and p.nargs != 1):
            inner.params[str(name)] = inner.params[str(name)] or (here,)
        command.invoke(inner)


def _screen(shell: Any) -> Screen:
    """A notebook's output if a kernel runs the shell, else the terminal."""
    if getattr(shell, "kernel", None) is None:
        return Screen()
    from kaleyard.jupyter.notebook_screen import NotebookScreen

    return NotebookScreen(this_notebook(shell))
