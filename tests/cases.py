"""Every experiment in small. A new experiment adds a line to `SMALL`; `CASES` are those of the tests of resuming."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import wavfile

Arguments = list[object]


def given(section: str = "", **values: object) -> Arguments:
    """`--section.name value` for each value; a list stands for several words."""
    prefix = f"--{section}." if section else "--"
    words = ((prefix + name, value) for name, value in values.items())
    return [
        word for name, value in words for word in (name, *(value if isinstance(value, list) else [value]))
    ]


def length(steps: int, warmup_steps: int, section: str = "") -> Arguments:
    """So many steps, the first ones with a rising learning rate."""
    dot = f"{section}." if section else ""
    return [*given(section, steps=steps), *given(f"{dot}schedule", warmup_steps=warmup_steps)]


def rhythm(every: int, section: str = "train") -> Arguments:
    """Logs all steps, evaluates and saves on the given interval."""
    return given(section, log_every=1, eval_every=every, save_every=every, keep_every=every)


def corpus(folder: Path) -> Path:
    """A text file of 60 documents of ten sentences over 40 words."""
    file = folder / "corpus.txt"
    if file.exists():
        return file
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefgh", k=chance.randint(2, 6))) for _ in range(40)]

    def sentence() -> str:
        return " ".join(chance.choices(words, k=chance.randint(4, 12))).capitalize() + "."

    documents = ("\n".join(sentence() for _ in range(10)) for _ in range(60))
    file.write_text("\n\n".join(documents) + "\n")
    return file


VIEWS = [
    *given("encoder", blocks=1, width=8, stem="small"),
    *given("views.0", rotate=0, jitter=0),
    *given(probe_examples=60),
    *given("train", batch_size=32),
]
PAIRS = [*VIEWS, *given("views.1", rotate=0, jitter=0)]
CODES = [*given("codebook", codes=8, width=4, kmeans=2), *given("network", width=8, residual_width=4)]
AUTOENCODER = [*given("network", hidden=16), *given(probe_examples=60), *given("train", batch_size=32)]


def text(folder: Path, heldout_rows: int) -> Arguments:
    """Small batches of the corpus."""
    source = given("data", source=corpus(folder), heldout_share=0.2, heldout_rows=heldout_rows)
    return [*source, *given("train", batch_size=8)]


def bert(folder: Path) -> Arguments:
    """Two layers of 32."""
    sizes = given("model", vocab_size=120, positions=48, layers=2, width=32, heads=2, mlp_width=64)
    return [*sizes, *text(folder, 20), *given("phases.0", length=48)]


def albert(folder: Path) -> Arguments:
    """As BERT, with embeddings of 16."""
    return [*bert(folder), *given("model", embedding_width=16)]


def cbow(folder: Path) -> Arguments:
    """Vectors of 8 for the words of the corpus."""
    return [*text(folder, 20), *given(width=8, length=20, window=2, vocab_size=145)]


def multilingual_bert(folder: Path) -> Arguments:
    """One layer of 16, on the corpus and its shifted form."""
    sizes = given("model", vocab_size=240, positions=24, layers=1, width=16, heads=2, mlp_width=32)
    text = given(
        "data", sources=[f"en={corpus(folder)}", "fake=shifted:en"], heldout_share=0.2, heldout_rows=12
    )
    return [*sizes, *text, *given("train", batch_size=8), *given(length=24)]


def gpt2(folder: Path) -> Arguments:
    """One layer of 16, on packed rows; a sample after each evaluation."""
    sizes = given("model", vocab_size=320, positions=32, layers=1, width=16, heads=2, mlp_width=32)
    samples = given("samples", prompts=["abba", ""], new_tokens=8)
    return [*sizes, *text(folder, 20), *samples, *given(length=32, stride=16)]


def encoder_decoder(folder: Path) -> Arguments:
    """One layer of 16 a side; rows denoised after each evaluation."""
    layers = given("model", layers=1, decoder_layers=1)
    sizes = given("model", vocab_size=120, positions=32, width=16, heads=2, mlp_width=32)
    return [*layers, *sizes, *text(folder, 12), *given(length=32)]


def summarize(folder: Path) -> Arguments:
    """One layer of 16 a side; codes of eight tokens for the documents of the corpus, and no warm-up after one step."""
    layers = given("model", layers=1, decoder_layers=1)
    sizes = given("model", vocab_size=120, positions=32, width=16, heads=2, mlp_width=32)
    articles = corpus(folder)
    sentences = folder / "headlines.txt"
    words = articles.read_text().replace(".", "").lower().split()
    sentences.write_text("\n".join(" ".join(words[i : i + 2]) for i in range(0, 240, 2)) + "\n")
    text = given("data", articles=articles, sentences=sentences, heldout_share=0.2, heldout_rows=12)
    form = given(length=32, code_length=8)
    return [*layers, *sizes, *text, *form, *given("objective", warmup_steps=1), *given("train", batch_size=8)]


def gpt3_in_context(folder: Path) -> Arguments:
    """One layer of 8, on functions of a few letters and words."""
    functions = given(letters=4, classes=3, words=1, dialects=3, pairs=5)
    sizes = given("model", vocab_size=23, positions=11, layers=1, width=8, heads=1, mlp_width=8)
    sequences = given(validation_sequences=50, test_sequences=90)
    return [*functions, *sizes, *sequences, *given("train", batch_size=16)]


def vqvae(folder: Path) -> Arguments:
    """Digits in eight codes that start by k-means and move by their averages."""
    return [*CODES, *given(probe_examples=60), *given("train", batch_size=32)]


def vqvae_prior(folder: Path) -> Arguments:
    """A prior of one layer, over the codes of a VQ-VAE that is trained first; images drawn of it."""
    first = [str(word).replace("--", "--vqvae.") for word in vqvae(folder)]
    first += length(2, 1, "vqvae")
    return [*first, *given("prior", layers=1, width=16, heads=2, dropout=0), *given("train", batch_size=32)]


def sentences(folder: Path) -> Path:
    """A .tsv file of 120 sentences of the corpus, labelled by their lengths."""
    file = folder / "sentences.tsv"
    if not file.exists():
        lines = [line for line in corpus(folder).read_text().splitlines() if line][:120]
        rows = [f"{'long' if len(line.split()) > 8 else 'short'}\t{line}" for line in lines]
        file.write_text("\n".join(["label\ttext", *rows, ""]))
    return file


def sentence_pairs(folder: Path) -> Path:
    """A .tsv file of 120 pairs of sentences of the corpus, labelled and scored by their lengths."""
    file = folder / "pairs.tsv"
    if not file.exists():
        lines = [line for line in corpus(folder).read_text().splitlines() if line][:240]
        rows = []
        for first, second in zip(lines[::2], lines[1::2], strict=True):
            more = len(first.split()) - len(second.split())
            rows.append(f"{'long' if more > 0 else 'short'}\t{more}\t{first}\t{second}")
        file.write_text("\n".join(["label\tscore\ttext\tsecond", *rows, ""]))
    return file


def fine_tuning(folder: Path, *, from_scratch: bool = True) -> Arguments:
    """Rows of 24 tokens, by a BERT of two layers, which is trained first unless it is initialised at random."""
    first = [str(word).replace("--", "--bert.") for word in bert(folder)] + length(2, 1, "bert")
    return [*first, *given(length=24, from_scratch=from_scratch), *given("train", batch_size=8)]


def pair_classification(folder: Path) -> Arguments:
    """Two classes of pairs."""
    return [
        *fine_tuning(folder, from_scratch=False),
        *given("data", source=sentence_pairs(folder)),
        *given(labels=["long", "short"]),
    ]


def tagged_words(folder: Path) -> Path:
    """A CoNLL file of the sentences of the corpus; words of three letters are entities."""
    file = folder / "words.conll"
    if not file.exists():
        blocks = []
        for line in [line for line in corpus(folder).read_text().splitlines() if line][:120]:
            words = line.rstrip(".").split()
            blocks.append("\n".join(f"{word}\t{'B-three' if len(word) == 3 else 'O'}" for word in words))
        file.write_text("\n\n".join([*blocks, ""]))
    return file


def token_classification(folder: Path) -> Arguments:
    """Entities of one word, some sentences in two windows."""
    words = given("data", source=tagged_words(folder), step=8)
    return [*fine_tuning(folder), *words, *given(tags=["B-three", "O"], length=16)]


def questions(folder: Path) -> Path:
    """A file of SQuAD 2.0: which word comes after another one in a text of three sentences; half have no answer."""
    file = folder / "questions.json"
    if not file.exists():
        articles = []
        for number, document in enumerate(corpus(folder).read_text().split("\n\n")):
            text = " ".join(document.split("\n")[:3])
            words = text.split()
            entry = {"id": f"{number}-a", "question": f"{words[0]}?", "is_impossible": False}
            entry["answers"] = [{"text": words[1], "answer_start": len(words[0]) + 1}]
            other = {"id": f"{number}-b", "question": "xyz?", "is_impossible": True, "answers": []}
            articles.append({"title": str(number), "paragraphs": [{"context": text, "qas": [entry, other]}]})
        file.write_text(json.dumps({"version": "v2.0", "data": articles}))
    return file


def question_answering(folder: Path) -> Arguments:
    """Texts in several windows."""
    data = given("data", source=questions(folder), step=12, longest_question=8, longest_answer=4)
    return [*fine_tuning(folder), *data, *given(length=32)]


def sequence_classification(folder: Path) -> Arguments:
    """Two classes of sentences, in batches of 32 or 48 tokens a row."""
    source = given("data", source=sentences(folder))
    return [*fine_tuning(folder, from_scratch=False), *source, *given(labels=["long", "short"], length=48)]


def sequences(folder: Path) -> Path:
    """A .tsv file of 120 sequences of twelve letters, labelled by the fourth."""
    file = folder / "sequences.tsv"
    if not file.exists():
        chance = random.Random(0)
        drawn = ["".join(chance.choices("GATC", k=12)) for _ in range(120)]
        rows = [f"{'GT' if one[3] in 'GT' else 'AC'}\t{one}" for one in drawn]
        file.write_text("\n".join(["label\tsequence", *rows, ""]))
    return file


def token_remap(folder: Path) -> Arguments:
    """Two classes of sequences."""
    return [*fine_tuning(folder), *given("data", source=sequences(folder)), *given(labels=["GT", "AC"])]


def glue_tasks(folder: Path) -> Path:
    """A folder in GLUE's own layout: MRPC and MNLI, of pairs labelled by their lengths; one test set is not there."""
    root = folder / "glue"
    if not root.exists():
        rows = [line.split("\t")[1:] for line in sentence_pairs(folder).read_text().splitlines()[1:]]
        mrpc = [f"{int(int(more) > 0)}\t1\t2\t{first}\t{second}" for more, first, second in rows]
        labels = [
            "entailment" if int(more) > 1 else "neutral" if int(more) > -2 else "contradiction"
            for more, *_ in rows
        ]
        mnli = [f"{first}\t{second}\t{label}" for (_, first, second), label in zip(rows, labels, strict=True)]
        tables = {
            "MRPC": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", mrpc, ("train", "dev", "test")),
            "MNLI": (
                "sentence1\tsentence2\tgold_label",
                mnli,
                ("train", "dev_matched", "dev_mismatched", "test_matched"),
            ),
            "AX": ("sentence1\tsentence2\tlabel", mnli, ("AX",)),
        }
        for task, (header, lines, files) in tables.items():
            (root / task).mkdir(parents=True)
            for first, file in enumerate(files):
                part = lines[:80] if file == "train" else lines[70 + 10 * first :][:10]
                (root / task / f"{file}.tsv").write_text("\n".join([header, *part, ""]))
    return root


def glue(folder: Path) -> Arguments:
    """MRPC."""
    return [*fine_tuning(folder), *given("data", source=glue_tasks(folder)), *given(task="mrpc")]


def recordings(folder: Path) -> Path:
    """A folder of 24 wav files: two words, which are two tones, by three speakers, at two rates."""
    found = folder / "recordings"
    if not found.exists():
        found.mkdir()
        rng = np.random.default_rng(0)
        for number in range(24):
            rate, word, speaker = (16_000, 8_000)[number % 2], number // 2 % 2, "abc"[number // 8]
            time = np.arange(int(rate * rng.uniform(0.15, 0.25))) / rate
            wave = 0.3 * np.sin(2 * np.pi * (400 + 600 * word) * time) + 0.05 * rng.standard_normal(len(time))
            wavfile.write(found / f"{word}_{speaker}_{number}.wav", rate, (32767 * wave).astype(np.int16))
    return found


def speech(folder: Path) -> Arguments:
    """Recordings of 0.2 seconds, in 8 filters."""
    names = given("data", source=recordings(folder), labels="{word}_{speaker}_{}", longest=0.2)
    return [*names, *given("features", mels=8), *given("train", batch_size=8)]


VOICES = given(
    "network", width=8, bank=1, blocks=2, halvings=1, dense_blocks=1, content_size=4, speaker_size=4
)


def voices(folder: Path, *, heldout: str) -> Arguments:
    """Recordings whose words or speakers are held out, through two blocks of eight channels."""
    source = given("data", source=recordings(folder), labels="{word}_{speaker}_{}", longest=0.25)
    segment = given("augmentation", segment=0.2)
    names = [*source, *given("data", heldout=heldout, heldout_share=0.5)]
    return [*names, *VOICES, *given("features", mels=8), *segment, *given("train", batch_size=8)]


CONVOLUTIONS = {"conv_width": 8, "kernels": [60, 15], "strides": [10, 8]}


def waveforms(folder: Path) -> Arguments:
    """Recordings through two convolutions and a transformer of two layers of 8; spans of two frames."""
    sizes = {
        "layers": 2,
        "width": 8,
        "heads": 2,
        "mlp_width": 8,
        "positional_kernel": 4,
        "positional_groups": 2,
    }
    return [*speech(folder), *given("model", **CONVOLUTIONS, **sizes), *given("masking", span=2)]


def hubert(folder: Path) -> Arguments:
    """Four units of the first layer of a model that is trained first."""
    first = given(second=True, first_steps=3, first_units=4, projection_width=8)
    return [*waveforms(folder), *first, *given("units", units=4, layer=1)]


def pairs(**heads: Mapping[str, object]) -> Callable[[Path], Arguments]:
    """Crops of digits through one block of eight channels, and small heads."""
    return lambda folder: [*PAIRS, *(word for head, sizes in heads.items() for word in given(head, **sizes))]


SMALL: Mapping[str, Callable[[Path], Arguments]] = {
    "adversarial_voice_conversion": lambda folder: [
        *voices(folder, heldout="words"),
        *given(speakers=3),
        *given("stages", autoencoder=0, classifier=0, adversarial=0.5),
    ],
    "albert": albert,
    "anomaly_detection": lambda folder: [
        *AUTOENCODER,
        *given(normal=[0, 1], code_size=3, score="likelihood"),
    ],
    "apc": lambda folder: [*speech(folder), *given("network", layers=2, width=8)],
    "autoencoder": lambda folder: [*AUTOENCODER, *given(code_sizes=[3, 2], probe_examples=200)],
    "barlow_twins": pairs(projector={"hidden": 16, "features": 8}),
    "bart": encoder_decoder,
    "bert": bert,
    "byol": pairs(projector={"hidden": 16}, predictor={"hidden": 16}),
    "cbow": cbow,
    "cpc": lambda folder: [
        *speech(folder),
        *given("network", **CONVOLUTIONS),
        *given("future", steps=3, negatives=5),
    ],
    "denoising_autoencoder": lambda folder: [*AUTOENCODER, *given("noise", masking=0)],
    "dino": pairs(projector={"hidden": 16, "features": 8}),
    "discrete_autoencoder": lambda folder: [*AUTOENCODER, *given(numbers=2, bits=3, classes=12)],
    "glue": glue,
    "gpt2": gpt2,
    "gpt3_in_context": gpt3_in_context,
    "hubert": hubert,
    "image_classifier": lambda folder: VIEWS,
    "mass": encoder_decoder,
    "minimal": lambda folder: [],
    "mockingjay": lambda folder: [
        *speech(folder),
        *given("network", layers=2, width=8, heads=2, mlp_width=8),
    ],
    "moco": pairs(projector={"hidden": 16, "features": 8}),
    "multilingual_bert": multilingual_bert,
    "pair_classification": pair_classification,
    "question_answering": question_answering,
    "rotation": lambda folder: VIEWS,
    "sequence_classification": sequence_classification,
    "simclr": pairs(projector={"hidden": 16, "features": 8}),
    "simsiam": pairs(projector={"hidden": 16, "features": 8}, predictor={"hidden": 4, "features": 8}),
    "speech_units": lambda folder: [
        *speech(folder),
        *given("network", width=8, speaker_width=2),
        *given("codebook", codes=4, width=3),
    ],
    "summarize": summarize,
    "t5": encoder_decoder,
    "token_classification": token_classification,
    "token_remap": token_remap,
    "vae": lambda folder: [*AUTOENCODER, *given(code_size=2, importance_samples=5)],
    "vicreg": pairs(projector={"hidden": 16, "features": 8}),
    "vqvae": vqvae,
    "vqvae_prior": vqvae_prior,
    "voice_conversion": lambda folder: voices(folder, heldout="speakers"),
    "wav2vec2": lambda folder: [
        *waveforms(folder),
        *given("quantizer", codes=4, code_width=8, projection_width=8),
        *given("contrast", negatives=3),
    ],
}
"""By name: what makes the network, the data and the report of its default preset small, given a folder for files."""


DROPOUT = ("--model.dropout", 0.1, "--model.attention_dropout", 0.1)
BEST = [
    *given("train", best_metric="next_token_loss", best_is="highest", patience=3),
    *given("train", save_every=8, keep_every=1000, keep_latest=1),
]
"""The largest loss is an early one: its checkpoint is not a regular one, and would not be kept by itself."""


class Case(NamedTuple):
    """An experiment in small that is trained for `steps` steps, with checkpoints on an interval."""

    name: str
    steps: int = 40
    warmup_steps: int = 5
    every: int = 10
    kills: int = 0
    """How often it is killed at a random step, beside once during a save and once by SIGTERM."""
    more: tuple[object, ...] = ()
    """Arguments that come last: what only tests of resuming need, such as more randomness."""
    stage: str = ""
    """What is trained first, in the folder of this name within the run's; the random kills are then in there."""

    @property
    def module(self) -> str:
        """For `python -m`."""
        return f"experiments.{self.name}"

    def arguments(self, folder: Path) -> Arguments:
        """Of the command; what they name is made in `folder`."""
        first = []
        if self.stage:
            first = length(self.steps, self.warmup_steps, self.stage) + rhythm(
                self.every, f"{self.stage}.train"
            )
        run = [*length(self.steps, self.warmup_steps), *rhythm(self.every)]
        return [*SMALL[self.name](folder), *first, *run, *self.more]


CASES = {
    case.name: case
    for case in (
        Case("minimal", steps=600, warmup_steps=0, every=100, kills=2),
        Case("gpt2", more=(*DROPOUT, *BEST)),
        Case("vqvae_prior", stage="vqvae", kills=1, more=("--prior.dropout", 0.2)),
    )
}
