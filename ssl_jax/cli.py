"""The command line of every experiment and of every study of several runs.

python -m experiments.NAME [PRESET] [--section.field VALUE ...] [--workdir DIR] [--init_from RUN|WEIGHTS]
python -m experiments.NAME --resume RUN [--workdir COPY]
"""

import dataclasses
import difflib
import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar

import tyro
from etils import epath

from ssl_jax.data.images import ImageConfig
from ssl_jax.domains import NonEmptyText, NonNegativeInt, Settings, Text, check_settings, unchecked
from ssl_jax.errors import UserError
from ssl_jax.evals.figure_formats import FigureFormat, also_as
from ssl_jax.guard import guarded
from ssl_jax.other_names import refuse_other_names
from ssl_jax.runs.config_file import read_config_file
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.encoders import refuse_pretraining
from ssl_jax.runs.resuming import copy_resumed, read_resumed
from ssl_jax.runs.study import Study, run_study, study_settings
from ssl_jax.runs.warm_start import build_run
from ssl_jax.short_help import Options, loose_words, options_of, short_help, value_of, wrapped
from ssl_jax.training import distributed, loop
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.folder import WITH_OPTIMIZER
from ssl_jax.training.hosts import Timeouts
from ssl_jax.training.program_cache import keep_programs
from ssl_jax.training.wandb import Wandb

Config = Any
Kind = TypeVar("Kind")
Presets = Mapping[str, Config]


@dataclasses.dataclass(frozen=True)
class StudyOptions(Settings):
    """What a command line gives beside the configuration of a study."""

    workdir: NonEmptyText
    """The folder of all results, local or gs://. The same command again continues there."""
    resume: NonEmptyText | None = None
    """Go on with the run in this folder, whose settings need not be given again; with --workdir, in a copy of it
    there, and RUN stays as it is. More steps, other intervals and another place of the data may be given."""
    config: NonEmptyText | None = None
    """Take the settings of a .json or .yaml file: the config.json of a run folder, or a few fields by section."""
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
    with_optimizer: bool = False
    """With --init_from RUN@STEP: start from its whole state, at that step, with the state of its optimizer."""
    profile: NonNegativeInt = 0
    """Write a jax.profiler trace of so many steps into profile/ of the run folder; 0 for none."""
    wandb: Text = ""
    """Show the run in this project of Weights & Biases too, whose package wandb must be installed; empty for none."""

    def check_relations(self) -> None:
        if self.with_optimizer and self.init_from is None:
            raise UserError("--with_optimizer: name the checkpoint with --init_from RUN@STEP.")


class Invocation(NamedTuple):
    """What a command line asks for."""

    preset: str
    config: Config
    options: Any
    given: frozenset[str] | None = frozenset()
    """Names of the fields that are given on the command line; None where a run says all of its settings."""


def choose_preset(
    arguments: list[str], presets: Presets, options: Callable[[], Options]
) -> tuple[str | None, list[str]]:
    """(preset, the other arguments); the preset is None if none is named. It may be anywhere among the options.

    Args:
      arguments: the words of the command line.
      presets: configurations by name.
      options: of the command, which take half a second to make.

    Raises:
      UserError: the first word names no preset (the closest one is told), or several are named.
    """
    places = [place for place, word in enumerate(arguments) if word in presets]
    if arguments and not arguments[0].startswith("-"):
        name = arguments[0]
        if name not in presets:
            close = difflib.get_close_matches(name, presets, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UserError(f"unknown preset {name!r}.{hint} There are: {', '.join(presets)}.")
    if places not in ([], [0]):
        loose = loose_words(arguments, options())
        places = [place for place in places if place in loose]
    if len(places) > 1:
        names = " and ".join(arguments[place] for place in places)
        raise UserError(f"the presets {names} are named; give one.")
    for place in places:
        return arguments[place], arguments[:place] + arguments[place + 1 :]
    return None, arguments


def read_arguments(kind: type[Kind], arguments: list[str], *, description: str = "", **how: Any) -> Kind:
    """Reads a command line into a dataclass, and checks the domain of every value.

    Args:
      kind: the dataclass.
      arguments: the words of the command line.
      description: what --help says first.
      **how: other arguments of `tyro.cli`.

    Raises:
      UserError: a value is out of its domain, or values do not fit together.
      SystemExit: code 2, after a suggestion, if an option is unknown or has a value of another type; code 0 after
        --help.
    """
    if {"-h", "--help"} & {*arguments}:
        print(f"{wrapped(description)}\n")  # tyro joins its lines
    with unchecked():
        chosen = tyro.cli(kind, args=arguments, description="", use_underscores=True, **how)
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
      program: the command, which ends with the name of the experiment's module, for the help and for messages.
      document: what the help says first.
      options: `default workdir -> default values of the options`, a dataclass.

    Raises:
      UserError: there is no such preset, an option is one of another library, a value is out of its domain, or a file
        of settings cannot be used.
      SystemExit: code 2, after a suggestion, if a field is unknown or has a wrong value; code 0 after --help, which
        shows the fields that matter most, and after --help-all.
    """

    def workdir(preset: str) -> str:
        return f"runs/{program.rpartition('.')[2]}-{preset}"

    first = next(iter(presets))
    preset, rest = choose_preset(
        arguments, presets, lambda: _options(Invocation(first, presets[first], options(workdir(first))))
    )
    start = Invocation(preset or first, presets[preset or first], options(workdir(preset or first)))
    if isinstance(start.options, StudyOptions):
        start = _from_files(rest, program.split()[-1], start, named=preset is not None, workdir=workdir)
    if {"-h", "--help"} & {*rest}:
        title = document.strip().partition("\n")[0]
        print(short_help(program, title, [*presets], start.preset, _options(start)))
        raise SystemExit(0)
    refuse_other_names(rest, (start.config, start.options))
    rest = ["--help" if word in ("--help-all", "--help_all") else word for word in rest]
    listing = "\n".join(f"  {name}{'  (default)' if name == first else ''}" for name in presets)
    below = f"Below, the fields of preset {start.preset} and their values."
    chosen = read_arguments(
        **_reading(start),
        arguments=rest,
        prog=f"{program} [PRESET]",
        description=f"{document}\n\nPresets:\n{listing}\n\n{below}",
    )
    words = [word.removeprefix("--").partition("=")[0] for word in rest if word.startswith("--")]
    given = None if start.given is None else frozenset(word.replace("-", "_") for word in words)
    return Invocation(start.preset, chosen.config, chosen.options, given)


def _reading(start: Invocation) -> dict[str, Any]:
    """What `tyro` reads a configuration and options into, with their values where a command line gives no others."""
    config_type, options_type = type(start.config), type(start.options)

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        config: Annotated[config_type, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff]
        options: Annotated[options_type, tyro.conf.arg(name="")]

    default = Arguments(start.config, start.options)
    return {"kind": Arguments, "default": default, "config": (tyro.conf.AvoidSubcommands,)}


def _options(start: Invocation) -> Options:
    """The options of a command with these values."""
    how = _reading(start)
    # tyro warns that it is going to make the parser in another way one day.
    with unchecked(), warnings.catch_warnings(action="ignore"):
        return options_of(tyro.extras.get_parser(how.pop("kind"), use_underscores=True, **how))


def _from_files(
    arguments: list[str], module: str, start: Invocation, *, named: bool, workdir: Callable[[str], str]
) -> Invocation:
    """The values that --resume or --config give where the command line gives no others.

    Args:
      arguments: the words of the command line.
      module: name of the experiment.
      start: the values of the preset.
      named: whether the preset was named.
      workdir: the default folder of a preset.

    Raises:
      UserError: the file cannot be read or is of another experiment, or a preset is named that would have no effect.
    """
    resume, file = value_of(arguments, "--resume"), value_of(arguments, "--config")
    if resume is not None:
        if named or file is not None:
            other = f"--config {file}" if file is not None else f"the preset {start.preset}"
            raise UserError(f"--resume {resume}: has settings of its own; leave out {other}.")
        saved = read_resumed(resume, module)
        given = {
            name: saved.settings[name] for name in ("init_from", WITH_OPTIMIZER) if name in saved.settings
        }
        folder = str(epath.Path(resume).expanduser())
        options = dataclasses.replace(start.options, workdir=folder, **given)
        return Invocation(saved.settings["preset"], saved.config, options, given=None)
    if file is None:
        return start
    found = read_config_file(file, module, start.config)
    if found.preset is None:
        return start._replace(config=found.config)
    if named:
        raise UserError(f"--config {file}: has all settings of a run; leave out the preset {start.preset}.")
    given = {"init_from": found.init_from} if found.init_from else {}
    options = dataclasses.replace(start.options, workdir=workdir(found.preset), **given)
    return Invocation(found.preset, found.config, options, given=None)


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
        if distributed.may_be_main(given.hosts):  # at once: JAX and the data take their time
            print(f"{module}, {asked.preset}: the folder of all results is {given.workdir}", flush=True)
        distributed.join(given.hosts, given.timeouts)
        keep_programs()
        config = asked.config
        if asked.given is not None and isinstance(getattr(config, "data", None), ImageConfig):
            # Here, because what images are reported with takes long to import.
            from ssl_jax.recipes.fitting import fitted_to_images

            config, lines = fitted_to_images(config, asked.given, presets, asked.preset)
            for line in lines:
                distributed.announce(line)
        if given.resume is not None:
            copy_resumed(given.resume, given.folder)
        if study:
            settings = study_settings(module, asked.preset, config)
            with also_as(given.figures):
                return run_study(study(config), given.folder, settings)
        if given.init_from is not None and given.resume is None:
            refuse_pretraining(config, presets[asked.preset])
        source = given.init_from, given.with_optimizer
        settings = run_settings(module, asked.preset, config, *source)
        experiment = build_run(build, config, given.folder, *source)
        with also_as(given.figures):
            trackers = [functools.partial(Wandb, given.wandb)] if given.wandb else []
            return loop.train(experiment, given.folder, settings, profile=given.profile, trackers=trackers)

    sys.exit(guarded(command))
