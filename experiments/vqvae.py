"""VQ-VAE: an image as a grid of discrete codes (van den Oord, Vinyals & Kavukcuoglu 2017, arXiv:1711.00937).

    python -m experiments.vqvae                              # offline, a minute: all 64 codes in use, 22.7 dB
    python -m experiments.vqvae --quantizer fsq              # or gradient, or lookup_free
    python -m experiments.vqvae mnist --data.source DIR      # idx files, 3 minutes
    python -m experiments.vqvae cifar10                      # the paper's settings: 8x8x10 codes
    python -m experiments.vqvae imagenet --workdir gs://...  # 128x128 images in 32x32 codes, as in the paper

The report says how many codes the held-out images use, and draws their reconstructions. Held-out digits, 16 codes of
64 per image, squared error per pixel and perplexity: ema .0053 and 57, gradient .0069 and 53, fsq .0060 and 46,
lookup_free .0112 and 57. No result of cifar10, celeb_a or imagenet has been measured. They differ from the paper in the
codebook, which begins with k-means and replaces codes that are not used, and in the kernels of the last layer, which
begin with zeros; --codebook.kmeans 0 --codebook.restart_below 0 leaves the first two out. celeb_a is not in the paper.

The mnist preset measures the variance of the pixels in each batch, so that it suits any idx files; with MNIST and
--variance 0.0949, that of its training images, 128 of 128 codes are in use, and the perplexity is 95.

On TPUs: imagenet on v5e:4x4 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from ssl_jax.cli import main
from ssl_jax.domains import Dtype, NonNegativeFloat, PositiveFloat, integers
from ssl_jax.methods.quantization import (
    LookupFreeConfig,
    Quantizer,
    ema_quantizer,
    fsq_quantizer,
    gradient_quantizer,
    lookup_free_quantizer,
)
from ssl_jax.methods.quantized_autoencoder import QuantizedAutoencoder, quantized_autoencoder
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.models.quantization.codebook import CodebookConfig
from ssl_jax.models.quantization.fsq import FsqConfig
from ssl_jax.recipes import datasets
from ssl_jax.recipes.autoencoders import WholeImageConfig, image_experiment, inference_by_codes
from ssl_jax.reports.quantized_autoencoder import report_quantized_autoencoder
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(WholeImageConfig):
    """VQ-VAE, its first stage: the codes."""

    variance: PositiveFloat | None = 0.141
    """Of the data's pixels in [0, 1]; the squared error is divided by it. None: measured, in each batch."""
    quantizer: Literal["ema", "gradient", "fsq", "lookup_free"] = "ema"
    """A codebook of moving averages or one moved by the gradient, finite scalars (arXiv:2309.15505), or signs
    (arXiv:2310.05737)."""
    codebook: CodebookConfig = field(default_factory=lambda: CodebookConfig(codes=64, width=16))
    """Of ema and gradient."""
    commitment: NonNegativeFloat = 0.25
    """Weight of the distance of the encoder's vectors to their codes, the paper's beta; of ema and gradient."""
    fsq: FsqConfig = field(default_factory=lambda: FsqConfig((4, 4, 4)))
    lookup_free: LookupFreeConfig = field(default_factory=lambda: LookupFreeConfig(bits=6))
    latents: Annotated[int, integers(1, 1_000)] = 1
    """Codes at each place of the grid, all of one codebook."""
    network: ConvConfig = field(
        default_factory=lambda: ConvConfig(width=32, strides=(2,), residual_blocks=1, residual_width=16)
    )
    dtype: Dtype = "float32"
    """Of the network's computation."""

    def check_relations(self) -> None:
        super().check_relations()
        self.network.coarse((self.size, self.size))


MNIST = Config(
    size=datasets.MNIST.size,
    variance=None,  # 0.0949 for MNIST, 0.1246 for Fashion-MNIST
    codebook=CodebookConfig(codes=128, width=32),
    fsq=FsqConfig((5, 5, 5)),
    lookup_free=LookupFreeConfig(bits=7),
    network=ConvConfig(width=64, residual_blocks=1, residual_width=32),
    probe_examples=2_000,  # of 49 x 32 numbers
    data=datasets.MNIST.data,
)

LARGE = Config(
    steps=250_000,
    size=datasets.CIFAR10.size,
    variance=0.0632,
    codebook=CodebookConfig(),
    fsq=FsqConfig((8, 8, 8)),
    lookup_free=LookupFreeConfig(bits=9),
    network=ConvConfig(width=256, residual_width=256),
    dtype="bfloat16",
    data=datasets.CIFAR10.data,
    schedule=ScheduleConfig(learning_rate=2e-4, warmup_steps=0, decay="constant"),
    train=TrainConfig(batch_size=128, log_every=100, eval_every=5_000, save_every=5_000, keep_every=25_000),
)
"""The paper's section 4.1: strides 2 2, two residual blocks, 256 channels; Adam 2e-4, 250,000 steps of 128. It has 512
codes on ImageNet (4.2) and does not say how long their vectors are; 64 numbers, and half of the channels in the first
layer, are the authors' code's (google-deepmind/sonnet, examples/vqvae_example.ipynb)."""

PRESETS = {
    "digits": Config(),
    "mnist": MNIST,
    "tfds_mnist": replace(MNIST, data=datasets.TFDS_MNIST.data, steps=20_000),
    # A field of 8x8x10 codes (section 3.2), and 256 channels in all layers (4.1).
    "cifar10": replace(LARGE, latents=10, network=replace(LARGE.network, fine_width=256)),
    "celeb_a": replace(
        LARGE,
        size=datasets.CELEB_A.size,
        centre=datasets.CELEB_A.centre,
        variance=0.09,
        data=datasets.CELEB_A.data,
    ),
    "imagenet": replace(
        LARGE,
        size=128,
        centre=datasets.IMAGENET.centre,
        variance=0.075,
        data=replace(datasets.IMAGENET.data, canvas=160),
    ),
}


def make_quantizer(config: Config) -> Quantizer:
    """The one that was chosen."""
    match config.quantizer:
        case "ema":
            return ema_quantizer(config.codebook, config.commitment)
        case "gradient":
            return gradient_quantizer(config.codebook, config.commitment)
        case "fsq":
            return fsq_quantizer(config.fsq)
        case "lookup_free":
            return lookup_free_quantizer(config.lookup_free)


def make_autoencoder(config: Config) -> QuantizedAutoencoder:
    """Network and quantiser."""
    return quantized_autoencoder(
        config.network,
        make_quantizer(config),
        size=config.size,
        channels=config.data.channels,
        latents=config.latents,
        centre=config.centre,
        variance=config.variance,
        dtype=config.dtype,
    )


def build(config: Config) -> Experiment:
    """Method, data and optimiser, wired."""
    made = make_autoencoder(config)
    return image_experiment(
        config,
        made.method,
        represent=made.represent,
        headline=("loss", "error", "perplexity"),
        report=lambda report: report_quantized_autoencoder(
            report, made, probe_examples=config.probe_examples, seed=config.train.seed
        ),
        inference=inference_by_codes(
            lambda params, extras, batch: made.encode(params, extras, made.preprocess(batch)), made.decode
        ),
    )


if __name__ == "__main__":
    main(PRESETS, build)
