"""The command line of every experiment and of every study of several runs.

python -m experiments.NAME [PRESET] [--section.field VALUE ...] [--workdir DIR] [--init_from RUN|WEIGHTS]
"""

import dataclasses
import difflib
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import tyro
from etils import epath

from ssl_jax.domains import NonEmptyText, NonNegativeInt, Settings, Text, check_settings, unchecked
from ssl_jax.errors import UserError
from ssl_jax.evals.figure_formats import FigureFormat, also_as
from ssl_jax.guard import guarded
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.encoders import refuse_pretraining
from ssl_jax.runs.study import Study, run_study, study_settings
from ssl_jax.runs.warm_start import build_run
from ssl_jax.training import distributed, loop
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.hosts import Timeouts
from ssl_jax.training.wandb import Wandb

Config = Any
Options = TypeVar("Options")
Presets = Mapping[str, Config]


@dataclasses.dataclass(frozen=True)
class StudyOptions(Settings):
    """What a command line gives beside the configuration of a study."""

    workdir: NonEmptyText
    """The folder of all results, local or gs://. The same command again continues there."""
    hosts: NonEmptyText = "auto"
    """auto joins the other workers of a TPU pod or a Slurm job; or HOST:PORT,ID,COUNT."""
    timeouts: Timeouts = dataclasses.field(default_factory=Timeouts)
    figures: tuple[FigureFormat, ...] = ()
    """Formats in which figures are written beside PNG: pdf, svg, or both."""

    @property
    def folder(self) -> epath.Path:
        """The folder of `workdir`."""
        return epath.Path(self.workdir).expanduser()


@dataclasses.dataclass(frozen=True)
class RunOptions(StudyOptions):
    """What a command line gives beside the configuration of a run."""

    init_from: NonEmptyText | None = None
    """Start from the weights of RUN, RUN@STEP, RUN@best or imported files; see README.md."""
    profile: NonNegativeInt = 0
    """Write a jax.profiler trace of so many steps into profile/ of the run folder; 0 for none."""
    wandb: Text = ""
    """Show the run in this project of Weights & Biases too, whose package wandb must be installed; empty for none."""


class Invocation(NamedTuple):
    """What a command line asks for."""

    preset: str
    config: Config
    options: Any


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


def read_arguments(kind: type[Options], arguments: list[str], **how: Any) -> Options:
    """Reads a command line into a dataclass, and checks the domain of every value.

    Args:
      kind: the dataclass.
      arguments: the words of the command line.
      **how: other arguments of `tyro.cli`.

    Raises:
      UserError: a value is out of its domain, or values do not fit together.
      SystemExit: code 2, after a suggestion, if an option is unknown or has a value of another type; code 0 after
        --help.
    """
    with unchecked():
        chosen = tyro.cli(kind, args=arguments, use_underscores=True, **how)
    check_settings(chosen)
    return chosen


def parse(
    arguments: list[str],
    presets: Presets,
    program: str,
    document: str = "",
    options: Callable[[str], Any] = RunOptions,
) -> Invocation:
    """Reads a command line of [PRESET] [--section.field VALUE ...] [--option VALUE ...].

    Args:
      arguments: the words of the command line.
      presets: configurations by name; the first is the default.
      program: the command, for the help and for messages.
      document: what the help says first.
      options: `default workdir -> default values of the options`, a dataclass.

    Raises:
      UserError: there is no such preset, or a value is out of its domain.
      SystemExit: code 2, after a suggestion, if a field is unknown or has a wrong value; code 0 after --help.
    """
    preset, rest = choose_preset(arguments, presets)
    default = options(f"runs/{program.rsplit('.', 1)[-1]}-{preset}")
    config_type, options_type = type(presets[preset]), type(default)

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        config: Annotated[config_type, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff]
        options: Annotated[options_type, tyro.conf.arg(name="")]

    listing = "\n".join(f"  {name}{'  (default)' if name == next(iter(presets)) else ''}" for name in presets)
    chosen = read_arguments(
        Arguments,
        rest,
        default=Arguments(presets[preset], default),
        prog=f"{program} [PRESET]",
        description=f"{document}\n\nPresets:\n{listing}\n\nBelow, the fields of preset {preset} and their values.",
        config=(tyro.conf.AvoidSubcommands,),
    )
    return Invocation(preset, chosen.config, chosen.options)


def main(
    presets: Presets,
    build: Callable[[Config], Experiment] | None = None,
    *,
    study: Callable[[Config], Study] | None = None,
) -> NoReturn:
    """Runs a module of experiments/ as a command.

    Args:
      presets: configurations by name; the first is the default.
      build: `config -> Experiment`, for a module that trains one run.
      study: `config -> Study`, for a module that compares several runs.
    """
    running = sys.modules["__main__"]
    module = running.__spec__.name

    def command() -> int:
        document = (running.__doc__ or "").strip()
        options = StudyOptions if study else RunOptions
        asked = parse(sys.argv[1:], presets, f"python -m {module}", document, options)
        given = asked.options
        distributed.join(given.hosts, given.timeouts)
        if study:
            settings = study_settings(module, asked.preset, asked.config)
            with also_as(given.figures):
                return run_study(study(asked.config), given.folder, settings)
        if given.init_from is not None:
            refuse_pretraining(asked.config, presets[asked.preset])
        settings = run_settings(module, asked.preset, asked.config, given.init_from)
        experiment = build_run(build, asked.config, given.folder, given.init_from)
        with also_as(given.figures):
            trackers = [functools.partial(Wandb, given.wandb)] if given.wandb else []
            return loop.train(experiment, given.folder, settings, profile=given.profile, trackers=trackers)

    sys.exit(guarded(command))
