"""Lists all commands, experiments and studies, or runs one of them.

    python -m ssl_jax                                  # the lists
    python -m ssl_jax embed RUN a.txt --output a.npz   # the same as python -m ssl_jax.embed RUN ...
    python -m ssl_jax bert tiny --steps 100            # the same as python -m experiments.bert tiny ...

Where the package is installed with pip, the command `ssl_jax` is the same as `python -m ssl_jax`.
"""

import difflib
import runpy
import sys

from ssl_jax.errors import UserError
from ssl_jax.guard import guarded
from ssl_jax.runs.listing import experiment_names, list_commands, list_experiments

COMMANDS = (
    "check",
    "prepare",
    "plan",
    "replay",
    "report",
    "generate",
    "linear_eval",
    "few_shot",
    "predict",
    "embed",
    "export",
    "convert",
)


def main() -> int:
    """Prints the lists. Returns the exit code."""
    print("\n".join(list_commands("ssl_jax", COMMANDS)), flush=True)
    print()
    print("\n".join(list_experiments(experiment_names())))
    print(
        "\npython -m ssl_jax.COMMAND and python -m experiments.NAME [PRESET] run them; --help explains their options."
    )
    return 0


def find_module(name: str) -> str:
    """The module of a command, an experiment or a study.

    Raises:
      UserError: there is none of this name; the closest one is told.
    """
    modules = {command: f"ssl_jax.{command}" for command in COMMANDS}
    modules |= {full.rpartition(".")[2]: full for full in experiment_names()}
    if name not in modules:
        close = difflib.get_close_matches(name, modules, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UserError(
            f"{name}: no command or experiment has this name.{hint} `python -m ssl_jax` lists them."
        )
    return modules[name]


def command() -> None:
    """Does what the command line asks for, and exits."""
    if len(sys.argv) == 1:
        sys.exit(guarded(main))
    found: list[str] = []

    def find() -> int:
        found.append(find_module(sys.argv[1]))
        return 0

    if code := guarded(find):
        sys.exit(code)
    del sys.argv[1]
    runpy.run_module(found[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    command()
