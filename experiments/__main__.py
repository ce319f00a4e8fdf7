"""Lists all experiments and studies: python -m experiments."""

import sys

from ssl_jax.guard import guarded
from ssl_jax.runs.listing import experiment_names, list_experiments


def main() -> int:
    """Prints the list. Returns the exit code."""
    print("\n".join(list_experiments(experiment_names())))
    print(
        "\npython -m experiments.NAME [PRESET] [--section.field VALUE ...] runs one; --help explains its fields."
    )
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
