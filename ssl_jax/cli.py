"""The command line of every experiment.

python -m experiments.NAME [PRESET] [--section.field VALUE ...] [--workdir DIR] [--init_from RUN|WEIGHTS]
"""

import dataclasses
import difflib
import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn

import tyro
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.training import distributed, loop
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.folder import CONFIG, read_json

Config = Any
Presets = Mapping[str, Config]
Build = Callable[[Config], Experiment]


def fail(message: str) -> NoReturn:
    """Ends the process on a user's mistake: one paragraph, no traceback, exit code 2."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(2)


def quiet() -> None:
    """Keeps libraries from talking about themselves; errors still come through."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("jax").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


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


def parse(
    arguments: list[str], presets: Presets, module: str
) -> tuple[str, Config, epath.Path, str | None, str]:
    """(preset, configuration, run folder, --init_from, --hosts). Exits with code 2, or 0 after --help."""
    document = (sys.modules[module if module in sys.modules else "__main__"].__doc__ or "").strip()
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
        description=f"{document}\n\nPresets:\n{listing}\n\nBelow, the fields of preset {preset} and its values.",
        config=(tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands),
        use_underscores=True,
    )
    return preset, chosen.config, epath.Path(chosen.workdir).expanduser(), chosen.init_from, chosen.hosts


def main(presets: Presets, build: Build) -> NoReturn:
    """Runs an experiment's module as a command."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else sys.modules["__main__"].__name__
    quiet()
    try:
        preset, config, folder, init_from, hosts = parse(sys.argv[1:], presets, module)
        distributed.join(hosts)
        settings = {
            "experiment": module,
            "preset": preset,
            "init_from": init_from,
            "config": dataclasses.asdict(config),
        }
        code = loop.train(build(config), folder, settings, init_from=init_from)
    except UserError as error:
        fail(str(error))
    sys.exit(code)


def restore_config(default: Config, values: Mapping[str, Any]) -> Config:
    """A configuration from its JSON, shaped like `default`. UserError if a field is unknown or missing."""
    names = {field.name for field in dataclasses.fields(default)}
    if names != values.keys():
        strange = sorted(names ^ values.keys())
        raise UserError(
            f"{CONFIG}: fields {', '.join(strange)} do not fit {type(default).__name__} of this version."
        )

    def restore(old: Any, new: Any) -> Any:
        if dataclasses.is_dataclass(old):
            return restore_config(old, new)
        return tuple(restore(None, item) for item in new) if isinstance(new, list) else new

    return dataclasses.replace(default, **{n: restore(getattr(default, n), v) for n, v in values.items()})


def load_experiment(folder: epath.Path) -> tuple[Experiment, Mapping[str, Any]]:
    """(experiment, settings) of a run folder, from its own configuration."""
    settings = read_json(epath.Path(folder) / CONFIG)
    module = importlib.import_module(settings["experiment"])
    return module.build(restore_config(module.PRESETS[settings["preset"]], settings["config"])), settings
