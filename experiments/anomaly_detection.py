"""Anomaly detection: autoencoders trained on normal images only are applied to all kinds of images.

    python -m experiments.anomaly_detection                              # offline, a minute: each digit in turn
    python -m experiments.anomaly_detection --normal 0                   # one detector: zeros are normal
    python -m experiments.anomaly_detection --normal 0 1 --false_alarm_rate 0.1
    python -m experiments.anomaly_detection mnist --data.source DIR      # a folder of idx files, 5 minutes
    python -m experiments.anomaly_detection tfds_mnist                   # long training
    python -m experiments.anomaly_detection cifar10                      # convolutional

The score of an image is the squared error of its reconstruction, the Mahalanobis distance of its code from those of
normal images, the sum of both (arXiv:1812.02765), or the likelihood bound of a variational autoencoder (An & Cho 2015).
The threshold is set on normal validation images for a given rate of false alarms, and held-out images show how well it
works. Beside them stand PCA, k-NN on pixels, scikit-learn's isolation forest and its one-class SVM, fitted to the same
normal images (at most 2,000). Mean over ten detectors of the area under the ROC curve (AUROC), of the share of held-out
normal images that are false alarms, and of the share of anomalies detected, with a rate of 5 % false alarms asked for:

                        digits                            mnist
                        AUROC    false alarms  detected   AUROC    false alarms  detected
    reconstruction      0.9933   0.019         0.955      0.9681   0.045         0.839
    code distance       0.9684   0.054         0.750      0.8088   0.048         0.399
    both                0.9933   0.023         0.963      0.9623   0.046         0.822
    likelihood          0.9961   0.027         0.945      0.9653   0.048         0.837
    PCA                 0.9956   0.039         0.937      0.9544   0.043         0.768
    k-NN                0.9948   0.043         0.942      0.9437   0.047         0.743
    isolation forest    0.9801   0.027         0.806      0.8530   0.045         0.449
    one-class SVM       0.9865   0.033         0.901      0.9268   0.049         0.678

On 8x8 digits, with 120 training images per detector, PCA is as good. On MNIST, reconstruction is ahead of PCA for each
of the ten digits. anomalies.json has the metrics of each detector and each class of anomalies; plots/ has ROC curves,
histograms of scores, and the best and worst examples.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from ssl_jax.cli import main
from ssl_jax.data.endless_images import EndlessImages
from ssl_jax.data.one_class import (
    batch_shapes,
    heldout_images,
    heldout_shapes,
    split_one_class,
)
from ssl_jax.domains import CodeSize, NonEmptyText, PositiveInt, ProperShare, integers
from ssl_jax.errors import UserError
from ssl_jax.methods.one_class import detectors
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.recipes.autoencoders import (
    ADAM,
    CIFAR10,
    DIGITS,
    LONG_MNIST,
    MNIST,
    AutoencodingConfig,
)
from ssl_jax.recipes.base import make_experiment, one_phase
from ssl_jax.recipes.datasets import opened_images
from ssl_jax.reports.anomaly_detection import report_anomaly_detection, stored_thresholds
from ssl_jax.training.experiment import Data, Experiment, Inference, TrainConfig


@dataclass(frozen=True)
class Config(AutoencodingConfig):
    """Detectors of anomalies, each of a normal set of classes."""

    normal: tuple[NonEmptyText, ...] = ()
    """Classes that are normal, together; all others are anomalies. Empty: each class in turn, a detector for each."""
    classes: Annotated[int, integers(1, 1_000)] = 10
    """How many classes there are, where each is normal in turn."""
    code_size: CodeSize = 16
    """Numbers in the code."""
    validation_share: ProperShare = 0.2
    """Of the normal training images, kept aside to set the threshold with. If false_alarm_rate needs more, more are, up
    to half of them."""
    false_alarm_rate: ProperShare = 0.05
    """Share of the normal images that may be taken for anomalies."""
    score: Literal["reconstruction", "code_distance", "both", "likelihood"] = "reconstruction"
    """What the histograms and the examples are drawn of; every score is reported."""
    probe_examples: PositiveInt = 2000
    """Normal images that distances of codes, k-NN, PCA and the others are fitted to, at most, for each detector."""

    def check_relations(self) -> None:
        super().check_relations()
        if not self.normal and self.classes < 2:
            raise UserError(f"classes {self.classes} must be at least 2, or no class is an anomaly.")
        if len(set(self.normal)) < len(self.normal):
            raise UserError(f"normal {' '.join(self.normal)}: name each class once.")
        if self.detectors > 1 and self.optimizer.clip_norm:
            raise UserError(
                f"optimizer.clip_norm {self.optimizer.clip_norm} would clip the gradients of {self.detectors} "
                "detectors together, and each would depend on the others; set it to 0, or name one with --normal."
            )

    @property
    def detectors(self) -> int:
        """One for all normal classes together, or one for each."""
        return 1 if self.normal else self.classes


PRESETS = {
    "digits": replace(
        Config(**DIGITS),
        steps=300,
        network=AutoencoderConfig(hidden=(256,)),
        optimizer=ADAM,
        train=TrainConfig(batch_size=32, eval_every=50, save_every=100, keep_every=100),
        probe_examples=2000,
    ),
    "mnist": replace(
        Config(**MNIST),
        steps=1000,
        train=TrainConfig(batch_size=64, eval_every=200),
        network=AutoencoderConfig(hidden=(256, 128)),
        probe_examples=2000,
    ),
    "tfds_mnist": replace(Config(**LONG_MNIST), steps=10_000, code_size=32, probe_examples=6000),
    "cifar10": replace(Config(**CIFAR10), steps=20_000, code_size=128, probe_examples=5000),
}


def open_data(config: Config) -> Data:
    """Normal images to train on; all kinds, held out."""
    splits = split_one_class(
        opened_images(config.data),
        config.normal,
        detectors=config.detectors,
        validation_share=config.validation_share,
        false_alarm_rate=config.false_alarm_rate,
        seed=config.train.seed,
    )
    return Data(
        train=(EndlessImages(splits.train, config.train.seed),),
        heldout=({"heldout": heldout_images(splits)},),
        identity=splits.identity,
        details=splits,
        preprocessing=config.data.preprocessing,
    )


def build(config: Config) -> Experiment:
    """All detectors side by side; an example is one normal image for each."""
    made = detectors(
        config.detectors,
        config.network,
        code_size=config.code_size,
        size=config.size,
        channels=config.data.channels,
        centre=config.centre,
    )
    size = config.data, config.train.batch_size, config.detectors
    rows, heldout_rows = batch_shapes(*size), heldout_shapes(*size)
    return make_experiment(
        config,
        made.method,
        phases=one_phase(config, rows, "images", config.detectors, heldout_rows),
        open_data=lambda folder: open_data(config),
        headline=("loss", "normal_error", "anomalous_error"),
        report=lambda report: report_anomaly_detection(
            report,
            made,
            code_size=config.code_size,
            main=config.score,
            false_alarm_rate=config.false_alarm_rate,
            examples=config.probe_examples,
            seed=config.train.seed,
        ),
        inference=Inference(
            score=made.score, thresholds=lambda folder: stored_thresholds(folder, config.score)
        ),
    )


if __name__ == "__main__":
    main(PRESETS, build)
