"""Writes the golden vectors: random weights, inputs, and what Hugging Face transformers computes from them.

    tests/parity/run.sh python tests/parity/make_golden.py

One npz a case, without pickles: `config` (its text), `weight/NAME` (float16, exact), `input/NAME`,
`output/NAME`, and for one case `label/NAME`, `loss` and `gradient/NAME`.
"""

import pathlib
import tempfile

import numpy as np
import safetensors.numpy
from parity_reference import (
    CASES,
    load_model,
    outputs,
    pretraining_gradients,
    random_inputs,
    save_random_model,
)

GOLDEN = pathlib.Path(__file__).parent / "golden"
WITH_GRADIENTS = "pretraining"


def golden(name: str, seed: int) -> dict[str, np.ndarray]:
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save_random_model(case, seed, folder)
        weights = safetensors.numpy.load_file(folder / "model.safetensors")
        config = (folder / "config.json").read_text()
        model = load_model(folder, case.architecture)
    inputs = random_inputs(case, seed)
    arrays = {"config": np.array(config)}
    arrays |= {f"weight/{key}": value.astype(np.float16) for key, value in weights.items()}
    arrays |= {f"input/{key}": value for key, value in inputs.items()}
    arrays |= {f"output/{key}": value for key, value in outputs(model, inputs).items()}
    if name == WITH_GRADIENTS:
        rng = np.random.default_rng(seed)
        labels = {"pair": rng.integers(0, 2, case.batch, dtype=np.int32)}
        # One row has a single label, so that uneven counts are compared too; token 0 is a label like any
        # other.
        labelled = rng.random((case.batch, case.length)) < 0.4
        labelled[1] = np.arange(case.length) == 0
        labels["tokens"] = np.where(labelled & (inputs["sequence"] > 0), inputs["tokens"][:, ::-1], -1)
        labels["tokens"][1, 0] = 0
        loss, gradients = pretraining_gradients(model, inputs, labels)
        arrays |= {f"label/{key}": value for key, value in labels.items()} | {"loss": np.float32(loss)}
        arrays |= {f"gradient/{key}": value for key, value in gradients.items()}
    return arrays


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for seed, name in enumerate(CASES):
        np.savez_compressed(GOLDEN / f"{name}.npz", **golden(name, seed))


if __name__ == "__main__":
    main()
