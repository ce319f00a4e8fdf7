"""MoCo: contrast with a queue of keys by a momentum encoder (He et al. 2019, arXiv:1911.05722; v2 arXiv:2003.04297).

    python -m experiments.moco                            # offline, 2 minutes on 2 CPU cores
    python -m experiments.moco mnist --data.source DIR    # a folder of idx files
    python -m experiments.moco cifar10                    # ResNet-18, 800 epochs
    python -m experiments.moco imagenet --workdir gs://...    # ResNet-50, 200 epochs: linear probe 67.5 %

Shuffled batch normalisation of the reference is not needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ssl_jax.cli import main
from ssl_jax.errors import UserError
from ssl_jax.losses.joint_embedding import Queue, enqueue, info_nce, random_queue
from ssl_jax.method import Aux, Batch, Mean
from ssl_jax.methods.joint_embedding import Embedding, Network, ViewsLoss
from ssl_jax.methods.target_network import TargetConfig
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import ResNet
from ssl_jax.recipes.views import CIFAR10, DIGITS, IMAGENET, MNIST, ViewsConfig, embedding_experiment
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig

HEAD = MlpConfig(hidden=(2048,), hidden_norm=False, features=128, last_norm="none", last_bias=True)
KEYS = TargetConfig(decay=0.999, final_decay=None, start="copy")


@dataclass(frozen=True)
class Config(ViewsConfig):
    """MoCo; the defaults are those of v2."""

    temperature: float = 0.2
    """Of the softmax: similarities are divided by it."""
    queue: int = 65_536
    """Keys of earlier batches, the negatives; a multiple of train.batch_size."""
    projector: MlpConfig = HEAD
    target: TargetConfig = KEYS

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise UserError(f"temperature {self.temperature} must be above 0; the papers' are 0.07 and 0.2.")
        batch = self.train.batch_size
        if self.queue < batch or self.queue % batch:
            raise UserError(
                f"queue {self.queue} must be a multiple of train.batch_size {batch}, whose keys replace the oldest ones "
                f"together; give --queue {max(self.queue // batch, 1) * batch}."
            )


SMALL = {
    "queue": 1024,
    "projector": replace(HEAD, hidden=(128,), features=64),
    "target": replace(KEYS, decay=0.99),
}
SGD = OptimizerConfig(name="sgd", weight_decay=1e-4, no_decay="$^", clip_norm=0.0)
"""torch's SGD, which decays biases and norm parameters too."""
VIEW = replace(
    IMAGENET["views"][0], crop_area=(0.2, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1
)

PRESETS = {
    "digits": Config(**DIGITS, **SMALL),
    "mnist": Config(**MNIST, **SMALL),
    "cifar10": replace(
        Config(**CIFAR10, queue=4096, temperature=0.1, projector=replace(HEAD, hidden=())),
        steps=78_000,
        optimizer=replace(SGD, weight_decay=5e-4),
        schedule=ScheduleConfig(learning_rate=0.06, warmup_steps=0, decay="cosine"),
    ),
    "imagenet": replace(
        Config(**IMAGENET),
        steps=1_000_800,
        views=2 * (VIEW,),
        projector=replace(HEAD, dtype="bfloat16"),
        optimizer=SGD,
        schedule=ScheduleConfig(learning_rate=0.03, warmup_steps=0, decay="cosine"),
        train=replace(IMAGENET["train"], batch_size=256),
    ),
}


def momentum_contrast(config: Config) -> ViewsLoss:
    """The query of the first view against the key of the second one and the queue, which the keys then enter."""

    def loss(views: Sequence[Embedding], batch: Batch, queue: Queue) -> tuple[dict[str, Mean], Aux]:
        query, key, weights = views[0].projection, views[1].target, batch["example_weight"]
        contrast = info_nce(query, key, queue, weights, temperature=config.temperature)
        return {"moco_loss": contrast}, Aux({}, enqueue(queue, key, weights))

    return ViewsLoss(loss, lambda rng: random_queue(rng, config.queue, config.projector.features))


def build(config: Config) -> Experiment:
    """The network, its moving average as the encoder of keys, and the contrast with the queue."""
    return embedding_experiment(
        config,
        Network(ResNet(config.encoder), ProjectionMlp(config.projector)),
        momentum_contrast(config),
        headline=("moco_loss", "probe_accuracy"),
        target=config.target,
        network_views=(0,),
        target_views=(1,),
    )


if __name__ == "__main__":
    main(PRESETS, build)
