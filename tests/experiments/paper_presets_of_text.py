"""What the presets on text claim of papers: (experiment, preset, field, value, where it was read)."""

BERT = "arXiv:1810.04805, section 3 and appendix A.2"
BERT_CODE = "google-research/bert, optimization.py, create_pretraining_data.py"
SMALL_BERT = "google-research/bert, README.md (arXiv:1908.08962)"
FINE_TUNING = "arXiv:1810.04805, section 4.1 and appendix A.3"
SQUAD, SQUAD2 = "arXiv:1810.04805, section 4.2", "arXiv:1810.04805, section 4.3"
RUN_SQUAD = "google-research/bert, run_squad.py"
MULTILINGUAL = "google-research/bert, multilingual.md"
ALBERT = "google-research/albert, run_pretraining.py, optimization.py"
ALBERT_SIZES = "arXiv:1909.11942, table 1"
ALBERT_PAPER = "arXiv:1909.11942, sections 3.1 and 4.1"
NANOGPT = "karpathy/nanoGPT, train.py, config/train_gpt2.py"
SHAKESPEARE = "karpathy/nanoGPT, README.md (a CPU), config/train_shakespeare_char.py, train.py"
GPT2 = "Radford et al. 2019, table 2"
GPT3 = "arXiv:2005.14165, table 2.1"
BART = "arXiv:1910.13461, section 5.1"
BART_BASE = "arXiv:1910.13461, sections 2.1 and 4"
ROBERTA = "arXiv:1907.11692, table 9"
ROBERTA_CODE = (
    "facebookresearch/fairseq, examples/roberta, README.pretraining.md, config/pretraining/base.yaml"
)
MASS = "microsoft/MASS, README.md (unsupervised NMT, pre-training)"
MASS_CODE = "microsoft/MASS, MASS-unsupNMT/src/utils.py, train.py"
MASS_PAPER = "arXiv:1905.02450, sections 3.2 and 4.1"
T5 = "arXiv:1910.10683, sections 3.1.1 to 3.1.4"

ADAM_OF_BERT = {
    "optimizer.name": "bert_adam",
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.999,
    "optimizer.epsilon": 1e-6,
    "optimizer.weight_decay": 0.01,
    "optimizer.no_decay": "(bias|scale)$",
    "optimizer.clip_norm": 1.0,
}
MASKS = {"masking.rate": 0.15, "masking.mask_prob": 0.8, "masking.random_prob": 0.1, "masking.unit": "token"}


def sizes(layers, width, heads, mlp_width):
    return {
        "model.layers": layers,
        "model.width": width,
        "model.heads": heads,
        "model.mlp_width": mlp_width,
    }


def bert(*shape):
    return [
        (BERT, {"steps": 1_000_000, "train.batch_size": 256, "pair_task": "nsp"}),
        (
            BERT,
            {"phases.0.length": 128, "phases.0.share": 0.9, "phases.1.length": 512, "phases.1.share": 0.1},
        ),
        (BERT, {"schedule.learning_rate": 1e-4, "schedule.warmup_steps": 10_000, "schedule.decay": "linear"}),
        (BERT, {"model.dropout": 0.1, "model.attention_dropout": 0.1, "model.vocab_size": 30_522}),
        (BERT_CODE, ADAM_OF_BERT | MASKS | {"schedule.final_fraction": 0.0}),
        ("google-research/bert, modeling.py", {"model.activation": "gelu_tanh", "model.norm_epsilon": 1e-12}),
        (BERT if shape[0] > 4 else SMALL_BERT, sizes(*shape)),
    ]


def albert(*shape):
    return [
        (ALBERT, {"steps": 125_000, "train.batch_size": 4096, "phases.0.length": 512}),
        (ALBERT, {**ADAM_OF_BERT, "optimizer.name": "lamb"}),
        (
            ALBERT,
            {"schedule.learning_rate": 1.76e-3, "schedule.warmup_steps": 3125, "schedule.decay": "linear"},
        ),
        (ALBERT_PAPER, {"pair_task": "sop", "masking.unit": "ngram", "masking.max_ngram": 3}),
        (
            ALBERT_PAPER,
            {"model.share_layers": True, "model.embedding_width": 128, "model.vocab_size": 30_000},
        ),
        (ALBERT_SIZES, sizes(*shape)),
    ]


def gpt2(rate, rate_source, *shape):
    return [
        (
            NANOGPT,
            {"steps": 600_000, "optimizer.name": "adamw", "optimizer.beta1": 0.9, "optimizer.beta2": 0.95},
        ),
        (NANOGPT, {"optimizer.weight_decay": 0.1, "optimizer.clip_norm": 1.0, "schedule.warmup_steps": 2000}),
        (NANOGPT, {"schedule.decay": "cosine", "schedule.final_fraction": 0.1, "model.dropout": 0.0}),
        (rate_source, {"schedule.learning_rate": rate}),
        (GPT2, {"length": 1024, "train.batch_size": 512, "model.vocab_size": 50_257}),
        (GPT2, {"model.layers": shape[0], "model.width": shape[1], "model.heads": shape[2]}),
    ]


def fine_tuned(steps, rate, length=128, batch=32, source=FINE_TUNING):
    return [
        (
            source,
            {"steps": steps, "train.batch_size": batch, "schedule.learning_rate": rate, "length": length},
        ),
        (source, {"encoder.dropout": 0.1, "encoder.attention_dropout": 0.1, "encoder.head_dropout": 0.1}),
        (BERT_CODE, ADAM_OF_BERT | {"schedule.decay": "linear", "schedule.final_fraction": 0.0}),
        (RUN_SQUAD, {"schedule.warmup_steps": steps // 10}),
    ]


GLUE_EXAMPLES = {
    "cola": 8551,
    "sst2": 67_349,
    "mrpc": 3668,
    "qqp": 363_846,
    "stsb": 5749,
    "mnli": 392_702,
    "qnli": 104_743,
    "rte": 2490,
    "wnli": 635,
}

STATED = {
    ("bert", "mini"): bert(4, 256, 4, 1024),
    ("bert", "small"): bert(4, 512, 8, 2048),
    ("bert", "base"): bert(12, 768, 12, 3072),
    ("bert", "large"): bert(24, 1024, 16, 4096),
    ("albert", "base"): albert(12, 768, 12, 3072),
    ("albert", "large"): albert(24, 1024, 16, 4096),
    ("albert", "xlarge"): albert(24, 2048, 16, 8192),
    ("gpt2", "characters"): [
        (SHAKESPEARE, {"steps": 2000, "length": 64, "train.batch_size": 12, "model.positions": 64}),
        (SHAKESPEARE, {"model.layers": 4, "model.heads": 4, "model.width": 128, "model.mlp_width": 512}),
        (SHAKESPEARE, {"model.dropout": 0.0, "model.attention_dropout": 0.0, "optimizer.name": "adamw"}),
        (SHAKESPEARE, {"optimizer.beta1": 0.9, "optimizer.beta2": 0.99, "optimizer.weight_decay": 0.1}),
        (
            SHAKESPEARE,
            {"optimizer.clip_norm": 1.0, "schedule.learning_rate": 1e-3, "schedule.decay": "cosine"},
        ),
        (SHAKESPEARE, {"schedule.warmup_steps": 100, "schedule.final_fraction": 0.1}),
    ],
    ("gpt2", "small"): gpt2(6e-4, NANOGPT, 12, 768, 12),
    ("gpt2", "medium"): gpt2(3e-4, GPT3, 24, 1024, 16),
    ("gpt2", "large"): gpt2(2.5e-4, GPT3, 36, 1280, 20),
    ("gpt2", "xl"): gpt2(2e-4, GPT3, 48, 1600, 25),
    ("bart", "base"): [
        (BART_BASE, {"steps": 1_000_000, "model.layers": 6, "model.decoder_layers": 6, "model.width": 768}),
        (BART_BASE, {"noise.infilling": 0.3, "noise.permutation": 1.0, "noise.mean_span": 3.0}),
        (ROBERTA_CODE, {"train.batch_size": 256, "schedule.learning_rate": 1e-4, "length": 512}),
        (
            ROBERTA_CODE,
            {"schedule.warmup_steps": 10_000, "schedule.decay": "linear", "optimizer.beta2": 0.98},
        ),
        (
            ROBERTA_CODE,
            {"optimizer.epsilon": 1e-6, "optimizer.weight_decay": 0.01, "optimizer.clip_norm": 0.0},
        ),
        (ROBERTA_CODE, {"model.dropout": 0.1, "model.attention_dropout": 0.1, "share_without_dropout": 0.0}),
    ],
    ("bart", "large"): [
        (BART, {"steps": 500_000, "train.batch_size": 8000, "share_without_dropout": 0.1}),
        (BART, {"noise.infilling": 0.3, "noise.permutation": 1.0, "noise.mean_span": 3.0}),
        (BART, {"model.layers": 12, "model.decoder_layers": 12, "model.width": 1024}),
        (
            ROBERTA,
            {"schedule.learning_rate": 4e-4, "schedule.warmup_steps": 30_000, "schedule.decay": "linear"},
        ),
        (ROBERTA, {"optimizer.beta1": 0.9, "optimizer.beta2": 0.98, "optimizer.epsilon": 1e-6}),
        (ROBERTA, {"optimizer.weight_decay": 0.01, "optimizer.clip_norm": 0.0, "model.dropout": 0.1}),
        (ROBERTA, {"model.attention_dropout": 0.1, "model.mlp_width": 4096, "model.heads": 16}),
    ],
    ("mass", "base"): [
        (MASS, {"model.layers": 6, "model.decoder_layers": 6, "model.width": 1024, "model.heads": 8}),
        (MASS, {"model.dropout": 0.1, "model.attention_dropout": 0.1, "noise.share": 0.5}),
        (MASS, {"optimizer.beta1": 0.9, "optimizer.beta2": 0.98, "schedule.learning_rate": 1e-4}),
        (
            MASS_CODE,
            {"schedule.warmup_steps": 4000, "schedule.decay": "rsqrt", "optimizer.weight_decay": 0.0},
        ),
        (MASS_CODE, {"optimizer.epsilon": 1e-8, "optimizer.clip_norm": 5.0}),
        (MASS_PAPER, {"model.vocab_size": 60_000, "model.mlp_width": 4096}),
        (MASS_PAPER, {"noise.mask_prob": 0.8, "noise.random_prob": 0.1}),
    ],
    ("t5", "base"): [
        (T5, {"steps": 2**19, "train.batch_size": 128, "length": 512, "schedule.decay": "rsqrt"}),
        (T5, {"model.layers": 12, "model.decoder_layers": 12, "model.width": 768, "model.heads": 12}),
        (T5, {"model.mlp_width": 3072, "model.dropout": 0.1, "model.activation": "relu"}),
        (T5, {"noise.density": 0.15, "noise.mean_span": 3.0, "model.vocab_size": 32_128}),
        (T5, {"model.position_encoding": "relative", "model.relative_buckets": 32}),
        (T5, {"model.relative_distance": 128}),
    ],
    ("multilingual_bert", "base"): [
        (MULTILINGUAL, {**sizes(12, 768, 12, 3072), "model.vocab_size": 119_547, "data.lowercase": False}),
        (BERT, {"steps": 1_000_000, "train.batch_size": 256, "pair_task": "nsp"}),
        (BERT, {"schedule.learning_rate": 1e-4, "schedule.warmup_steps": 10_000}),
        (BERT_CODE, ADAM_OF_BERT | MASKS),
        ("google-research/bert, multilingual.md: exponent of the sizes", {"data.alpha": 0.7}),
    ],
    **{("glue", task): fine_tuned(3 * examples // 32, 2e-5) for task, examples in GLUE_EXAMPLES.items()},
    ("sequence_classification", "base"): fine_tuned(3 * 67_349 // 32, 2e-5),
    ("sequence_classification", "large"): fine_tuned(3 * 67_349 // 32, 2e-5),
    ("pair_classification", "mnli"): fine_tuned(3 * 392_702 // 32, 2e-5),
    ("pair_classification", "stsb"): fine_tuned(3 * 5749 // 32, 2e-5),
    ("token_classification", "conll2003"): fine_tuned(1317, 5e-5),
    ("question_answering", "squad"): [
        *fine_tuned(8300, 5e-5, length=384, source=SQUAD),
        (RUN_SQUAD, {"data.step": 128, "data.longest_question": 64, "data.longest_answer": 30}),
    ],
    ("question_answering", "squad2"): [
        *fine_tuned(5500, 5e-5, length=384, batch=48, source=SQUAD2),
        (RUN_SQUAD, {"data.step": 128, "data.longest_question": 64, "data.longest_answer": 30}),
    ],
}

DEVIATIONS = [  # (experiment, preset, field, ours, theirs, source); the experiment's docstring says so
    ("mass", "base", "length", 256, "single sentences", MASS_PAPER),
    ("mass", "base", "train.batch_size", 256, "3,000 tokens on each GPU", MASS),
    ("t5", "base", "optimizer.name", "adamw", "adafactor", T5),
    ("t5", "base", "schedule.learning_rate", 1e-3, 1e-2, T5),
    ("multilingual_bert", "base", "length", 128, (128, 512), BERT),
]
