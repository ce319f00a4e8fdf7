"""The examples in docstrings, run as they stand."""

import doctest
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.processes import ROOT

FILES = (file for folder in ("ssl_jax", "experiments") for file in (ROOT / folder).rglob("*.py"))
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in FILES if ">>> " in file.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    source = Path(module.__file__).read_text()
    examples = sum(line.strip().startswith(">>> ") for line in source.splitlines())
    found = doctest.testmod(module, extraglobs={"jax": jax, "jnp": jnp, "np": np})
    assert found.attempted == examples
    assert not found.failed
