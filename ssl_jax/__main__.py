"""Lists all commands, experiments and studies: python -m ssl_jax."""

import sys

from ssl_jax.guard import guarded
from ssl_jax.runs.listing import experiment_names, list_commands, list_experiments

COMMANDS = ("check", "plan", "replay", "generate", "linear_eval", "few_shot", "predict", "export", "convert")


def main() -> int:
    """Prints the lists. Returns the exit code."""
    print("\n".join(list_commands("ssl_jax", COMMANDS)), flush=True)
    print()
    print("\n".join(list_experiments(experiment_names())))
    print(
        "\npython -m ssl_jax.COMMAND and python -m experiments.NAME [PRESET] run them; --help explains their options."
    )
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
