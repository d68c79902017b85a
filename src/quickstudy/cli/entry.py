"""The command `quickstudy`, which finds the subcommand and turns errors into messages and exit codes."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Annotated, Any

import tyro
from tyro.conf import arg

from quickstudy.cli.completion import COMMANDS
from quickstudy.cli.training import Train
from quickstudy.engine.launch import Launch, launch, prints
from quickstudy.errors import LaunchError, NonFiniteError, QuickstudyError, UsageError, unknown_name

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
    debug = "--debug" in given or os.environ.get("QUICKSTUDY_DEBUG", "0") not in ("", "0")
    # Plots are drawn into files; a backend for windows would fail where there is no screen.
    backend = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "Agg"
    old = _exit_on_sigterm()
    try:
        launch()  # what the environment says of processes is wrong for every command
        return _run([each for each in given if each != "--debug"])
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
    finally:
        if old is not None:
            signal.signal(signal.SIGTERM, old)
        os.environ.pop("MPLBACKEND")
        os.environ.update({} if backend is None else {"MPLBACKEND": backend})


def _complain(error: QuickstudyError) -> None:
    """Print an error; one that all of several processes have, once."""
    started = Launch() if isinstance(error, LaunchError) else launch()
    if started.first or not isinstance(error, (NonFiniteError, UsageError)):
        where = f" (process {started.rank} of {started.size})" if started.size > 1 else ""
        print(f"error{where}: {error}", file=sys.stderr)


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
    command = tyro.cli(COMMANDS[name], prog=f"quickstudy {name}", args=rest)
    return int(command())


def _train(args: list[str]) -> int:
    from quickstudy.registry import table

    recipes = table("recipe")
    if not args or args[0] in ("-h", "--help"):
        print(_train_help({name: entry.summary for name, entry in recipes.items()}))
        return 0 if args else 2
    name, *rest = args
    if name not in recipes:
        raise UsageError(str(unknown_name("recipe", name, recipes)), "train")
    cls: Any = recipes[name].build
    # The same dataclass with this recipe's options in place of any recipe's.
    recipe = (Annotated[cls, arg(name="")], dataclasses.field(default_factory=cls))
    made = dataclasses.make_dataclass("Train", [("recipe", *recipe)], bases=(Train,))
    paper = f" ({recipes[name].facts['paper']})" if "paper" in recipes[name].facts else ""
    description = f"{recipes[name].summary}{paper} {Train.__doc__}"
    command: Any = tyro.cli(made, prog=f"quickstudy train {name}", description=description, args=rest)
    return int(command())


def overview() -> str:
    """Return the help of the command as a whole."""
    lines = ["usage: quickstudy [-h] [--version] [--debug] COMMAND ...", ""]
    lines += ["Meta-learning in PyTorch: learn to learn from many small tasks.", "", "commands:"]
    lines += [f"  {name:<12}{(command.__doc__ or '').partition(chr(10))[0]}" for name, command in COMMANDS.items()]
    lines += ["", "options:", "  -h, --help  this help; every command has its own: quickstudy train --help"]
    lines += ["  --version   the version", "  --debug     show the traceback of an error", "", "examples:"]
    lines += ["  quickstudy demo", "  quickstudy train glyphs-protonet --steps 500"]
    lines += ["  quickstudy evaluate runs/glyphs-protonet --ways 20", "  quickstudy report runs/glyphs-protonet"]
    lines += ["  quickstudy adapt runs/glyphs-protonet --support my_classes/ --query new_images/", "", EPILOGUE]
    return "\n".join(lines).rstrip()


def _train_help(recipes: dict[str, str]) -> str:
    width = max(map(len, recipes)) + 2
    lines = ["usage: quickstudy train RECIPE [OPTIONS] [--run-dir DIR] [--no-resume]", "", f"{Train.__doc__}", ""]
    lines += ["recipes:", *(f"  {name:<{width}}{summary}" for name, summary in recipes.items()), ""]
    return "\n".join([*lines, "Options differ between recipes: quickstudy train RECIPE --help"])


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
