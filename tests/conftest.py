"""Settings for every test: eight CPU devices, strict shapes, no network, one cache of compiled programs."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

from tests.processes import CACHE, xla_flags

os.environ["XLA_FLAGS"] = xla_flags(devices=8)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import hypothesis
import jax
import pytest

from tests import compiled_programs

jax.config.update("jax_numpy_rank_promotion", "raise")
# Otherwise each operation of a program names the lines of Python that it comes from, which takes time to write.
jax.config.update("jax_traceback_in_locations_limit", 0)
hypothesis.settings.register_profile("suite", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.load_profile("suite")

OWN_CACHE = CACHE not in os.environ
"""Not if this process is a worker of another one, or if the user has named a folder that lasts."""
if OWN_CACHE:
    os.environ[CACHE] = tempfile.mkdtemp(prefix="ssl_jax_compiled_")
compiled_programs.keep_programs(os.environ[CACHE])

LONGEST = (
    "test_killed",
    "test_topologies",
    "test_hosts",
    "test_same_run",
    "test_every_experiment",
    "test_studies",
    "test_multilingual",
    "test_linear_eval",
    "test_bad_input",
    "test_loop",
)
"""Files of tests that go first, so that none of them is left to one worker at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    # Tracing makes many objects, and a full collection looks at all modules again: a tenth of the suite's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Signals as in a terminal: under `nohup`, or in the background of a script, some are ignored from the start."""
    default = {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in default.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def pytest_unconfigure() -> None:
    if OWN_CACHE:
        shutil.rmtree(os.environ[CACHE], ignore_errors=True)
