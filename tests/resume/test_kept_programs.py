"""A run that starts again does not compile again, and its folder brings no programs."""

from pathlib import Path

from tests import processes

STEPS = ["--steps", 20, "--train.log_every", 5, "--train.save_every", 10, "--train.eval_every", 20]


def test_the_second_start_compiles_nothing(tmp_path: Path) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "run"
    variables = {
        "SSL_JAX_CACHE": str(cache),
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # the programs are small
    }

    def start(folder: Path) -> set[str]:
        """Runs it and returns the names of the programs that are kept then."""
        process = processes.start("experiments.minimal", STEPS, folder, cache=False, variables=variables)
        code, out, err = processes.finish(process)
        assert (code, err) == (0, ""), out
        (programs,) = cache.glob("programs-*")
        return {file.name for file in programs.iterdir()}

    kept = start(folder)
    assert [name for name in kept if name.startswith("jit_train_step")]
    assert start(tmp_path / "again") == kept
    assert processes.log(folder) == processes.log(tmp_path / "again")
    assert not [file for file in folder.rglob("*") if file.name in kept]


def test_programs_of_several_cpu_devices_are_not_kept(tmp_path: Path) -> None:
    """They may wait for each other without end when they are read again (see `tests/compiled_programs.py`)."""
    variables = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    process = processes.start("experiments.minimal", STEPS, tmp_path / "run", devices=2, variables=variables)
    code, out, err = processes.finish(process)
    assert (code, err) == (0, ""), out
    assert not [*(tmp_path / "cache").glob("*")]
