"""Experiments on augmented views of images: their configuration, the settings of each data set, and the experiment.

The configuration of an experiment extends `ViewsConfig`, or `EmbeddingConfig` where its loss compares views, with the
fields of its paper. Its presets start from the settings below: `Config(**DIGITS, temperature=0.5)`.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import jax
from etils import epath

from ssl_jax.data.images import ImageConfig, batch_shapes
from ssl_jax.domains import BatchSize, PositiveInt, integers
from ssl_jax.errors import UserError
from ssl_jax.evals.collapse import alignment, collapse_metrics, uniformity
from ssl_jax.hub.resnet import save_resnet
from ssl_jax.method import Mean, Tree
from ssl_jax.methods.image_method import ImageMethod
from ssl_jax.methods.joint_embedding import Embedding, Network, ViewsLoss, joint_embedding
from ssl_jax.models.resnet import SIZES, ResNetConfig
from ssl_jax.recipes import datasets
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.recipes.datasets import open_image_data
from ssl_jax.reports.views import report_views
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.images import ViewConfig


@dataclass(frozen=True)
class ViewsConfig(RunConfig):
    """A run on augmented views of images; the defaults are those of the embedded digits."""

    steps: PositiveInt = 1500
    """Optimiser steps of the whole run."""
    classes: Annotated[int, integers(0, 2**20)] = 10
    """Labels of the online probe, a linear classifier that is trained beside the encoder without sending it a gradient;
    0 for none."""
    probe_examples: PositiveInt = 10_000
    """Most labelled training images that the probes at the end of the run are fitted to. All held-out images are
    scored; 1 % is of the whole training set."""
    data: ImageConfig = field(default_factory=ImageConfig)
    views: tuple[ViewConfig, ...] = ()
    """How each view of an image is made."""
    encoder: ResNetConfig = SIZES["resnet50"]


@dataclass(frozen=True)
class EmbeddingConfig(ViewsConfig):
    """A run whose loss compares the embeddings of views."""

    parts: BatchSize = 1
    """Parts in which the network embeds the images of a batch, to save memory. Each is computed twice. The loss still
    compares all images of the batch, unlike with train.micro_batches; batch statistics are those of a part."""


Settings = dict[str, Any]
"""Fields of a `ViewsConfig` by name."""

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

DIGITS: Settings = {
    "steps": 1500,
    "classes": datasets.DIGITS.classes,
    "data": datasets.DIGITS.data,
    "views": 2 * (replace(HANDWRITTEN, size=8, crop_area=(0.6, 1.0)),),
    "encoder": ResNetConfig(blocks=(1, 1), bottleneck=False, width=32, stem="cifar"),
    "optimizer": OptimizerConfig(name="adamw", weight_decay=1e-4, clip_norm=0.0),
    "schedule": ScheduleConfig(learning_rate=2e-3, warmup_steps=100, decay="cosine"),
    "train": TrainConfig(batch_size=128, eval_every=500, save_every=500, keep_every=500),
}

MNIST: Settings = DIGITS | {
    "data": datasets.MNIST.data,
    "views": 2 * (HANDWRITTEN,),
    "encoder": ResNetConfig(blocks=(1, 1, 1), bottleneck=False, width=32, stem="small"),
    "train": TrainConfig(batch_size=256, eval_every=500, save_every=500, keep_every=500),
}

LARS = OptimizerConfig(
    name="lars",
    weight_decay=1e-6,
    no_decay="(bias|scale)$|^probe/",  # a classifier of its own, as the head in google-research/simclr
    clip_norm=0.0,
)

CIFAR10: Settings = {
    "steps": 97_000,
    "classes": datasets.CIFAR10.classes,
    "data": datasets.CIFAR10.data,
    "views": 2 * (ViewConfig(size=32, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.0),),
    "encoder": replace(SIZES["resnet18"], stem="cifar", dtype="bfloat16"),
    "optimizer": LARS,
    "schedule": ScheduleConfig(learning_rate=1.0, warmup_steps=970, decay="cosine"),
    "train": TrainConfig(
        batch_size=512, log_every=100, eval_every=2_000, save_every=2_000, keep_every=10_000
    ),
}
"""1,000 epochs of 50,000 images; the views are those of google-research/simclr: no blur, half the jitter."""

SOLO_VIEW = replace(CIFAR10["views"][0], saturation=0.2)
SOLO_LEARN: Settings = CIFAR10 | {
    "steps": 195_000,
    "views": (SOLO_VIEW, replace(SOLO_VIEW, solarise=0.2)),
    "encoder": replace(CIFAR10["encoder"], zero_init_residual=False),
    "optimizer": replace(
        LARS, weight_decay=1e-4, trust_coefficient=0.02, clip_rate=True, rate_in_momentum=False
    ),
    "schedule": ScheduleConfig(learning_rate=0.3, warmup_steps=1_950, decay="cosine"),
    "train": replace(CIFAR10["train"], batch_size=256),
}
"""1,000 epochs of CIFAR-10 as vturrisi/solo-learn trains most methods: scripts/pretrain/cifar/*.yaml, with the views of
augmentations/asymmetric.yaml. Differences: a warm-up from 0 instead of 3e-5, pixels that are not normalised, and a rate
of the online probe that is the network's."""

STL10: Settings = CIFAR10 | {
    "steps": 200_000,
    "classes": datasets.STL10.classes,
    "data": datasets.STL10.data,
    "views": 2 * (ViewConfig(size=96),),
    "encoder": replace(SIZES["resnet18"], dtype="bfloat16"),
    "schedule": ScheduleConfig(learning_rate=1.0, warmup_steps=2_000, decay="cosine"),
}
"""1,000 epochs of the 100,000 unlabelled images."""

IMAGENET_VIEW = ViewConfig(size=datasets.IMAGENET.size, centre=datasets.IMAGENET.centre)
_BLURRED = replace(IMAGENET_VIEW, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=1.0)
BYOL_VIEWS = (_BLURRED, replace(_BLURRED, blur=0.1, solarise=0.2))
"""The two different views of BYOL (arXiv:2006.07733, table 6), which Barlow Twins and VICReg use as well."""
MOCO_VIEW = replace(
    IMAGENET_VIEW,
    crop_area=(0.2, 1.0),
    interpolation="bilinear",
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
)
"""Of MoCo v2 and SimSiam, whose codes leave the filter of torchvision's RandomResizedCrop at bilinear."""
IMAGENET_SCHEDULE = ScheduleConfig(learning_rate=4.8, warmup_steps=3_120, decay="cosine")
IMAGENET_TRAIN = TrainConfig(
    batch_size=4096, log_every=100, eval_every=3_120, save_every=1_560, keep_every=31_200
)

IMAGENET: Settings = {
    "steps": 312_000,
    "classes": datasets.IMAGENET.classes,
    "probe_examples": 100_000,
    "data": datasets.IMAGENET.data,
    "views": 2 * (IMAGENET_VIEW,),
    "encoder": replace(SIZES["resnet50"], dtype="bfloat16"),
    "optimizer": LARS,
    "schedule": IMAGENET_SCHEDULE,
    "train": IMAGENET_TRAIN,
}
"""1,000 epochs of ImageNet's 1,281,167 images in batches of 4,096: 312 steps an epoch."""

LONG_IMAGENET: Settings = IMAGENET | {
    "steps": 625_500,
    "views": BYOL_VIEWS,
    "optimizer": replace(LARS, rate_in_momentum=False),
    "schedule": replace(IMAGENET_SCHEDULE, learning_rate=1.6, warmup_steps=6_255, final_fraction=1e-3),
    "train": replace(IMAGENET_TRAIN, batch_size=2048),
}
"""What Barlow Twins and VICReg share: 1,000 epochs in batches of 2,048 (facebookresearch/barlowtwins, main.py;
facebookresearch/vicreg, main_vicreg.py)."""


def mild(settings: Settings) -> Settings:
    """The settings with one view, made by random crops and mirror images only."""
    colours = dict.fromkeys(("brightness", "contrast", "saturation", "hue", "jitter", "grayscale"), 0.0)
    return settings | {"views": (replace(settings["views"][0], **colours, blur=0.0, rotate=0.0),)}


def collapse(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
    """Metrics of the projections of two views that show a collapse; see `ssl_jax.evals.collapse`."""
    return {
        **collapse_metrics(first.projection, weights),
        "alignment": alignment(first.projection, second.projection, weights),
        "uniformity": uniformity(first.projection, weights),
    }


def embedding_experiment(
    config: EmbeddingConfig, network: Network, loss: ViewsLoss, *, headline: tuple[str, ...], **settings: Any
) -> Experiment:
    """The experiment of a loss on the embeddings of views.

    Args:
      config: of the run.
      network: what is trained.
      loss: the objective; `pairwise` makes one of a function of two embeddings.
      headline: names of the metrics that the progress bar and the plots show.
      **settings: other arguments of `ssl_jax.methods.joint_embedding.joint_embedding`, such as `target`.

    Raises:
      UserError: the batch does not divide into the parts, or a part has fewer than two images.
    """
    images, rest = divmod(config.train.batch_size, config.train.micro_batches * config.parts)
    if config.parts > 1 and (rest or images < 2):
        raise UserError(
            f"parts {config.parts}: expected a divisor of the {config.train.batch_size // config.train.micro_batches} "
            "images of a batch (or micro-batch) that leaves at least 2 in each part."
        )
    method = joint_embedding(
        network,
        loss,
        views=config.views,
        classes=config.classes,
        steps=config.steps,
        pair_metrics=collapse,
        parts=config.parts,
        **settings,
    )
    return views_experiment(config, method, headline=headline)


def views_experiment(config: ViewsConfig, method: ImageMethod, *, headline: tuple[str, ...]) -> Experiment:
    """The experiment of any method on augmented images: data, optimiser, and a report with probes and pictures.

    Args:
      config: of the run.
      method: what is trained.
      headline: names of the metrics that the progress bar and the plots show.

    Raises:
      UserError: a micro-batch has fewer than two images.
    """
    images = config.train.batch_size // config.train.micro_batches
    if images < 2:
        raise UserError(
            f"train.batch_size {config.train.batch_size} in {config.train.micro_batches} micro-batches: batch "
            f"statistics and negatives need at least 2 images at a time, not {images}."
        )

    def export(folder: epath.Path, variables: Tree, tokenizer: None) -> None:
        parts = {kind: variables[kind]["encoder"] for kind in ("params", "batch_stats")}
        save_resnet(folder, config.encoder, parts)

    return make_experiment(
        config,
        method.method,
        phases=one_phase(config, batch_shapes(config.data, config.train.batch_size), "images"),
        open_data=lambda folder: open_image_data(config.data, classes=config.classes, seed=config.train.seed),
        represent=method.represent,
        export=export,
        headline=headline,
        report=lambda report: report_views(
            report,
            method.represent,
            config.views,
            probe_examples=config.probe_examples,
            seed=config.train.seed,
        ),
    )
