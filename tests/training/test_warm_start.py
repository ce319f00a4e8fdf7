"""`--init_from`: parameters by path; what is missing, unused or of another shape is listed."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.training.loop import Run
from ssl_jax.training.sharding import MeshConfig
from tests.training import toys


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "run"
    assert toys.train(toys.experiment(train={"keep_latest": 9}), folder) == 0
    return folder


def with_params(**params: jax.Array):
    """The toy, with other parameters: by default w, else those given beside it; None takes w away."""
    method = toys.noisy_regression()

    def init(rng, batch):
        variables = method.init(rng, batch)
        merged = {**variables["params"], **params}
        return {**variables, "params": {name: value for name, value in merged.items() if value is not None}}

    def loss(params, extras, batch, rng):
        return {"loss_of_w": (params.get("w", jnp.zeros(1)).sum(), jnp.float32(1))}, toys.Aux({}, extras)

    return method._replace(init=init, loss=loss)


def first_params(folder: Path, experiment, init_from: object) -> dict[str, np.ndarray]:
    run = Run(experiment, epath.Path(folder), {"config": {}}, init_from=str(init_from))
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


def test_missing_and_unused_parameters_are_listed(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    toys.train(
        toys.experiment(method=with_params(head=jnp.full(3, 2.0), old=jnp.ones(2)), steps=5),
        tmp_path / "other",
    )
    experiment = toys.experiment(method=with_params(head=jnp.zeros(3), new=jnp.full(5, 7.0)))
    params = first_params(tmp_path / "run", experiment, tmp_path / "other")
    out = capsys.readouterr().out
    assert "3 of 4 arrays" in out
    assert "initialised anew: params/new" in out
    assert "unused: params/old" in out
    np.testing.assert_array_equal(params["head"], np.full(3, 2.0))
    np.testing.assert_array_equal(params["new"], np.full(5, 7.0))


def test_other_shapes_are_refused_by_name(source: Path, tmp_path: Path) -> None:
    experiment = toys.experiment(method=with_params(w=jnp.zeros((3, 3))))
    with pytest.raises(UserError, match=r"of another shape: params/w \(4, 4\), expected \(3, 3\)"):
        first_params(tmp_path / "run", experiment, source)


def test_what_is_not_there_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"@7: has no such checkpoint; there are \[5, 10, 15, 20\]"):
        first_params(tmp_path / "a", toys.experiment(), f"{source}@7")
    with pytest.raises(UserError, match="neither a run folder with checkpoints nor weights"):
        first_params(tmp_path / "b", toys.experiment(), tmp_path / "nothing")
    both = "it has mean, params/w, expected mean, params/other"
    with pytest.raises(UserError, match=f"no parameter has a path of this model; {both}"):
        first_params(tmp_path / "c", toys.experiment(method=with_params(w=None, other=jnp.ones(2))), source)


def test_imported_weights_and_a_run_that_goes_on(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    w = np.arange(16, dtype=np.float16).reshape(4, 4)
    experiment = toys.experiment()._replace(
        import_weights=lambda path: {"w": w} if path == epath.Path(weights) else {}
    )
    found = first_params(tmp_path / "run", experiment, weights)["w"]
    np.testing.assert_array_equal(found, w)
    assert found.dtype == np.float32
    assert toys.train(experiment, tmp_path / "run", init_from=str(weights)) == 0
    capsys.readouterr()
    assert (
        toys.train(experiment, tmp_path / "run", init_from=str(weights)) == 0
    )  # its own checkpoint comes first
    assert "continuing at step 20" in capsys.readouterr().out
