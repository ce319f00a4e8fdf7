"""Tasks on Apache Beam: any number of machines carry them out, in any order."""

import contextlib
import difflib
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import write_whole

_EVERY = 10.0
"""Seconds between two lines of progress."""
_FAILED = "failed.txt"


def options_of(arguments: Sequence[str]) -> list[str]:
    """The options of Beam: what is given; without a runner, one process for each core of this machine."""
    given = {argument.split("=")[0] for argument in arguments}
    if "--runner" in given:
        return list(arguments)
    local = {
        "--runner": "DirectRunner",
        "--direct_running_mode": "multi_processing",
        "--direct_num_workers": str(os.cpu_count()),
        "--default_sdk_harness_log_level": "ERROR",
    }
    return [*arguments, *(f"{name}={value}" for name, value in local.items() if name not in given)]


def run_tasks(
    what: str,
    function: Callable[[Any], None],
    tasks: Sequence[Any],
    done: epath.Path,
    options: Sequence[str],
    log: Callable[[str], None],
) -> None:
    """Calls a function with each of some tasks, and waits until all are done.

    Args:
      what: name of the tasks in messages.
      function: of a module, or `functools.partial` of one. May be called several times with a task.
      tasks: values that can be pickled.
      done: folder in which each task leaves a file that ends with ".json".
      options: of Beam.
      log: is told the progress.

    Raises:
      UserError: Beam is not installed or does not know an option; or a task has raised it, after the others are done.
    """
    try:
        with _standard_error_in_a_file():
            import apache_beam as beam
            from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError(
            "Apache Beam is not installed here. It has an environment of its own, since it needs older packages than "
            "training: python3 -m venv .venv-prepare; .venv-prepare/bin/pip install -r requirements-prepare.txt; then "
            ".venv-prepare/bin/python -m ssl_jax.prepare ..."
        ) from error
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    beam_options = PipelineOptions(list(options))
    _check_known(options, beam_options.get_all_options())
    failed = done / _FAILED
    failed.unlink(missing_ok=True)
    finished = threading.Event()
    watch = threading.Thread(target=_watch, args=(what, len(tasks), done, finished, log), daemon=True)
    watch.start()
    try:
        with _standard_error_in_a_file(), beam.Pipeline(options=beam_options) as pipeline:
            read = pipeline | "tasks" >> beam.Create(list(tasks), reshuffle=True)
            _ = read | what >> beam.Map(partial(_attempt, function, str(failed)))
    finally:
        finished.set()
        watch.join()
    if failed.exists():
        raise UserError(failed.read_text())


def _attempt(function: Callable[[Any], None], failed: str, task: Any) -> None:
    """Calls a function with a task. A user's mistake is written to a file, since Beam would show it as a traceback."""
    try:
        function(task)
    except UserError as error:
        write_whole(epath.Path(failed), str(error))


@contextlib.contextmanager
def _standard_error_in_a_file() -> Iterator[None]:
    """Keeps what Beam and its processes log in a file, which is removed if all goes well."""
    descriptor, path = tempfile.mkstemp(prefix="ssl_jax_beam_", suffix=".log")
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    except BaseException:
        os.write(kept, f"what Apache Beam has logged is in {path}\n".encode())
        raise
    else:
        os.unlink(path)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(descriptor)


def _check_known(options: Sequence[str], known: Mapping[str, Any]) -> None:
    """Refuses options that neither this command nor Beam has, which Beam would leave out."""
    for option in options:
        name = option.removeprefix("--").split("=")[0]
        if option.startswith("--") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UserError(
                f"unknown option --{name}: neither ssl_jax.prepare (see --help) nor Apache Beam has it."
                + (f" Did you mean --{close[0]}?" if close else "")
            )


def _watch(
    what: str, total: int, folder: epath.Path, finished: threading.Event, log: Callable[[str], None]
) -> None:
    started, before = time.monotonic(), _count(folder)
    while not finished.wait(_EVERY):
        done = _count(folder)
        new, passed = done - before, time.monotonic() - started
        left = (
            f", about {passed / new * (total - done) / 60:.0f} minutes left" if new and done < total else ""
        )
        log(f"{what}: {done:,} of {total:,}{left}")


def _count(folder: epath.Path) -> int:
    try:
        return sum(path.name.endswith(".json") for path in folder.iterdir())
    except FileNotFoundError:
        return 0
