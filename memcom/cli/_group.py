"""The group that holds all commands: how they show errors, and the options that each has."""

from __future__ import annotations

import dis
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from memcom import __version__
from memcom._check import did_you_mean
from memcom._extras import MissingExtra, extra_of
from memcom._files import plain

_PATHS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
_RAISE = dis.opmap["RAISE_VARARGS"]
_OURS = ("memcom", "benchmarks", "experiments")


class Commands(click.Group):
    """A group whose commands have ``-q`` and ``-v``."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if not isinstance(cmd, click.Group):
            cmd.params += [
                _shared("-q", "--quiet", help="No progress bar and no notes."),
                _shared("-v", "--verbose", help="Show where an error arose."),
            ]
        super().add_command(cmd, name)


class _Main(Commands):
    """The command itself; it shows errors in words and turns them into exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if isinstance(error, ModuleNotFoundError):
                words = _missing(error)
            else:
                words = " ".join(str(error).split()) if _is_meant_for_users(error) else ""
            if not words:
                click.echo(
                    "This is a fault of memcom; please report it with what follows.", err=True
                )
                raise
            if ctx.meta.get("memcom.verbose"):
                traceback.print_exc()
            if isinstance(error, (ValueError, *_PATHS)):
                raise click.UsageError(words) from error
            raise click.ClickException(words) from error


def _shared(*names: str, help: str) -> click.Option:
    """An option of every command, kept in the context: the command itself never sees it."""

    def keep(ctx: click.Context, option: click.Parameter, value: bool) -> None:
        ctx.meta[f"memcom.{option.name}"] = value

    return click.Option(names, is_flag=True, expose_value=False, callback=keep, help=help)


def _missing(error: ModuleNotFoundError) -> str:
    """The remedy for a module that is not there; empty for one of ours."""
    if isinstance(error, MissingExtra):
        return str(error)
    if error.name is None or error.name.partition(".")[0] == "memcom":
        return ""
    extra = extra_of(error.name)
    remedy = f"pip install 'memcom-kit[{extra}]'" if extra else "see `memcom doctor`"
    return f"{error.name} is not installed: {remedy}"


def _is_meant_for_users(error: Exception) -> bool:
    """Tell errors in our words, or the system's about a file, from faults deeper down.

    Ours are raised by a statement ``raise`` in one of our modules.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return True
    if not isinstance(error, (ValueError, OSError, RuntimeError)):
        return False
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is None:
        return False
    module = str(at.tb_frame.f_globals.get("__name__")).partition(".")[0]
    return module in _OURS and at.tb_frame.f_code.co_code[at.tb_lasti] == _RAISE


def note(text: str) -> None:
    """Print a line beside the results, unless ``-q`` is given."""
    if not click.get_current_context().meta.get("memcom.quiet"):
        click.echo(text, err=True)


def wants_progress() -> bool:
    """Tell if progress bars are to be shown: on a terminal, without ``-q``."""
    return sys.stderr.isatty() and not click.get_current_context().meta.get("memcom.quiet")


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def show(value: Any) -> None:
    """Print a value as JSON, with null for what is no number."""
    click.echo(json.dumps(plain(value), indent=1, allow_nan=False, default=str))


def separated(ctx: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Split "a,b(c=1,d=2)" at the commas outside brackets; "none" is an empty list."""
    if value is None or value == "none":
        return None if value is None else []
    parts, depth = [""], 0
    for letter in value:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth or not all(part.strip() for part in parts):
        raise click.BadParameter(f"expected a list separated by commas, got {value!r}")
    return [part.strip() for part in parts]


def separated_as(kind: Callable[[str], Any], noun: str) -> Callable[..., Any]:
    """Return a callback that splits at commas and reads each part."""

    def read(ctx: click.Context, option: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            return [kind(part) for part in value.split(",")]
        except ValueError as error:
            message = f"expected {noun} separated by commas, got {value!r}"
            raise click.BadParameter(message) from error

    return read


def known_method(ctx: click.Context, option: click.Parameter, spec: str) -> str:
    """Refuse a method, options allowed, whose name no compressor has."""
    from memcom import available

    name = spec.partition("(")[0].strip()
    if name not in available():
        hint = did_you_mean(name, available()) or "; `memcom methods` lists them"
        raise click.BadParameter(f"no compressor is called {name!r}{hint}")
    return spec


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="memcom")
def main() -> None:
    """Learn, build and measure compressed embedding tables.

    Exit codes: 0, all went well; 1, something failed; 2, what was typed makes no sense.
    """
