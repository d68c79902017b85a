"""The command `quickstudy`, which finds the subcommand and turns errors into messages and exit codes."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import textwrap
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Annotated, Any

from tyro.conf import arg

from quickstudy.cli.catalogue import catalogue
from quickstudy.cli.completion import COMMANDS
from quickstudy.cli.parsing import option_error, parsed
from quickstudy.cli.training import Train
from quickstudy.engine.launch import Launch, launch, prints
from quickstudy.errors import InputError, LaunchError, NonFiniteError, QuickstudyError, UsageError, unknown_name
from quickstudy.functional.names import for_terminal

EPILOGUE = """\
exit codes:
  0    success
  1    an error while running; one line on standard error says what to do (--debug shows the traceback)
  2    a mistake in the command line
  130  interrupted by Ctrl-C     } training saves a checkpoint first,
  143  ended by SIGTERM          } and the same command goes on from there

environment:
  QUICKSTUDY_DATA=DIR      where data sets lie
  QUICKSTUDY_OFFLINE=1     never download
  QUICKSTUDY_DEBUG=1       the same as --debug
  QUICKSTUDY_TIMEOUT=SEC   how long processes of one run wait for each other (300)
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if args is None else args)
    if args is None:
        _speak_plainly()
    debug = "--debug" in given or os.environ.get("QUICKSTUDY_DEBUG", "0") not in ("", "0")
    # Plots are drawn into files; a backend for windows would fail where there is no screen.
    backend = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "Agg"
    old = _exit_on_sigterm()
    try:
        launch()  # what the environment says of processes is wrong for every command
        return _run(_import([each for each in given if each != "--debug"]))
    except QuickstudyError as error:
        if debug:
            raise
        _complain(error)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        if debug:
            raise
        if prints():
            print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain again when it flushes at exit.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            raise
        what = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        _complain(QuickstudyError(f"the system refuses: {what}"))
        return 1
    finally:
        if old is not None:
            signal.signal(signal.SIGTERM, old)
        os.environ.pop("MPLBACKEND")
        os.environ.update({} if backend is None else {"MPLBACKEND": backend})


def _import(args: list[str]) -> list[str]:
    """Import the files that `--import` names, wherever it stands; return the other arguments."""
    rest: list[str] = []
    given = iter(args)
    for each in given:
        if each == "--":
            return [*rest, each, *given]
        option, equals, file = each.partition("=")
        if option != "--import":
            rest.append(each)
            continue
        file = file if equals else next(given, "")
        if not file:
            raise UsageError("--import needs a file")
        from quickstudy.plugins import import_file

        import_file(file)
    return rest


def _complain(error: QuickstudyError) -> None:
    """Print an error; one that all of several processes have, once."""
    started = Launch() if isinstance(error, LaunchError) else launch()
    if started.first or not isinstance(error, (NonFiniteError, UsageError)):
        where = f" (process {started.rank} of {started.size})" if started.size > 1 else ""
        print(f"error{where}: {for_terminal(str(error))}", file=sys.stderr)
        if isinstance(error, UsageError):
            print(error.hint, file=sys.stderr)


def _run(args: list[str]) -> int:
    if not args:
        print(overview(), file=sys.stderr)
        return 2
    name, *rest = args
    if name in ("-h", "--help", "help"):
        print(overview())
        return 0
    if name in ("-V", "--version"):
        import quickstudy

        print(f"quickstudy {quickstudy.__version__}")
        return 0
    if name not in COMMANDS:
        raise UsageError(str(unknown_name("option" if name.startswith("-") else "command", name, COMMANDS)))
    if name == "train":
        return _train(rest)
    return _called(parsed(COMMANDS[name], name, rest), name, rest)


def _called(command: Any, words: str, args: Sequence[str]) -> int:
    """Run a subcommand; what is wrong with an option that was given is a mistake in the command line."""
    try:
        return int(command())
    except InputError as error:
        raise option_error(error, type(command), args, words) from error


def _speak_plainly() -> None:
    """Let warnings and the traceback of a bug show names without obeying them."""

    def warn(message: Warning | str, *others: Any, **more: Any) -> None:
        print(f"warning: {for_terminal(str(message))}", file=sys.stderr)

    def trace(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        for part in traceback.format_exception(kind, error, where):
            for line in part.rstrip("\n").split("\n"):
                print(for_terminal(line), file=sys.stderr)

    warnings.showwarning, sys.excepthook = warn, trace


def _train(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        names = catalogue()
        print(
            _train_help(*({name: each.summary for name, each in names[kind].items()} for kind in ("method", "recipe")))
        )
        return 0 if args else 2
    from quickstudy.recipes.own_methods import asked

    given, *rest = args
    try:
        entry = asked(given)
    except InputError as error:
        raise UsageError(str(error), "train") from error
    name = entry.name
    cls: Any = entry.build
    # The same dataclass with this recipe's options in place of any recipe's.
    recipe = (Annotated[cls, arg(name="")], dataclasses.field(default_factory=cls))
    made = dataclasses.make_dataclass("Train", [("recipe", *recipe)], bases=(Train,))
    paper = f" ({entry.facts['paper']})" if entry.facts.get("paper") else ""
    description = f"{entry.summary}{paper} {Train.__doc__}"
    return _called(parsed(made, f"train {name}", rest, description), f"train {name}", rest)


def overview() -> str:
    """Return the help of the command as a whole."""
    lines = ["usage: quickstudy [-h] [--version] [--debug] COMMAND ...", ""]
    lines += ["Meta-learning in PyTorch: learn to learn from many small tasks.", "", "commands:"]
    lines += _entries({name: (command.__doc__ or "").partition("\n")[0] for name, command in COMMANDS.items()})
    lines += ["", "options:", "  -h, --help  this help; every command has its own: quickstudy train --help"]
    lines += ["  --version   the version", "  --debug     show the traceback of an error"]
    lines += ["  --import F  import a Python file that registers methods, nets or data of your own; may come again"]
    lines += ["", "examples:"]
    lines += ["  quickstudy demo", "  quickstudy train glyphs-protonet --steps 500"]
    lines += ["  quickstudy train protonet --data my_pictures/"]
    lines += ["  quickstudy evaluate runs/glyphs-protonet --ways 20", "  quickstudy report runs/glyphs-protonet"]
    lines += ["  quickstudy adapt runs/glyphs-protonet --support my_classes/ --query new_images/", "", EPILOGUE]
    return "\n".join(lines).rstrip()


def _train_help(methods: dict[str, str], recipes: dict[str, str]) -> str:
    lines = ["usage: quickstudy train METHOD --data PATH [OPTIONS] [--run-dir DIR] [--seeds N] [--no-resume]"]
    lines += ["       quickstudy train RECIPE [OPTIONS] [--run-dir DIR] [--seeds N] [--no-resume]", ""]
    lines += [f"{Train.__doc__}", "", "methods, for classes of your own in a folder, an archive or a table:"]
    lines += [*_entries(methods), "", "recipes:", *_entries(recipes), ""]
    return "\n".join([*lines, "Options differ between them: quickstudy train METHOD --help"])


def _entries(summaries: dict[str, str]) -> list[str]:
    """Return names with what they are, in lines of at most 100 columns."""
    room = max(map(len, summaries), default=0) + 4
    style: dict[str, Any] = {"width": 100, "subsequent_indent": " " * room, "break_on_hyphens": False}
    return [textwrap.fill(f"  {name:<{room - 2}}{what}", **style) for name, what in summaries.items()]


def _exit_on_sigterm() -> Any:
    """Let SIGTERM unwind the stack, so that files being written are cleaned up; return the handler there was."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(143)

    try:
        return signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread
        return None


if __name__ == "__main__":
    sys.exit(main())
