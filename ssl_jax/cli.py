"""The command line of every experiment.

python -m experiments.NAME [PRESET] [--section.field VALUE ...] [--workdir DIR] [--init_from RUN|WEIGHTS]
"""

import dataclasses
import difflib
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, NoReturn

import tyro
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import run_settings
from ssl_jax.training import distributed, loop
from ssl_jax.training.experiment import Experiment

Config = Any
Presets = Mapping[str, Config]
Build = Callable[[Config], Experiment]


class Invocation(NamedTuple):
    """What a command line asks for."""

    preset: str
    config: Config
    workdir: epath.Path
    init_from: str | None
    hosts: str


def guarded(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit code: 2, after one paragraph and no traceback, on a user's mistake.

    Libraries are kept from talking about themselves; errors still come through.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs every error that it also raises
    logging.getLogger("jax").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    try:
        return command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2


def choose_preset(arguments: list[str], presets: Presets) -> tuple[str, list[str]]:
    """(preset, the other arguments). The first preset is the default. UserError names the closest one."""
    if not arguments or arguments[0].startswith("-"):
        return next(iter(presets)), arguments
    name = arguments[0]
    if name not in presets:
        close = difflib.get_close_matches(name, presets, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UserError(f"unknown preset {name!r}.{hint} There are: {', '.join(presets)}.")
    return name, arguments[1:]


def parse(arguments: list[str], presets: Presets, module: str, document: str = "") -> Invocation:
    """Reads a command line. Exits with code 2 and a suggestion if a field is unknown, or 0 after --help."""
    preset, rest = choose_preset(arguments, presets)
    config_type = type(presets[preset])
    short = module.rsplit(".", 1)[-1]

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        config: Annotated[config_type, tyro.conf.arg(name="")]
        workdir: str = f"runs/{short}-{preset}"
        """The run folder, local or gs://. The same command again continues it."""
        init_from: str | None = None
        """Start from the weights of RUN, RUN@STEP or imported files; see README.md."""
        hosts: str = "auto"
        """auto joins the other workers of a TPU pod or a Slurm job; or HOST:PORT,ID,COUNT."""

    listing = "\n".join(f"  {name}{'  (default)' if name == next(iter(presets)) else ''}" for name in presets)
    chosen = tyro.cli(
        Arguments,
        args=rest,
        default=Arguments(config=presets[preset]),
        prog=f"python -m {module} [PRESET]",
        description=f"{document}\n\nPresets:\n{listing}\n\nBelow, the fields of preset {preset} and their values.",
        config=(tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands),
        use_underscores=True,
    )
    workdir = epath.Path(chosen.workdir).expanduser()
    return Invocation(preset, chosen.config, workdir, chosen.init_from, chosen.hosts)


def main(presets: Presets, build: Build) -> NoReturn:
    """Runs an experiment's module as a command."""
    running = sys.modules["__main__"]
    module = running.__spec__.name

    def command() -> int:
        asked = parse(sys.argv[1:], presets, module, (running.__doc__ or "").strip())
        distributed.join(asked.hosts)
        settings = run_settings(module, asked.preset, asked.config, asked.init_from)
        return loop.train(build(asked.config), asked.workdir, settings, init_from=asked.init_from)

    sys.exit(guarded(command))
