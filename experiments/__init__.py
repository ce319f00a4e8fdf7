"""One file per paper. `python -m experiments` lists them."""

import ssl_jax  # noqa: F401  first, so that Ctrl-C while an experiment is imported is told in a line
