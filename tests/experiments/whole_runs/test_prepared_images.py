"""Runs on prepared images: with pictures that fit the canvas, the run of the pictures themselves."""

import json
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ssl_jax.data.images import ImageConfig
from ssl_jax.data.prepared import image_preparation
from ssl_jax.training import loop
from tests.cases import SMALL, given, length
from tests.data.test_images_canvas import encoded
from tests.data.test_prepared import Tasks

TWO_STEPS = [*length(2, 1), *given("train", log_every=1, eval_every=2, save_every=2, keep_every=2)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, str]:
    """Digits as files of ten classes, and the folder that is prepared of them."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = load_digits(n_class=10, return_X_y=True)
    for number, (pixels, label) in enumerate(zip(images[:400], labels[:400], strict=True)):
        place = folder / "files" / str(label) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(Image.fromarray((pixels * 15.9).astype("uint8").reshape(8, 8))))
    config = ImageConfig(source=str(folder / "files"), canvas=8, channels=1)
    what = image_preparation.ImagePreparation(str(folder / "out"), config, 0.001)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_preparation, "run_tasks", Tasks().run)
        image_preparation.prepare_images(what, [], lambda text: None)
    return folder / "files", f"prepared:{folder / 'out'}"


def metrics(folder: Path) -> list[dict[str, object]]:
    """What was logged, without times."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    kept = ("loss", "step", "metric", "probe", "accuracy", "error")
    return [
        {name: value for name, value in line.items() if any(word in name for word in kept)} for line in lines
    ]


@pytest.mark.parametrize("name", ["simclr", "image_classifier", "vae"])
def test_a_run_on_prepared_images_is_the_run_on_the_images(name, folders, command, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Run, "_report", lambda run: None)
    for number, source in enumerate(folders):
        arguments = [
            *SMALL[name](tmp_path),
            *TWO_STEPS,
            "--data.source",
            source,
            "--workdir",
            tmp_path / str(number),
        ]
        code, out, error = command(name, *arguments)
        assert code == 0, error
        assert "10 classes" in out
    found, expected = (metrics(tmp_path / str(number)) for number in (1, 0))
    assert found == expected
    assert len([line for line in found if any("loss" in key for key in line)]) >= 2
