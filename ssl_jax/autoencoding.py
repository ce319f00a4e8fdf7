"""What experiments with autoencoders of images share: the data sets, and what is asked of a network for each."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ssl_jax.data.images import ImageConfig, batch_shapes
from ssl_jax.errors import UserError
from ssl_jax.image_pretraining import image_data
from ssl_jax.method import Evaluate, Method, Represent
from ssl_jax.methods.autoencoder import Family, Objective
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.training.experiment import Experiment, Phase, Report, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig, make_optimizer
from ssl_jax.training.schedules import ScheduleConfig, make_schedule
from ssl_jax.training.sharding import MeshConfig

LARGEST_CODE = 2**16

ADAM = OptimizerConfig(weight_decay=0.0, clip_norm=0.0, epsilon=1e-8)
"""Gradients of a mean over pixels are small, and so must be what is added to their size."""


@dataclass(frozen=True)
class ImageTask:
    """Images of one size, and how long and how something is learnt of them; the defaults are those of the digits."""

    steps: int = 2000
    """Length of training."""
    size: int = 8
    """Height and width that images are brought to."""
    centre: float = 1.0
    """Share of the shorter side that is seen, in the middle."""
    probe_examples: int = 10_000
    """Labelled images that the probes at the end of the run are fitted to, at most."""
    data: ImageConfig = field(default_factory=ImageConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: ADAM)
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(batch_size=128, eval_every=500, save_every=500, keep_every=500)
    )
    mesh: MeshConfig = field(default_factory=MeshConfig)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"size {self.size} must be at least 1 pixel; MNIST has 28.")
        if not 0 < self.centre <= 1:
            raise UserError(f"centre {self.centre} must be above 0 and at most 1, the whole shorter side.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image as it is seen: height, width, channels."""
        return self.size, self.size, self.data.channels


@dataclass(frozen=True)
class ImageCoding(ImageTask):
    """What becomes a code and an image again."""

    network: AutoencoderConfig = field(default_factory=AutoencoderConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.network.check(self.shape)


@dataclass(frozen=True)
class ImageAutoencoding(ImageCoding):
    """An autoencoder of images that minimises an error of pixels."""

    objective: Objective = "squared_error"
    """What is minimised: the squared error of pixels, or their cross-entropy, as Hinton & Salakhutdinov 2006 and
    Vincent et al. 2008 do. Errors are reported as squares either way."""


DIGITS = ImageCoding(
    network=AutoencoderConfig(hidden=(512,)),
    optimizer=replace(ADAM, weight_decay=0.3),
    schedule=ScheduleConfig(learning_rate=4e-3, warmup_steps=100, decay="cosine"),
)
"""scikit-learn's 1,797 digits of 8x8 pixels: offline, minutes. So few images want a strong weight decay."""

MNIST = replace(
    DIGITS,
    size=28,
    probe_examples=5_000,
    data=ImageConfig(source="mnist", canvas=28),
    network=AutoencoderConfig(hidden=(512, 256)),
    optimizer=ADAM,
    schedule=ScheduleConfig(learning_rate=2e-3, warmup_steps=100, decay="cosine"),
)
"""A folder of idx files of 28x28 gray images, named by `--data.source`: MNIST, Fashion-MNIST, KMNIST, EMNIST. Four
epochs of MNIST, for a laptop's minutes."""

LONG_MNIST = replace(
    MNIST,
    steps=46_900,
    probe_examples=10_000,
    data=ImageConfig(source="tfds:mnist", canvas=28),
    network=AutoencoderConfig(hidden=(1000, 500, 250)),
    schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=1_000, decay="cosine"),
    train=TrainConfig(batch_size=256, log_every=100, eval_every=2_345, save_every=2_345, keep_every=4_690),
)
"""200 epochs of MNIST's 60,000 images."""

CIFAR10 = ImageCoding(
    steps=97_500,
    size=32,
    data=ImageConfig(source="tfds:cifar10", canvas=32, channels=3),
    network=AutoencoderConfig(kind="convolutional", convolutional=ConvConfig(), dtype="bfloat16"),
    schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=1_000, decay="cosine"),
    train=TrainConfig(batch_size=512, log_every=100, eval_every=1_950, save_every=1_950, keep_every=9_750),
)
"""1,000 epochs of 50,000 images."""

CELEB_A = replace(
    CIFAR10,
    steps=63_600,
    size=64,
    centre=0.8,
    data=ImageConfig(source="tfds:celeb_a", canvas=218, channels=3),
    network=AutoencoderConfig(
        kind="convolutional", convolutional=ConvConfig(width=256, strides=(2, 2, 2, 2)), dtype="bfloat16"
    ),
)
"""200 epochs of 162,770 aligned faces of 218x178 pixels, of which the middle 142x142 are seen; they have no labels."""


def check_code_size(code_size: int) -> None:
    """UserError for a code that is none."""
    if not 1 <= code_size <= LARGEST_CODE:
        raise UserError(f"a code of size {code_size}: must be from 1 to {LARGEST_CODE} numbers, such as 32.")


def wire(
    config: ImageAutoencoding,
    family: Family,
    *,
    represented: str,
    headline: tuple[str, ...],
    report: Callable[[Report], None],
    evaluate: Evaluate | None = None,
) -> Experiment:
    """The experiment of a family of autoencoders.

    represented: whose code is the representation for `experiments.linear_eval`.
    """
    if len(family.encode) > 1 and config.optimizer.clip_norm:
        raise UserError(
            f"optimizer.clip_norm {config.optimizer.clip_norm} would clip the gradients of {len(family.encode)} "
            "autoencoders together, and each would depend on the others; set it to 0, or train one at a time."
        )
    return wire_images(
        config,
        family.method,
        evaluate=evaluate or family.evaluate,
        represent=family.encode[represented],
        headline=headline,
        report=report,
    )


def wire_images(
    config: ImageTask,
    method: Method,
    *,
    evaluate: Evaluate,
    represent: Represent,
    headline: tuple[str, ...],
    report: Callable[[Report], None],
) -> Experiment:
    """The experiment of any method on images as they are: data, optimiser and phase."""
    schedule = make_schedule(config.schedule, config.steps)
    batch_size, seed = config.train.batch_size, config.train.seed
    return Experiment(
        method=method,
        optimizer=make_optimizer(config.optimizer, schedule),
        train=config.train,
        mesh=config.mesh,
        phases=(Phase(config.steps, batch_shapes(config.data, batch_size), work=("images", batch_size)),),
        open_data=lambda folder: image_data(config.data, classes=0, seed=seed),
        evaluate=evaluate,
        represent=represent,
        schedules={"learning_rate": schedule},
        headline=headline,
        report=report,
    )
