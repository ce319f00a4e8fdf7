"""Fine-tuning on few labels: a pretrained encoder and a linear classifier, trained together.

    python -m experiments.image_classifier --init_from runs/simclr-digits    # 10 labels per class: 89 %
    python -m experiments.image_classifier --workdir runs/scratch            # the same from scratch: 88 %
    python -m experiments.image_classifier imagenet --init_from gs://...     # 1 % of ImageNet's labels
    python -m ssl_jax.predict runs/scratch photos                            # the classes of other images

On so few digits the two hardly differ, and a linear probe of the frozen encoder does better (94 %); see BUILD_NOTES.md.
`imagenet` has the protocol of SimCLR (arXiv:2002.05709, B.5): Nesterov's momentum, no warm-up, no weight decay, random
crops and mirror images only, all layers are trained. That the rate decays along a cosine is from the authors' code
(google-research/simclr, run.py). The authors' result with ResNet-50, pretrained for 1,000 epochs, is 48.3 % top-1 with
1 % of the labels, 65.6 % with 10 % (30 epochs); from scratch 25.4 and 56.4 % (SimCLRv2, arXiv:2006.10029, table 3).
The published results are of whole pictures; here, ImageNet's are shrunk to 320 pixels first (recipes/datasets.py).

On TPUs: imagenet on v5e:8x8 (docs/planning.md).
"""

from dataclasses import dataclass, replace

import numpy as np
from etils import epath

from ssl_jax.cli import main
from ssl_jax.data.endless_images import EndlessImages
from ssl_jax.data.image_source import ImageSource, Rows
from ssl_jax.domains import NonNegativeInt
from ssl_jax.errors import UserError
from ssl_jax.methods.image_classification import image_classification
from ssl_jax.recipes.image_labels import image_predictor, save_classes
from ssl_jax.recipes.views import (
    DIGITS,
    IMAGENET,
    IMAGENET_TRAIN,
    MNIST,
    ViewsConfig,
    mild,
    views_experiment,
)
from ssl_jax.training.experiment import Data, Experiment
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(ViewsConfig):
    """Classification of images with few labels."""

    labels_per_class: NonNegativeInt = 10
    """Labelled images of each class that are trained on; 0 for all."""


SHORT = {
    "steps": 300,
    "optimizer": OptimizerConfig(name="adamw", weight_decay=1e-4),
    "schedule": ScheduleConfig(learning_rate=1e-3, warmup_steps=0, decay="cosine"),
}

PRESETS = {
    "digits": replace(Config(**mild(DIGITS)), **SHORT),
    "mnist": replace(Config(**mild(MNIST)), **SHORT),
    "imagenet": replace(
        Config(**mild(IMAGENET)),
        labels_per_class=13,
        steps=190,  # 60 epochs of 1 % of the images
        optimizer=OptimizerConfig(name="sgd", weight_decay=0.0, clip_norm=0.0, nesterov=True),
        schedule=ScheduleConfig(learning_rate=0.8, warmup_steps=0, decay="cosine"),
        train=replace(IMAGENET_TRAIN, log_every=10, eval_every=95, save_every=95),
    ),
}


def few_labels(images: ImageSource, per_class: int, classes: int, seed: int) -> list[int]:
    """Indices of the first `per_class` images of every class in a seeded order.

    Raises:
      UserError: a class has fewer images.
    """
    wanted = np.full(classes, per_class)
    chosen = []
    for index in np.random.default_rng(seed).permutation(len(images)):
        label = int(images[index]["label"])
        if label >= 0 and wanted[label]:
            wanted[label] -= 1
            chosen.append(int(index))
            if not wanted.any():
                return chosen
    scarce = int(wanted.argmax())
    raise UserError(
        f"labels_per_class {per_class}: {images.name} has only {per_class - wanted[scarce]} labelled images of class "
        f"{scarce}; lower labels_per_class, or classes if there are fewer."
    )


def build(config: Config) -> Experiment:
    """The encoder and a classifier, on a choice of labelled images."""
    if not config.classes:
        raise UserError("classes 0: a classifier needs their number; give --classes 10 for the digits.")
    made = image_classification(config.encoder, config.views[0], config.classes)
    experiment = views_experiment(config, made.images, headline=("class_loss", "class_accuracy"))

    def open_data(folder: epath.Path) -> Data:
        data = experiment.open_data(folder)
        if not data.labelled:
            raise UserError(f"labels are missing: the images of {config.data.source} have none.")
        save_classes(data.details.classes, config.classes, folder)
        images = data.details.probe
        if config.labels_per_class:
            rows = few_labels(images, config.labels_per_class, config.classes, config.train.seed)
            images = Rows(images, np.array(rows))
        return data._replace(train=(EndlessImages(images, config.train.seed),))

    predictor = image_predictor(made.logits, config.data, config.classes)
    return experiment._replace(open_data=open_data, predictor=predictor)


if __name__ == "__main__":
    main(PRESETS, build)
