"""Multilingual BERT: masked words of several languages, with one vocabulary (github.com/google-research/bert).

    python -m experiments.multilingual_bert                                       # offline, English and a fake language
    python -m experiments.multilingual_bert --data.sources en=english.txt de=german.txt
    python -m experiments.multilingual_bert base --workdir gs://...               # 15 languages, for a TPU pod

Nothing says that a word of one language means the same as one of another; that the model aligns them all the same is
what experiments.crosslingual_alignment measures. Languages are sampled by their size to the power of 0.7, and every
Chinese character is a piece of its own, as in the reference (multilingual.md there).

Offline, the second language is an artificial one: other documents of the same source, with the ids of all pieces
shifted (K et al. 2020, arXiv:1912.07840; Dufter and Schuetze 2020, arXiv:2005.00396). It shares special tokens alone
with the first, and its dictionary is known. The report has, for each language, the loss, the accuracy beside counts of
neighbours, the tokens per word and the share of unknown characters.

The default (seed 0, 27 November 2026) predicts 31 % of the masked tokens of each language; what it aligns stands in
experiments/crosslingual_alignment.py. No result of the large preset has been measured. It has the settings of BERT and
the vocabulary's size and case of the reference's cased model, which knows 104 languages, and rows of 128 tokens to the
end. Published for the uncased model of 102 languages, fine-tuned on English alone: XNLI 81.4 % in English, 70.5 in
German, 74.3 in Spanish, 63.8 in Chinese (multilingual.md).

On TPUs: base on v5e:4x4 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

from experiments.bert import PAPER
from ssl_jax.cli import main
from ssl_jax.data.languages import LanguagesConfig, heldout_rows, open_languages, training_mixture
from ssl_jax.data.pretraining_text import PairTask, bert_batch_shapes, bert_rows
from ssl_jax.data.tokenizer_files import preprocessing
from ssl_jax.domains import Length
from ssl_jax.errors import UserError
from ssl_jax.hub.bert import load_bert, save_bert
from ssl_jax.hub.tokenizer_files import save_tokenizer
from ssl_jax.methods.bert import pretraining
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.models.bert import BertConfig
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.reports.languages import report_languages
from ssl_jax.training.experiment import Data, Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.masking import MaskingConfig


@dataclass(frozen=True)
class Config(RunConfig):
    """Pretraining on several languages."""

    pair_task: PairTask = "none"
    """On the two segments of a row, as in experiments.bert; none: rows are packed with whole documents, or hold one
    sentence each."""
    one_sentence: bool = False
    """Whether each row is one sentence; for pair_task none."""
    length: Length = 128
    """Tokens per row."""
    own_positions: bool = False
    """Whether each language has position embeddings of its own; the model must have length positions for each."""
    data: LanguagesConfig = field(default_factory=LanguagesConfig)
    model: BertConfig = field(default_factory=BertConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(name="bert_adam"))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            batch_size=256, log_every=100, eval_every=10_000, save_every=10_000, keep_every=50_000
        )
    )

    def check_relations(self) -> None:
        super().check_relations()
        if self.own_positions and self.pair_task != "none":
            raise UserError(
                f"own_positions True: needs rows without a task on pairs, not pair_task {self.pair_task}; give "
                "--pair_task none."
            )
        if self.own_positions and self.model.position_encoding != "absolute":
            raise UserError(
                f"own_positions True: needs absolute positions, not model.position_encoding "
                f"{self.model.position_encoding}. Give one of the two."
            )
        if self.one_sentence and self.pair_task != "none":
            raise UserError(
                f"one_sentence True: pair_task {self.pair_task} needs two segments in a row; give --pair_task none."
            )
        needed = self.length * (len(self.data.sources) if self.own_positions else 1)
        if self.model.positions < needed:
            raise UserError(
                f"model.positions {self.model.positions}: {needed} are needed; give --model.positions {needed}."
            )
        if self.pair_task != "none" and not self.model.pooler:
            raise UserError(
                f"model.pooler False: pair_task {self.pair_task} classifies pairs by the pooler's output; give "
                "--model.pooler True or --pair_task none."
            )


# Few and narrow layers: a large model learns two languages apart from each other (Dufter and Schuetze 2020). Large
# batches of short rows, which begin where a sentence begins: with 64 packed rows of 32 tokens, 3,000 steps end where
# frequent words alone are predicted, and nothing is aligned.
OFFLINE = Config(
    steps=2000,
    length=24,
    one_sentence=True,
    data=LanguagesConfig(heldout_rows=256),
    model=BertConfig(
        vocab_size=2000,
        positions=24,
        layers=2,
        width=64,
        heads=4,
        mlp_width=256,
        dropout=0.0,
        attention_dropout=0.0,
        initializer_stddev=0.05,
    ),
    optimizer=OptimizerConfig(name="adamw", beta2=0.98),
    schedule=ScheduleConfig(learning_rate=3e-3, warmup_steps=200),
    train=TrainConfig(batch_size=192, log_every=50, eval_every=500, save_every=500, keep_every=500),
)

XNLI_LANGUAGES = ("en", "fr", "es", "de", "el", "bg", "ru", "tr", "ar", "vi", "th", "zh", "hi", "sw", "ur")

PRESETS = {
    "tiny": OFFLINE,
    "base": Config(
        steps=PAPER.steps,
        pair_task="nsp",
        data=LanguagesConfig(
            sources=tuple(f"{name}=tfds:wikipedia/20230601.{name}" for name in XNLI_LANGUAGES),
            lowercase=False,
        ),
        model=replace(PAPER.model, vocab_size=119_547),
        schedule=PAPER.schedule,
    ),
}


def build(config: Config) -> Experiment:
    """BERT's masked words on a mixture of languages, evaluated on each of them."""
    tasks = pretraining(
        config.model,
        masking=config.masking,
        pair_task=config.pair_task,
        special=config.data.special_with_mask,
    )
    make_rows = bert_rows(config.pair_task, sentences=config.one_sentence)

    def open_data(folder) -> Data:  # noqa: ANN001
        opened = open_languages(config.data, folder, vocab_size=config.model.vocab_size)
        mixture = training_mixture(
            opened,
            make_rows,
            config.length,
            batch_size=config.train.batch_size,
            seed=config.train.seed,
            own_positions=config.own_positions,
        )
        most = config.data.heldout_rows
        heldout = heldout_rows(opened, make_rows, config.length, most, own_positions=config.own_positions)
        return Data(
            train=(mixture,),
            heldout=(heldout,),
            identity={
                "tokenizer": opened.tokenizer.fingerprint,
                **{language.name: language.training.fingerprint for language in opened.languages},
            },
            details=opened,
            preprocessing=preprocessing(opened.tokenizer),
        )

    def export(folder, variables, tokenizer) -> None:  # noqa: ANN001
        if config.own_positions:
            raise UserError(
                f"{folder}: transformers' BERT has no positions of its own for each language; export a run with "
                "--own_positions False."
            )
        save_bert(folder, config.model, variables["params"])
        save_tokenizer(folder, tokenizer, config.model.positions)

    return make_experiment(
        config,
        tasks.method,
        phases=one_phase(
            config,
            bert_batch_shapes(config.pair_task, config.train.batch_size, config.length),
            "tokens",
            config.length,
        ),
        open_data=open_data,
        rules=TRANSFORMER,
        headline=("mlm_loss", "mlm_accuracy"),
        report=lambda report: report_languages(report, config.steps * config.train.batch_size),
        import_weights=lambda path: load_bert(path)[1],
        export=export,
    )


if __name__ == "__main__":
    main(PRESETS, build)
