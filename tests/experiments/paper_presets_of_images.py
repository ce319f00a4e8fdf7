"""What the presets on images claim of papers: (experiment, preset, field, value, where it was read)."""

IMAGENET, CIFAR10 = 1_281_167, 50_000
"""Training images."""

BARLOW = "facebookresearch/barlowtwins, main.py"
VICREG = "facebookresearch/vicreg, main_vicreg.py, README.md"
VICREG_VIEWS = "facebookresearch/vicreg, augmentations.py"
BYOL = "deepmind-research/byol, configs/byol.py"
BYOL_OPTIMIZER = "deepmind-research/byol, utils/optimizers.py"
BYOL_VIEWS = "deepmind-research/byol, utils/augmentations.py"
SIMSIAM = "facebookresearch/simsiam, main_simsiam.py, README.md"
SIMSIAM_HEADS = "facebookresearch/simsiam, simsiam/builder.py"
SIMSIAM_CIFAR = "arXiv:2011.10566, appendix D"
SIMCLR = "arXiv:2002.05709, sections 2.1 and 2.2, appendix A"
SIMCLR_CODE = "google-research/simclr, README.md, run.py"
SIMCLR_CIFAR = "google-research/simclr, README.md, run.py, data_util.py"
SIMCLR_V2 = "arXiv:2006.10029, section 3"
FINE_TUNING = "arXiv:2002.05709, appendix B.5"
MOCO = "facebookresearch/moco, main_moco.py --mlp --moco-t 0.2 --aug-plus --cos"
MOCO_CIFAR = "facebookresearch/moco, branch colab-notebook, colab/moco_cifar10_demo.ipynb"
DINO = "facebookresearch/dino, main_dino.py with args.txt of the released ResNet-50"
ROTNET = "gidariss/FeatureLearningRotNet, config/CIFAR10_RotNet_NIN4blocks.py"
SOLO = "vturrisi/solo-learn, scripts/pretrain/cifar/{}.yaml"
SOLO_LARS = "vturrisi/solo-learn, solo/utils/lars.py"
SOLO_BASE = "vturrisi/solo-learn, solo/methods/base.py"
SOLO_VIEWS = "vturrisi/solo-learn, scripts/pretrain/cifar/augmentations/{}.yaml"
VQVAE = "arXiv:1711.00937, section 4.1"
VQVAE_CODE = "google-deepmind/sonnet, examples/vqvae_example.ipynb"
HINTON = "doi:10.1126/science.1127647, figure 2B"
IWAE = "arXiv:1509.00519, section 5"


def view(number, crop, jitter, *, blur, solarise=0.0, interpolation="bicubic"):
    """Fields of a view.

    Args:
      number: of the view.
      crop: smallest area of the crop.
      jitter: strengths of brightness, contrast, saturation and hue.
      blur, solarise: probabilities.
      interpolation: filter that resizes the crop.
    """
    fields = {"crop_area": (crop, 1.0), "interpolation": interpolation, "flip": 0.5, "jitter": 0.8}
    fields |= zip(("brightness", "contrast", "saturation", "hue"), jitter, strict=True)
    fields |= {"grayscale": 0.2, "blur": blur, "solarise": solarise}
    return {f"views.{number}.{name}": value for name, value in fields.items()}


BYOL_JITTER, SIMCLR_JITTER = (0.4, 0.4, 0.2, 0.1), (0.8, 0.8, 0.8, 0.2)
MOCO_JITTER = (0.4, 0.4, 0.4, 0.1)
TWO_KINDS = view(0, 0.08, BYOL_JITTER, blur=1.0) | view(1, 0.08, BYOL_JITTER, blur=0.1, solarise=0.2)
OF_SIMCLR = view(0, 0.08, SIMCLR_JITTER, blur=0.5) | view(1, 0.08, SIMCLR_JITTER, blur=0.5)
OF_MOCO = {
    field: value
    for number in (0, 1)
    for field, value in view(number, 0.2, MOCO_JITTER, blur=0.5, interpolation="bilinear").items()
}
TWO_KINDS_CIFAR = view(0, 0.08, BYOL_JITTER, blur=0.0) | view(1, 0.08, BYOL_JITTER, blur=0.0, solarise=0.2)
RESNET50 = {"encoder.blocks": (3, 4, 6, 3), "encoder.bottleneck": True, "encoder.width": 64}
RESNET18 = {"encoder.blocks": (2, 2, 2, 2), "encoder.bottleneck": False, "encoder.stem": "cifar"}
NO_DECAY = "(bias|scale)$|^probe/"
LARS = {
    "optimizer.name": "lars",
    "optimizer.beta1": 0.9,
    "optimizer.trust_coefficient": 0.001,
    "optimizer.no_decay": NO_DECAY,
    "optimizer.clip_norm": 0.0,
    "optimizer.nesterov": False,
    "optimizer.clip_rate": False,
}
LONG = LARS | {
    "train.batch_size": 2048,
    "optimizer.weight_decay": 1e-6,
    "optimizer.rate_in_momentum": False,
    "schedule.learning_rate": 0.2 * 2048 / 256,
    "schedule.decay": "cosine",
    "schedule.final_fraction": 0.001,
    "projector.hidden": (8192, 8192),
    "projector.features": 8192,
    "projector.hidden_norm": True,
    "projector.last_norm": "none",
    "projector.last_bias": False,
}
SGD = {
    "optimizer.name": "sgd",
    "optimizer.beta1": 0.9,
    "optimizer.no_decay": "$^",
    "optimizer.clip_norm": 0.0,
    "schedule.warmup_steps": 0,
    "schedule.decay": "cosine",
    "schedule.final_fraction": 0.0,
}


def solo(name, *, rate, decay, views, augmentations):
    """What solo-learn's settings of a method state; every method has these."""
    yaml = SOLO.format(name)
    return [
        (yaml, {"train.batch_size": 256, "optimizer.weight_decay": decay, "schedule.learning_rate": rate}),
        (yaml, {"optimizer.name": "lars", "optimizer.trust_coefficient": 0.02, "optimizer.clip_rate": True}),
        (yaml, {"optimizer.no_decay": NO_DECAY}),
        (
            SOLO_LARS,
            {"optimizer.rate_in_momentum": False, "optimizer.nesterov": False, "optimizer.beta1": 0.9},
        ),
        (SOLO_BASE, {"schedule.decay": "cosine", "schedule.final_fraction": 0.0, **RESNET18}),
        (SOLO_BASE, {"encoder.zero_init_residual": False, "optimizer.clip_norm": 0.0}),
        (SOLO_VIEWS.format(augmentations) if augmentations else yaml, views),
    ]


EPOCHS = [  # (experiment, preset, epochs, images, batch, epochs of the warm-up, source)
    ("barlow_twins", "imagenet", 1000, IMAGENET, 2048, 10, BARLOW),
    ("vicreg", "imagenet", 1000, IMAGENET, 2048, 10, VICREG),
    ("byol", "imagenet", 1000, IMAGENET, 4096, 10, BYOL),
    ("simsiam", "imagenet", 100, IMAGENET, 512, 0, SIMSIAM),
    ("simsiam", "cifar10", 800, CIFAR10, 512, 0, SIMSIAM_CIFAR),
    ("simclr", "imagenet", 1000, IMAGENET, 4096, 10, SIMCLR),
    ("simclr", "imagenet_v2", 800, IMAGENET, 4096, 40, SIMCLR_V2),
    ("simclr", "cifar10", 1000, CIFAR10, 512, 10, SIMCLR_CODE),
    ("image_classifier", "imagenet", 60, 13_000, 4096, 0, FINE_TUNING),
    ("moco", "imagenet", 200, IMAGENET, 256, 0, MOCO),
    ("moco", "cifar10", 800, CIFAR10, 512, 0, MOCO_CIFAR),
    ("dino", "imagenet", 800, IMAGENET, 4096, 10, DINO),
    *(
        (name, preset, 1000, CIFAR10, 256, 10, SOLO.format(yaml))
        for name, preset, yaml in (
            ("barlow_twins", "cifar10", "barlow"),
            ("vicreg", "cifar10", "vicreg"),
            ("byol", "cifar10", "byol"),
            ("dino", "cifar10", "dino"),
            ("simclr", "cifar10_solo_learn", "simclr"),
        )
    ),
]

STATED = {
    ("barlow_twins", "imagenet"): [
        (BARLOW, LONG | {"redundancy": 0.0051, "scale": 1.0, **RESNET50}),
        (BARLOW, {"optimizer.groups.0.pattern": "^(encoder|projector)/.*(bias|scale)$"}),
        (BARLOW, {"optimizer.groups.0.rate": 0.0048 / 0.2}),
        (BARLOW, TWO_KINDS),
    ],
    ("barlow_twins", "cifar10"): [
        *solo("barlow", rate=0.3, decay=1e-4, views=TWO_KINDS_CIFAR, augmentations="asymmetric"),
        (SOLO.format("barlow"), {"scale": 0.1, "projector.hidden": (2048, 2048), "projector.features": 2048}),
        (
            "vturrisi/solo-learn, solo/methods/barlow_twins.py",
            {"redundancy": 0.0051, "projector.last_bias": True},
        ),
    ],
    ("vicreg", "imagenet"): [
        (VICREG, LONG | {"invariance": 25.0, "variance": 25.0, "covariance": 1.0, **RESNET50}),
        (VICREG_VIEWS, TWO_KINDS),
    ],
    ("vicreg", "cifar10"): [
        *solo(
            "vicreg",
            rate=0.3,
            decay=1e-4,
            views=view(0, 0.2, BYOL_JITTER, blur=0.0, solarise=0.1)
            | view(1, 0.2, BYOL_JITTER, blur=0.0, solarise=0.1),
            augmentations=None,
        ),
        (SOLO.format("vicreg"), {"invariance": 25.0, "covariance": 1.0, "projector.hidden": (2048, 2048)}),
        ("vturrisi/solo-learn, solo/losses/vicreg.py: hinges are added", {"variance": 2 * 25.0}),
        (
            "vturrisi/solo-learn, solo/methods/vicreg.py",
            {"projector.features": 2048, "projector.last_bias": True},
        ),
    ],
    ("byol", "imagenet"): [
        (BYOL, LARS | {"optimizer.weight_decay": 1.5e-6, "train.batch_size": 4096, **RESNET50}),
        (BYOL_OPTIMIZER, {"optimizer.rate_in_momentum": False}),
        (BYOL, {"schedule.learning_rate": 0.2 * 4096 / 256, "schedule.decay": "cosine"}),
        (BYOL, {"target.decay": 0.996}),
        ("deepmind-research/byol, utils/schedules.py", {"target.final_decay": 1.0}),
        ("deepmind-research/byol, byol_experiment.py", {"target.start": "own"}),
        (BYOL, {"projector.hidden": (4096,), "projector.features": 256, "projector.last_bias": False}),
        (BYOL, {"predictor.hidden": (4096,), "predictor.features": 256, "predictor.last_bias": False}),
        (BYOL_VIEWS, TWO_KINDS),
    ],
    ("byol", "cifar10"): [
        *solo("byol", rate=1.0, decay=1e-5, views=TWO_KINDS_CIFAR, augmentations="asymmetric"),
        (SOLO.format("byol"), {"target.decay": 0.99, "target.final_decay": 1.0}),
        (SOLO.format("byol"), {"projector.hidden": (4096,), "projector.features": 256}),
        (SOLO.format("byol"), {"predictor.hidden": (4096,), "predictor.features": 256}),
        ("vturrisi/solo-learn, solo/methods/byol.py", {"target.start": "copy", "projector.last_bias": True}),
    ],
    ("simsiam", "imagenet"): [
        (SIMSIAM, SGD | {"optimizer.weight_decay": 1e-4, "train.batch_size": 512, **RESNET50}),
        (SIMSIAM, {"schedule.learning_rate": 0.05 * 512 / 256}),
        (SIMSIAM, {"optimizer.groups.0.pattern": "^predictor/", "optimizer.groups.0.decay": "constant"}),
        (SIMSIAM_HEADS, {"projector.hidden": (2048, 2048), "projector.features": 2048}),
        (SIMSIAM_HEADS, {"projector.last_norm": "plain", "predictor.hidden": (512,)}),
        (
            SIMSIAM_HEADS,
            {"predictor.features": 2048, "predictor.last_norm": "none", "predictor.last_bias": True},
        ),
        (SIMSIAM, OF_MOCO),
    ],
    ("simsiam", "cifar10"): [
        (SIMSIAM_CIFAR, SGD | {"optimizer.weight_decay": 5e-4, "train.batch_size": 512, **RESNET18}),
        (SIMSIAM_CIFAR, {"schedule.learning_rate": 0.03 * 512 / 256}),
        (SIMSIAM_CIFAR, {"projector.hidden": (2048,), "projector.features": 2048}),
        (SIMSIAM_CIFAR, {name: value for name, value in OF_MOCO.items() if not name.endswith("blur")}),
        (SIMSIAM_CIFAR, {"views.0.blur": 0.0, "views.1.blur": 0.0}),
        ("arXiv:2011.10566, section 4.2", {"optimizer.groups.0.decay": "constant"}),
    ],
    ("simclr", "imagenet"): [
        (SIMCLR, LARS | {"optimizer.weight_decay": 1e-6, "train.batch_size": 4096, **RESNET50}),
        (SIMCLR, {"schedule.learning_rate": 0.3 * 4096 / 256, "schedule.decay": "cosine"}),
        (SIMCLR, {"projector.hidden": (2048,), "projector.features": 128, "temperature": 0.1}),
        (SIMCLR, OF_SIMCLR),
    ],
    ("simclr", "imagenet_v2"): [
        (SIMCLR_V2, LARS | {"optimizer.weight_decay": 1e-4, "train.batch_size": 4096}),
        (SIMCLR_V2, {"schedule.learning_rate": 0.1 * 4096**0.5, "schedule.decay": "cosine"}),
        (SIMCLR_V2, {"projector.hidden": (6144, 6144), "projector.features": 128, "temperature": 0.1}),
        (SIMCLR_V2, {"encoder.blocks": (3, 8, 36, 3), "encoder.width": 3 * 64}),
        (SIMCLR_V2, OF_SIMCLR),
    ],
    ("simclr", "cifar10"): [
        (SIMCLR_CODE, LARS | {"optimizer.weight_decay": 1e-4, "train.batch_size": 512, **RESNET18}),
        (SIMCLR_CODE, {"schedule.learning_rate": 1.0 * 512 / 256, "schedule.decay": "cosine"}),
        (SIMCLR_CODE, {"projector.hidden": (512, 512), "projector.features": 128, "temperature": 0.5}),
        (SIMCLR_CIFAR, view(0, 0.08, MOCO_JITTER, blur=0.0) | view(1, 0.08, MOCO_JITTER, blur=0.0)),
    ],
    ("simclr", "cifar10_solo_learn"): [
        *solo("simclr", rate=0.4, decay=1e-4, views=OF_SIMCLR, augmentations="symmetric"),
        (SOLO.format("simclr"), {"temperature": 0.2, "projector.hidden": (2048,), "projector.features": 256}),
        ("vturrisi/solo-learn, solo/methods/simclr.py", {"projector.hidden_norm": False}),
        ("vturrisi/solo-learn, solo/methods/simclr.py", {"projector.last_norm": "none"}),
    ],
    ("image_classifier", "imagenet"): [
        (FINE_TUNING, {"optimizer.name": "sgd", "optimizer.nesterov": True, "optimizer.beta1": 0.9}),
        (FINE_TUNING, {"optimizer.weight_decay": 0.0, "optimizer.clip_norm": 0.0}),
        (FINE_TUNING, {"train.batch_size": 4096, "schedule.learning_rate": 0.05 * 4096 / 256}),
        (FINE_TUNING, {"views.0.jitter": 0.0, "views.0.blur": 0.0, "views.0.grayscale": 0.0}),
        (FINE_TUNING, {"views.0.crop_area": (0.08, 1.0), "views.0.flip": 0.5, "views.0.centre": 224 / 256}),
        ("google-research/simclr, run.py", {"schedule.decay": "cosine"}),
        ("google-research/simclr, imagenet_subsets/1percent.txt: 12,811 images", {"labels_per_class": 13}),
    ],
    ("moco", "imagenet"): [
        (MOCO, SGD | {"optimizer.weight_decay": 1e-4, "train.batch_size": 256, **RESNET50}),
        (MOCO, {"schedule.learning_rate": 0.03, "temperature": 0.2, "queue": 65_536}),
        (MOCO, {"projector.hidden": (2048,), "projector.hidden_norm": False, "projector.features": 128}),
        (MOCO, {"projector.last_norm": "none", "projector.last_bias": True}),
        (MOCO, {"target.decay": 0.999, "target.final_decay": None, "target.start": "copy"}),
        (MOCO, OF_MOCO),
        (MOCO, {"views.0.blur_sigma": (0.1, 2.0), "views.0.size": 224}),
    ],
    ("moco", "cifar10"): [
        (MOCO_CIFAR, SGD | {"optimizer.weight_decay": 5e-4, "train.batch_size": 512, **RESNET18}),
        (MOCO_CIFAR, {"schedule.learning_rate": 0.06, "temperature": 0.1, "queue": 4096}),
        (MOCO_CIFAR, {"projector.hidden": (), "projector.features": 128, "target.decay": 0.99}),
        (MOCO_CIFAR, view(0, 0.08, MOCO_JITTER, blur=0.0, interpolation="bilinear")),
    ],
    ("dino", "imagenet"): [
        (
            DINO,
            LARS | {"optimizer.weight_decay": 1e-6, "train.batch_size": 4096, **RESNET50},
        ),
        (DINO, {"optimizer.rate_in_momentum": False, "schedule.learning_rate": 0.3 * 4096 / 256}),
        (DINO, {"schedule.decay": "cosine", "schedule.final_fraction": 0.0048 / (0.3 * 4096 / 256)}),
        (DINO, {"projector.hidden": (2048, 2048), "projector.hidden_norm": True, "projector.features": 256}),
        (DINO, {"projector.last_norm": "none", "projector.last_bias": True, "prototypes": 60_000}),
        (DINO, {"temperatures": (0.04, 0.07), "temperature_steps": 50 * (IMAGENET // 4096)}),
        (DINO, {"centre_momentum": 0.9, "target.decay": 0.996, "target.final_decay": 1.0}),
        (DINO, {"target.start": "copy"}),
        (DINO, {**TWO_KINDS, "views.0.crop_area": (0.14, 1.0), "views.1.crop_area": (0.14, 1.0)}),
        *(
            (DINO, view(number, 0.05, BYOL_JITTER, blur=0.5) | {f"views.{number}.crop_area": (0.05, 0.14)})
            for number in range(2, 8)
        ),
        *((DINO, {f"views.{number}.size": 96}) for number in range(2, 8)),
    ],
    ("dino", "cifar10"): [
        *solo("dino", rate=0.3, decay=1e-6, views=TWO_KINDS_CIFAR, augmentations="asymmetric"),
        (
            SOLO.format("dino"),
            {"prototypes": 4096, "projector.hidden": (2048, 2048), "projector.features": 256},
        ),
        (SOLO.format("dino"), {"target.decay": 0.9995, "target.final_decay": 1.0, "target.start": "copy"}),
        ("vturrisi/solo-learn, solo/methods/dino.py", {"temperatures": (0.07, 0.07)}),
        ("vturrisi/solo-learn, solo/methods/dino.py", {"projector.hidden_norm": False}),
    ],
    ("rotation", "cifar10"): [
        (ROTNET, {"train.batch_size": 128, "optimizer.name": "sgd", "optimizer.beta1": 0.9}),
        (ROTNET, {"optimizer.weight_decay": 5e-4, "schedule.learning_rate": 0.1}),
    ],
    ("vqvae", "cifar10"): [
        (VQVAE, {"steps": 250_000, "train.batch_size": 128, "optimizer.name": "adamw"}),
        (VQVAE, {"optimizer.weight_decay": 0.0, "optimizer.clip_norm": 0.0}),
        (VQVAE, {"schedule.learning_rate": 2e-4, "schedule.warmup_steps": 0, "schedule.decay": "constant"}),
        (VQVAE, {"network.width": 256, "network.fine_width": 256, "network.residual_width": 256}),
        (VQVAE, {"network.strides": (2, 2), "network.residual_blocks": 2}),
        ("arXiv:1711.00937, section 3.2", {"latents": 10, "size": 32, "commitment": 0.25}),
        (VQVAE_CODE, {"codebook.codes": 512, "codebook.width": 64, "codebook.decay": 0.99}),
    ],
    ("vqvae", "imagenet"): [
        ("arXiv:1711.00937, section 4.2", {"size": 128, "latents": 1, "codebook.codes": 512}),
        ("arXiv:1711.00937, section 4.2", {"network.strides": (2, 2), "data.channels": 3}),
        ("arXiv:1711.00937, section 3.2", {"commitment": 0.25}),
    ],
    ("autoencoder", "tfds_mnist"): [
        (HINTON, {"network.hidden": (1000, 500, 250), "objective": "cross_entropy"}),
    ],
    ("vae", "tfds_mnist"): [
        (IWAE, {"network.hidden": (200, 200), "code_size": 50, "importance_samples": 5000}),
        (IWAE, {"likelihood": "bernoulli"}),
    ],
}

DEVIATIONS = [  # (experiment, preset, field, ours, theirs, source); the experiment's docstring says so
    ("barlow_twins", "imagenet", "optimizer.weight_decay", 1e-6, 1.5e-6, "arXiv:2103.03230, section 2.2"),
    ("barlow_twins", "imagenet", "redundancy", 0.0051, 0.005, "arXiv:2103.03230, section 2.2"),
    ("rotation", "cifar10", "optimizer.nesterov", False, True, ROTNET),
    ("rotation", "cifar10", "schedule.decay", "cosine", "steps", ROTNET),
    ("vqvae", "cifar10", "codebook.kmeans", 10, 0, VQVAE_CODE),
    ("vqvae", "cifar10", "codebook.restart_below", 0.03, 0.0, VQVAE_CODE),
]
