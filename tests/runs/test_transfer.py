"""The arrays of a warm start: taken by path, and told module by module; other shapes are refused."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.method import Mean
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.warm_start import start_from
from ssl_jax.training.loop import Run
from ssl_jax.training.sharding import MeshConfig
from tests.training import toys


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "run"
    assert toys.train(toys.experiment(train={"keep_latest": 9}), folder) == 0
    return folder


def with_params(**params: object):
    """The toy, with other parameters: by default w, else those given beside it; None takes w away."""
    method = toys.noisy_regression()

    def init(rng, batch):
        variables = method.init(rng, batch)
        merged = {**variables["params"], **params}
        return {**variables, "params": {name: value for name, value in merged.items() if value is not None}}

    def loss(params, extras, batch, rng):
        return {"loss_of_w": Mean(params.get("w", jnp.zeros(1)).sum(), jnp.float32(1))}, toys.Aux({}, extras)

    return method._replace(init=init, loss=loss)


def started(experiment, init_from: object):
    return start_from(experiment, RunReference.parse(str(init_from)))


def first_params(folder: Path, experiment, init_from: object) -> dict[str, np.ndarray]:
    run = Run(started(experiment, init_from), epath.Path(folder), {"config": {}})
    run.checkpoints.close()
    assert run.step == 0
    return jax.device_get(run.state.params)


def test_from_the_newest_and_from_a_chosen_step(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    fresh = jax.device_get(toys.noisy_regression().init(jax.random.key(0), None)["params"]["w"])
    newest = first_params(tmp_path / "a", toys.experiment(), source)["w"]
    tenth = first_params(tmp_path / "b", toys.experiment(mesh=MeshConfig(data=2, tensor=4)), f"{source}@10")[
        "w"
    ]
    out = capsys.readouterr().out
    assert f"starting from {source}@10" in out
    assert "2 of 2 arrays" in out
    run = Run(toys.experiment(steps=10), epath.Path(tmp_path / "ten"), {"config": {}})
    run.train()
    np.testing.assert_array_equal(tenth, run.state.params["w"])
    assert 0 < np.abs(tenth - fresh).max() < np.abs(newest - fresh).max()


def lines_of(capsys: pytest.CaptureFixture) -> list[str]:
    """What the log says of each module, after "warm start from"."""
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("warm start from"))
    return [line.strip() for line in lines[first:] if line.startswith(("warm", "  "))]


def dense(*names: str, value: float = 0.0) -> dict[str, jax.Array]:
    return {name: jnp.full(2, value) for name in names}


def test_an_encoder_is_taken_and_a_head_is_new_and_the_log_says_so_by_module(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    old = {"encoder": {"first": dense("kernel", "bias", value=2.0), "gone": jnp.ones(1)}}
    old |= {"predictor": dense("kernel", "bias"), "bias": jnp.ones(3)}
    toys.train(toys.experiment(method=with_params(**old), steps=5), tmp_path / "old")
    new = {"encoder": {"first": dense("kernel", "bias"), "second": dense("kernel", value=7.0)}}
    experiment = toys.experiment(method=with_params(**new, head=dense("kernel", "bias", value=3.0)))
    capsys.readouterr()
    params = first_params(tmp_path / "new", experiment, tmp_path / "old")
    assert lines_of(capsys) == [
        f"warm start from {tmp_path / 'old'}: 4 of 7 arrays",
        "mean: 1 of 1 array loaded",
        "encoder: 2 of 3 arrays loaded; new: second/kernel; unused: gone",
        "head: new (2 arrays)",
        "w: 1 of 1 array loaded",
        "bias: unused (1 array)",
        "predictor: unused (2 arrays)",
    ]
    np.testing.assert_array_equal(params["encoder"]["first"]["kernel"], np.full(2, 2.0))
    np.testing.assert_array_equal(params["encoder"]["second"]["kernel"], np.full(2, 7.0))
    np.testing.assert_array_equal(params["head"]["bias"], np.full(2, 3.0))


def test_other_shapes_are_refused_by_name_with_the_file_that_has_the_sizes(
    source: Path, tmp_path: Path
) -> None:
    experiment = toys.experiment(method=with_params(w=jnp.zeros((3, 3))))
    with pytest.raises(UserError, match=r"params/w \(4, 4\), expected \(3, 3\)") as error:
        first_params(tmp_path / "run", experiment, source)
    assert f"number of classes) of {source / 'config.json'}" in str(error.value)


def test_what_is_not_there_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no checkpoint of step 7; there are 5, 10, 15, 20\."):
        first_params(tmp_path / "a", toys.experiment(), f"{source}@7")
    with pytest.raises(UserError, match="neither a run folder with checkpoints nor weights"):
        first_params(tmp_path / "b", toys.experiment(), tmp_path / "nothing")
    both = "it has mean, params/w, expected mean, params/other"
    with pytest.raises(UserError, match=f"no parameter has a path of this model; {both}"):
        first_params(tmp_path / "c", toys.experiment(method=with_params(w=None, other=jnp.ones(2))), source)


def test_imported_weights_and_a_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    w = np.arange(16, dtype=np.float16).reshape(4, 4)
    experiment = toys.experiment()._replace(
        import_weights=lambda path: {"w": w} if path == epath.Path(weights) else {}
    )
    found = first_params(tmp_path / "run", experiment, weights)["w"]
    np.testing.assert_array_equal(found, w)
    assert found.dtype == np.float32
    assert toys.train(started(experiment, weights), tmp_path / "run") == 0
    capsys.readouterr()
    assert toys.train(started(experiment, weights), tmp_path / "run") == 0  # its own checkpoint comes first
    assert "continuing at step 20" in capsys.readouterr().out
