"""What the presets on speech claim of papers: (experiment, preset, field, value, where it was read)."""

WAV2VEC2 = "arXiv:2006.11477, sections 3 and 4.2, appendix B"
WAV2VEC2_BASE = "facebookresearch/fairseq, examples/wav2vec/config/pretraining/wav2vec2_base_librispeech.yaml"
WAV2VEC2_LARGE = "facebookresearch/fairseq, examples/wav2vec/config/pretraining/wav2vec2_large_librivox.yaml"
FAIRSEQ = "facebookresearch/fairseq, fairseq/models/wav2vec/wav2vec2.py"
HUBERT = "arXiv:2106.07447, sections 3 and 4.2"
HUBERT_BASE = "facebookresearch/fairseq, examples/hubert/config/pretrain/hubert_base_librispeech.yaml"
CPC = "arXiv:1807.03748, section 3.1"

ADAM = {
    "optimizer.name": "adamw",
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.98,
    "optimizer.epsilon": 1e-6,
    "optimizer.weight_decay": 0.01,
    "schedule.decay": "linear",
    "schedule.final_fraction": 0.0,
}
CONVOLUTIONS = {
    "model.conv_width": 512,
    "model.kernels": (10, 3, 3, 3, 3, 2, 2),
    "model.strides": (5, 2, 2, 2, 2, 2, 2),
    "model.positional_kernel": 128,
    "model.positional_groups": 16,
}
BASE_SIZE = {
    "model.layers": 12,
    "model.width": 768,
    "model.heads": 12,
    "model.mlp_width": 3072,
    "model.norm": "post",
    "model.conv_norm": "group",
    "model.conv_bias": False,
}
BASE_RATES = {
    "model.dropout": 0.1,
    "model.attention_dropout": 0.1,
    "model.feature_dropout": 0.1,
    "model.feature_gradient": 0.1,
}
LARGE_SIZE = {
    "model.layers": 24,
    "model.width": 1024,
    "model.heads": 16,
    "model.mlp_width": 4096,
    "model.norm": "pre",
    "model.conv_norm": "layer",
    "model.conv_bias": True,
}
MASKED_CONTRAST = {
    "masking.start_probability": 0.065,
    "masking.span": 10,
    "contrast.negatives": 100,
    "contrast.temperature": 0.1,
    "contrast.diversity": 0.1,
    "quantizer.groups": 2,
    "quantizer.codes": 320,
}
HUBERT_OBJECTIVE = {
    "masking.start_probability": 0.08,
    "masking.span": 10,
    "units.temperature": 0.1,
    "units.layer": 6,
}

ADAIN = "jjery2243542/adaptive_voice_conversion, config.yaml, train.sh, solver.py"
ADVERSARIAL = "jjery2243542/voice_conversion, vctk.json, solver.py"

STATED = {
    ("voice_conversion", "vctk"): [
        (
            ADAIN,
            {
                "network.width": 128,
                "network.bank": 8,
                "network.kernel": 5,
                "network.blocks": 6,
                "network.halvings": 3,
                "network.dense_blocks": 6,
                "network.content_size": 128,
                "network.speaker_size": 128,
                "features.mels": 512,
                "data.rate": 24_000,
                "loss.reconstruction": 10.0,
                "loss.kl": 1.0,
                "loss.kl_warmup_steps": 20_000,
                "optimizer.name": "amsgrad",
                "optimizer.beta1": 0.9,
                "optimizer.beta2": 0.999,
                "optimizer.weight_decay": 1e-4,
                "optimizer.clip_norm": 5.0,
                "schedule.learning_rate": 5e-4,
                "schedule.decay": "constant",
                "train.batch_size": 128,
                "steps": 500_000,
            },
        ),
    ],
    ("adversarial_voice_conversion", "vctk"): [
        (
            ADVERSARIAL,
            {
                "steps": 158_000,
                "stages.autoencoder": 8_000 / 158_000,
                "stages.classifier": 20_000 / 158_000,
                "stages.adversarial": 80_000 / 158_000,
                "stages.confusion": 0.01,
                "stages.confusion_warmup": 50_000 / 80_000,
                "stages.penalty": 10.0,
                "network.width": 512,
                "network.bank": 7,
                "network.content_size": 512,
                "optimizer.beta1": 0.5,
                "optimizer.beta2": 0.9,
                "optimizer.clip_norm": 5.0,
                "schedule.learning_rate": 1e-4,
                "schedule.decay": "constant",
                "train.batch_size": 32,
            },
        ),
    ],
    ("apc", "librispeech"): [
        (
            "iamyuanchung/Autoregressive-Predictive-Coding, train_apc.py",
            {
                "network.layers": 3,
                "network.width": 512,
                "features.mels": 80,
                "optimizer.name": "adamw",
                "optimizer.weight_decay": 0.0,
                "optimizer.clip_norm": 1.0,
                "schedule.learning_rate": 1e-4,
                "schedule.warmup_steps": 0,
                "schedule.decay": "constant",
                "train.batch_size": 32,
                "data.source": "tfds:librispeech:train_clean360",
            },
        ),
        ("s3prl/s3prl, s3prl/pretrain/apc/config_model.yaml", {"ahead": 5}),
    ],
    ("speech_units", "librispeech"): [
        (
            "arXiv:1901.08810",
            {
                "features.kind": "mfcc",
                "features.cepstra": 13,
                "features.deltas": 2,
                "network.strides": (2,),
                "augmentation.segment": 0.32,
                "train.batch_size": 64,
            },
        ),
        (
            "swasun/VQ-VAE-Speech, configurations/vctk_features.yaml",
            {
                "network.width": 768,
                "network.residual_blocks": 2,
                "codebook.width": 64,
                "codebook.decay": 0.99,
                "commitment": 0.25,
                "jitter": 0.12,
            },
        ),
        (
            "bshall/ZeroSpeech, config/model/default.yaml and config/training/default.yaml",
            {
                "codebook.codes": 512,
                "network.speaker_width": 64,
                "schedule.learning_rate": 4e-4,
                "steps": 500_000,
            },
        ),
    ],
    ("mockingjay", "librispeech"): [
        (
            "arXiv:1910.12638, sections 2 and 3",
            {
                "network.layers": 3,
                "network.width": 768,
                "network.heads": 12,
                "network.mlp_width": 3072,
                "masks.share": 0.15,
                "masks.run": 7,
            },
        ),
        (
            "s3prl/s3prl, s3prl/pretrain/mockingjay/config_runner.yaml",
            {
                "steps": 1_000_000,
                "optimizer.clip_norm": 5.0,
                "schedule.learning_rate": 2e-4,
                "schedule.warmup_steps": 70_000,
                "train.batch_size": 32,
            },
        ),
    ],
    ("wav2vec2", "base"): [
        (WAV2VEC2, BASE_SIZE | CONVOLUTIONS | MASKED_CONTRAST),
        (WAV2VEC2, {"steps": 400_000, "schedule.learning_rate": 5e-4, "schedule.warmup_steps": 32_000}),
        (WAV2VEC2_BASE, ADAM | BASE_RATES | {"contrast.penalty": 10.0, "normalise": False}),
        (WAV2VEC2_BASE, {"quantizer.code_width": 256, "quantizer.projection_width": 256}),
        (
            FAIRSEQ,
            {
                "masking.least_spans": 2,
                "contrast.first_temperature": 2.0,
                "contrast.last_temperature": 0.5,
                "contrast.temperature_decay": 0.999995,
            },
        ),
    ],
    ("wav2vec2", "large"): [
        (WAV2VEC2, LARGE_SIZE | CONVOLUTIONS | MASKED_CONTRAST),
        (WAV2VEC2, {"steps": 250_000, "schedule.learning_rate": 3e-4, "schedule.warmup_steps": 20_000}),
        (
            WAV2VEC2_LARGE,
            ADAM
            | {
                "model.dropout": 0.0,
                "model.attention_dropout": 0.0,
                "model.feature_dropout": 0.0,
                "model.feature_gradient": 1.0,
                "contrast.penalty": 0.0,
                "contrast.last_temperature": 0.1,
                "quantizer.code_width": 768,
                "quantizer.projection_width": 768,
                "normalise": True,
                "augmentation.segment": 20.0,
            },
        ),
    ],
    ("hubert", "base"): [
        (HUBERT, BASE_SIZE | CONVOLUTIONS | HUBERT_OBJECTIVE | {"units.units": 100, "steps": 250_000}),
        (HUBERT, {"schedule.learning_rate": 5e-4, "schedule.warmup_steps": 20_000}),
        (HUBERT_BASE, ADAM | BASE_RATES | {"units.penalty": 10.0, "optimizer.clip_norm": 10.0}),
        (HUBERT_BASE, {"projection_width": 256, "normalise": False}),
    ],
    ("hubert", "base_second"): [
        (HUBERT, BASE_SIZE | CONVOLUTIONS | HUBERT_OBJECTIVE | {"units.units": 500, "steps": 400_000}),
        (HUBERT, {"schedule.learning_rate": 5e-4, "schedule.warmup_steps": 32_000}),
        (HUBERT, {"first_units": 100, "first_steps": 250_000}),
        (HUBERT_BASE, ADAM | BASE_RATES | {"units.penalty": 10.0, "optimizer.clip_norm": 10.0}),
    ],
    ("cpc", "librispeech"): [
        (
            CPC,
            {
                "network.kernels": (10, 8, 4, 4, 4),
                "network.strides": (5, 4, 2, 2, 2),
                "network.conv_activation": "relu",
                "future.steps": 12,
                "steps": 300_000,
                "augmentation.segment": 1.28,
                "schedule.learning_rate": 2e-4,
                "train.batch_size": 64,
            },
        ),
        (
            "facebookresearch/CPC_audio, cpc/cpc_default_config.py",
            {"future.negatives": 128, "network.conv_width": 256, "network.conv_norm": "layer"},
        ),
    ],
}
