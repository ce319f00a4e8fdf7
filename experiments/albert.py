"""ALBERT: all layers share one layer's parameters; sentence order prediction (Lan et al. 2019, arXiv:1909.11942).

    python -m experiments.albert                            # offline, minutes on 2 CPU cores: MLM accuracy 27 to 29 %
    python -m experiments.albert base --workdir gs://...    # the paper's settings, for a TPU pod

BERT with four changes: the layers share their parameters, embeddings are narrower than the model, the task on pairs is
sentence order prediction, and masks cover n-grams of up to three words. Expected of base (12 M parameters, 125,000
steps of batch 4,096): SQuAD 1.1 F1 89.3, MNLI 81.6 (the paper's table 2).

The small preset has rotary positions (RoFormer, arXiv:2104.09864), with which it predicts 28.8, 26.8 and 27.2 % of the
masked words of held-out text after its 2,000 steps (seeds 0 to 2, 8 minutes each, 2 AMD cores, 28 November 2026; the
most frequent word after the left neighbour is right for 17.1 %), with learned ones 16.1 % after 2,100 of 3,000 steps;
which sentence comes first it does not learn in so few steps (52 to 55 %). Hugging Face's ALBERT has learned positions
alone: `--model.position_encoding absolute` trains a model that can be exported. `relative --model.relative_distance 64`
are those of T5 (arXiv:1910.10683).

Steps, optimiser and rates are those of google-research/albert (run_pretraining.py, optimization.py), sizes those of the
paper's table 1. LAMB corrects the bias of its means, as in its paper (arXiv:1904.00962); the code of ALBERT does not.

On TPUs: base, large, xlarge on v5e:8x8 (docs/planning.md).
"""

from dataclasses import replace

from experiments.bert import OFFLINE as BERT_OFFLINE
from experiments.bert import PAPER as BERT_PAPER
from experiments.bert import PhaseConfig, build
from ssl_jax.cli import main
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.training.sharding import MeshConfig
from ssl_jax.transforms.masking import MaskingConfig

PAPER = replace(
    BERT_PAPER,
    pair_task="sop",
    steps=125_000,
    phases=(PhaseConfig(length=512),),
    model=replace(BERT_PAPER.model, vocab_size=30_000, embedding_width=128, share_layers=True),
    masking=MaskingConfig(unit="ngram"),
    optimizer=OptimizerConfig(name="lamb"),
    schedule=ScheduleConfig(learning_rate=1.76e-3, warmup_steps=3125),
    train=replace(
        BERT_PAPER.train,
        batch_size=4096,
        micro_batches=4,  # to fit a v5e chip's 16 GiB
        eval_every=5000,
        save_every=5000,
        keep_every=25_000,
    ),
)


PRESETS = {
    "tiny": replace(
        BERT_OFFLINE,
        steps=2000,  # of twice as many layers, so that they take minutes
        pair_task="sop",
        model=replace(BERT_OFFLINE.model, layers=4, embedding_width=64, share_layers=True),
        masking=PAPER.masking,
    ),
    "base": PAPER,
    "large": replace(
        PAPER, model=replace(PAPER.model, layers=24, width=1024, heads=16, mlp_width=4096, remat="full")
    ),
    "xlarge": replace(
        PAPER,
        model=replace(PAPER.model, layers=24, width=2048, heads=16, mlp_width=8192, remat="full"),
        mesh=MeshConfig(fsdp=4),
    ),
}

if __name__ == "__main__":
    main(PRESETS, build)
