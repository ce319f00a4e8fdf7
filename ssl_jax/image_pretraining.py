"""What experiments on images share: the data sets and what they ask of views and encoder, figures, and the wiring.

An experiment's configuration is `ImagePretraining` with the fields of its paper added; `adapt` makes its presets from
the data sets below, and `wire` an experiment from its method.
"""

from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import grain
import jax

from ssl_jax.data.images import ImageConfig, batch_shapes, open_images
from ssl_jax.errors import UserError
from ssl_jax.evals.collapse import alignment, collapse_figures, uniformity
from ssl_jax.method import Mean
from ssl_jax.methods.image_method import ImageMethod
from ssl_jax.methods.joint_embedding import Embedding, Network, PairLoss, TargetConfig, joint_embedding
from ssl_jax.models.resnet import SIZES, ResNetConfig
from ssl_jax.reports.images import report_images
from ssl_jax.training.experiment import Data, Experiment, Phase, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig, make_optimizer
from ssl_jax.training.schedules import ScheduleConfig, make_schedule
from ssl_jax.training.sharding import MeshConfig
from ssl_jax.transforms.images import ViewConfig


@dataclass(frozen=True)
class ImagePretraining:
    """Pretraining on images; the defaults are those of the embedded digits."""

    steps: int = 1500
    """Length of training."""
    classes: int = 10
    """Labels of the online probe, a linear classifier trained beside without touching the encoder; 0 for none."""
    probe_examples: int = 10_000
    """Labelled images that the probes at the end of the run are fitted to, at most."""
    data: ImageConfig = field(default_factory=ImageConfig)
    views: tuple[ViewConfig, ...] = ()
    """How each view of an image is made."""
    encoder: ResNetConfig = SIZES["resnet50"]
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)


def two(view: ViewConfig) -> tuple[ViewConfig, ViewConfig]:
    """Both views made alike."""
    return view, view


HANDWRITTEN = ViewConfig(
    size=28,
    crop_area=(0.4, 1.0),
    interpolation="bilinear",
    flip=0.0,  # a mirrored digit is another one, or none
    brightness=0.4,
    contrast=0.4,
    saturation=0.0,
    hue=0.0,
    grayscale=0.0,
    blur=0.0,
    translate=0.1,
    rotate=15.0,
)

DIGITS = ImagePretraining(
    views=two(replace(HANDWRITTEN, size=8, crop_area=(0.6, 1.0))),
    encoder=ResNetConfig(blocks=(1, 1), bottleneck=False, width=32, stem="cifar"),
    optimizer=OptimizerConfig(name="adamw", weight_decay=1e-4, clip_norm=0.0),
    schedule=ScheduleConfig(learning_rate=2e-3, warmup_steps=100, decay="cosine"),
    train=TrainConfig(batch_size=128, eval_every=500, save_every=500, keep_every=500),
)
"""scikit-learn's 1,797 digits of 8x8 pixels: offline, minutes."""

MNIST = replace(
    DIGITS,
    data=ImageConfig(source="mnist", canvas=28),
    views=two(HANDWRITTEN),
    encoder=ResNetConfig(blocks=(1, 1, 1), bottleneck=False, width=32, stem="small"),
    train=TrainConfig(batch_size=256, eval_every=500, save_every=500, keep_every=500),
)
"""A folder of idx files of 28x28 gray images, named by `--data.source`: MNIST, Fashion-MNIST, KMNIST, EMNIST."""

LARS = OptimizerConfig(
    name="lars",
    weight_decay=1e-6,
    no_decay="(bias|scale)$|^probe/",  # a classifier of its own, as the head in google-research/simclr
    clip_norm=0.0,
)

CIFAR10 = ImagePretraining(
    steps=97_000,
    data=ImageConfig(source="tfds:cifar10", canvas=32, channels=3),
    views=two(ViewConfig(size=32, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.0)),
    encoder=replace(SIZES["resnet18"], stem="cifar", dtype="bfloat16"),
    optimizer=LARS,
    schedule=ScheduleConfig(learning_rate=1.0, warmup_steps=970, decay="cosine"),
    train=TrainConfig(batch_size=512, log_every=100, eval_every=2_000, save_every=2_000, keep_every=10_000),
)
"""1,000 epochs of 50,000 images, by SimCLR's settings (arXiv:2002.05709, B.9): no blur, half the jitter."""

STL10 = replace(
    CIFAR10,
    steps=200_000,
    data=ImageConfig(source="tfds:stl10", canvas=96, channels=3),
    views=two(ViewConfig(size=96)),
    encoder=replace(SIZES["resnet18"], dtype="bfloat16"),
    schedule=replace(CIFAR10.schedule, warmup_steps=2_000),
)
"""1,000 epochs of the 100,000 unlabelled images; probes are fitted to the 5,000 labelled ones."""

IMAGENET = ImagePretraining(
    steps=312_000,
    classes=1000,
    probe_examples=100_000,
    data=ImageConfig(source="tfds:imagenet2012", canvas=320, channels=3),
    views=two(ViewConfig(size=224, centre=0.875)),
    encoder=replace(SIZES["resnet50"], dtype="bfloat16"),
    optimizer=LARS,
    schedule=ScheduleConfig(learning_rate=4.8, warmup_steps=3_120, decay="cosine"),
    train=TrainConfig(batch_size=4096, log_every=100, eval_every=3_120, save_every=1_560, keep_every=31_200),
)
"""1,000 epochs of ImageNet's 1,281,167 images in batches of 4,096: 312 steps an epoch."""

Config = TypeVar("Config", bound=ImagePretraining)


def adapt(kind: type[Config], base: ImagePretraining, **changes: object) -> Config:
    """A data set's settings as the configuration of an experiment, with the changes and additions of its paper."""
    return kind(**{f.name: getattr(base, f.name) for f in fields(base)} | changes)


def mild(base: ImagePretraining) -> ImagePretraining:
    """The same with one view, of random crops and mirror images only: of objectives that need no strong views."""
    colours = dict.fromkeys(("brightness", "contrast", "saturation", "hue", "jitter", "grayscale"), 0.0)
    return replace(base, views=(replace(base.views[0], **colours, blur=0.0, rotate=0.0),))


def collapse(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
    """Figures of the projections that show a collapse."""
    return {
        **collapse_figures(first.projection, weights),
        "alignment": alignment(first.projection, second.projection, weights),
        "uniformity": uniformity(first.projection, weights),
    }


def wire_pairs(
    config: ImagePretraining,
    network: Network,
    loss: PairLoss,
    *,
    headline: tuple[str, ...],
    target: TargetConfig | None = None,
    views_share_statistics: bool = False,
) -> Experiment:
    """The experiment of a loss on pairs of views; see `joint_embedding` for the arguments."""
    made = joint_embedding(
        network,
        loss,
        views=config.views,
        classes=config.classes,
        steps=config.steps,
        figures=collapse,
        target=target,
        views_share_statistics=views_share_statistics,
    )
    return wire(config, made, headline=headline)


def wire(config: ImagePretraining, made: ImageMethod, *, headline: tuple[str, ...]) -> Experiment:
    """The experiment of a method on images: data, optimiser, and a report with probes and pictures."""
    schedule = make_schedule(config.schedule, config.steps)
    together = config.train.batch_size // config.train.micro_batches
    if together < 2:
        raise UserError(
            f"train.batch_size {config.train.batch_size} in {config.train.micro_batches} micro-batches: batch "
            f"statistics and negatives need at least 2 images at a time, not {together}."
        )
    for number, view in enumerate(config.views):
        if view.size != config.views[0].size:
            raise UserError(
                f"views.{number}.size {view.size} differs from views.0.size {config.views[0].size}; the network sees "
                "images of one size."
            )

    batch_size = config.train.batch_size
    return Experiment(
        method=made.method,
        optimizer=make_optimizer(config.optimizer, schedule),
        train=config.train,
        mesh=config.mesh,
        phases=(Phase(config.steps, batch_shapes(config.data, batch_size), work=("images", batch_size)),),
        open_data=lambda folder: image_data(config.data, classes=config.classes, seed=config.train.seed),
        evaluate=made.evaluate,
        represent=made.represent,
        schedules={"learning_rate": schedule},
        headline=headline,
        report=lambda report: report_images(
            report, made.represent, config.views, probe_examples=config.probe_examples, seed=config.train.seed
        ),
    )


def image_data(config: ImageConfig, *, classes: int, seed: int) -> Data:
    """The images of a run, in the order of its seed. UserError if they have more labels than `classes`, unless 0."""
    images = open_images(config)
    if 0 < classes < len(images.classes):
        raise UserError(
            f"classes {classes}: {images.probe.name} has {len(images.classes)} labels; give "
            f"--classes {len(images.classes)}, or 0 for no online probe."
        )
    heldout = grain.MapDataset.source(images.heldout)
    labelled = {"train": grain.MapDataset.source(images.probe), "heldout": heldout} if images.classes else {}
    return Data(
        train=(grain.MapDataset.source(images.train).seed(seed).shuffle().repeat(),),
        heldout=({"heldout": heldout},),
        identity=images.identity,
        details=images,
        labelled=labelled,
    )
