"""A report has the held-out data of the current phase, and metrics of that data."""

import grain
import numpy as np

from ssl_jax.training.experiment import Data, Phase
from tests.training import toys


def test_samples_and_the_report_are_given_the_data_of_their_phase(tmp_path):
    """Evaluations at steps 10, the end of the first phase, and 20; the phases have 21 and 13 held-out examples."""
    rows = [grain.MapDataset.range(count).map(toys.example) for count in (21, 13)]
    given = []

    def show(report):
        given.append((report.step, len(report.heldout["heldout"]), report.metrics["heldout"]["error"]))

    experiment = toys.experiment()
    experiment = experiment._replace(
        phases=tuple(Phase(10, toys.shapes(16), work=("examples", 16)) for _ in rows),
        open_data=lambda folder: Data(
            train=(toys.endless(100), toys.endless(100)),
            heldout=tuple({"heldout": dataset} for dataset in rows),
            identity={},
        ),
        sample=show,
        report=show,
    )
    toys.train(experiment, tmp_path)
    logged = {line["step"]: line["error"] for line in toys.log(tmp_path) if "split" in line}
    assert given == [(10, 21, logged[10]), (20, 13, logged[20]), (20, 13, logged[20])]


def test_map_and_compute_give_numpy_arrays_of_the_model(tmp_path):
    found = []

    def show(report):
        rows = report.heldout["heldout"]
        w = np.asarray(report.variables["params"]["w"])
        by_map = report.map(lambda params, extras, batch: batch["x"] @ params["w"], rows)
        np.testing.assert_allclose(by_map, np.stack([row["x"] for row in rows]) @ w, rtol=1e-5, atol=1e-6)
        doubled = report.map(
            lambda params, extras, batch: params * batch["x"], rows, {"params": np.float32(2)}
        )
        np.testing.assert_array_equal(doubled, 2 * np.stack([row["x"] for row in rows]))
        squares = report.compute(lambda w, y: {"squares": w * w + y}, w, 1.0)
        np.testing.assert_allclose(squares["squares"], w * w + 1)
        found.append(type(squares["squares"]))

    toys.train(toys.experiment(steps=5)._replace(report=show), tmp_path)
    assert found == [np.ndarray]
