"""Writes the golden vectors: random weights, inputs, and what Hugging Face transformers computes from them.

    tests/parity/run.sh python -m tests.parity.make_golden [CASE...]

One npz a case, without pickles: `config` (its text), `weight/NAME` (float16, exact), `input/NAME`,
`output/NAME`, and for some cases `label/NAME`, `loss` and `gradient/NAME`. Without names, all cases.
"""

import pathlib
import sys
import tempfile

import numpy as np
import safetensors.numpy

from tests.parity.parity_reference import (
    CASES,
    WITH_GRADIENTS,
    gradients,
    load_model,
    outputs,
    random_inputs,
    random_labels,
    save_random_model,
)

GOLDEN = pathlib.Path(__file__).parent / "golden"


def golden(name: str) -> dict[str, np.ndarray]:
    case, seed = CASES[name], list(CASES).index(name)
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
    if name in WITH_GRADIENTS:
        labels = random_labels(case, inputs, seed)
        loss, theirs = gradients(model, inputs, labels)
        arrays |= {f"label/{key}": value for key, value in labels.items()} | {"loss": np.float32(loss)}
        arrays |= {f"gradient/{key}": value for key, value in theirs.items()}
    return arrays


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name in sys.argv[1:] or CASES:
        np.savez_compressed(GOLDEN / f"{name}.npz", **golden(name))


if __name__ == "__main__":
    main()
