"""What experiments on spoilt text share: their configuration, the offline preset's sizes, and the wiring."""

from dataclasses import dataclass, field

from etils import epath

from ssl_jax.data.passages import batch_shapes
from ssl_jax.data.pretraining_text import TextConfig, open_pretraining_text, passage_rows
from ssl_jax.methods.denoising import Noise, denoising
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.models.encoder_decoder import EncoderDecoderConfig
from ssl_jax.reports.denoising import Restoration, report_restoration, write_samples
from ssl_jax.training.experiment import Data, Experiment, Phase, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig, make_optimizer
from ssl_jax.training.schedules import ScheduleConfig, make_schedule
from ssl_jax.training.sharding import MeshConfig

SMALL = EncoderDecoderConfig(
    vocab_size=2000,
    positions=48,
    layers=2,
    decoder_layers=2,
    width=128,
    heads=4,
    mlp_width=512,
    dropout=0.0,
    attention_dropout=0.0,
    norm="pre",
    initializer_stddev=0.05,
)
"""For a laptop. Normalised before each block and drawn wider than in the papers, the decoder finds within some hundred
steps which token of the source to copy; in so short a run that is most of what there is to find."""


WIKIPEDIA = TextConfig(source="tfds:wikipedia/20230601.en", lowercase=False, heldout_share=0.005)
"""For pods."""


@dataclass(frozen=True)
class DenoisingPretraining:
    """Pretraining on spoilt text; the defaults are small enough for a laptop."""

    steps: int = 1200
    """Length of training."""
    length: int = 48
    """Tokens of a row of text, [BOS] and [EOS] included."""
    data: TextConfig = field(default_factory=TextConfig)
    model: EncoderDecoderConfig = SMALL
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(beta2=0.98))
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=2e-3, warmup_steps=200)
    )
    train: TrainConfig = field(default_factory=TrainConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)


def wire(
    config: DenoisingPretraining,
    noise: Noise,
    restoration: Restoration,
    *,
    length: int | None = None,
    reserved: int = 0,
) -> Experiment:
    """The experiment of a noise: rows of text, model, optimiser, held-out figures and what was restored.

    length: tokens of the rows to spoil, where that is not `config.length`.
    reserved: ids at the end of the vocabulary that no text has.
    """
    length = config.length if length is None else length
    schedule = make_schedule(config.schedule, config.steps)
    task = denoising(config.model, noise)

    def open_data(folder: epath.Path) -> Data:
        text = open_pretraining_text(
            config.data,
            folder,
            make_rows=passage_rows,
            vocab_size=config.model.vocab_size,
            lengths=[length],
            batch_size=config.train.batch_size,
            seed=config.train.seed,
            reserved=reserved,
        )
        heldout = tuple({"heldout": rows} for rows in text.heldout)
        return Data(train=text.train, heldout=heldout, identity=text.identity, details=text)

    batch_size = config.train.batch_size
    return Experiment(
        method=task.method,
        optimizer=make_optimizer(config.optimizer, schedule),
        train=config.train,
        mesh=config.mesh,
        phases=(Phase(config.steps, batch_shapes(batch_size, length), work=("tokens", batch_size * length)),),
        open_data=open_data,
        evaluate=task.evaluate,
        rules=TRANSFORMER,
        schedules={"learning_rate": schedule},
        headline=("token_loss", "token_accuracy", "exact_accuracy"),
        sample=lambda report: write_samples(report, restoration),
        report=lambda report: report_restoration(report, restoration),
        decoder=restoration.decoder,
    )
