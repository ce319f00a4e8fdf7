"""Writes the golden vectors of metrics: by scikit-learn, SciPy, seqeval, rouge-score and SQuAD's official scripts.

    python -m tests.parity.make_golden_metrics FOLDER

In an environment with scikit-learn, SciPy, seqeval and rouge-score. FOLDER has SQuAD's evaluate-v1.1.py and
evaluate-v2.0.py.
"""

import json
import pathlib
import sys
import tempfile
import unittest.mock
import warnings

import numpy as np

from tests.parity.reference_scripts import load

GOLDEN = pathlib.Path(__file__).parents[1] / "evals" / "golden"


def class_cases(rng):
    yield [0, 0, 0], [0, 0, 0]
    yield [1, 1, 1], [1, 1, 1]
    yield [0, 1, 0, 1], [0, 0, 0, 0]
    yield [0, 0, 0, 0], [0, 1, 0, 1]
    yield [0, 1], [1, 0]
    yield [0, 1, 2], [2, 2, 2]
    yield [0, 2, 2], [0, 3, 2]
    yield [1], [1]
    for classes, count in ((2, 50), (2, 200), (3, 60), (7, 100)):
        labels = rng.integers(classes, size=count)
        yield (
            labels.tolist(),
            np.where(rng.random(count) < 0.6, labels, rng.integers(classes, size=count)).tolist(),
        )


def score_cases(rng):
    yield [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]
    yield [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]
    yield [1.0, 2.0, 3.0], [5.0, 5.0, 5.0]
    yield [2.0, 2.0], [1.0, 4.0]
    yield [1.0, 2.0], [3.0, 7.0]
    yield [0.0, 5.0, 5.0, 2.5, 2.5], [1.0, 1.0, 4.0, 4.0, 2.0]
    yield [1e-9, 2e-9, 4e-9], [1e9, 1e9 + 1, 1e9 + 5]
    yield [1.0, 2.0, float("nan")], [1.0, 3.0, 2.0]
    for count in (10, 80):
        labels = rng.normal(size=count)
        yield labels.tolist(), (labels + rng.normal(size=count)).tolist()
        yield np.round(labels).tolist(), np.round(labels * 2 + rng.normal(size=count)).tolist()


def label_metrics(rng):
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    warnings.simplefilter("ignore")
    classes = [
        {
            "labels": labels,
            "predictions": predictions,
            "accuracy": accuracy_score(labels, predictions),
            "f1": f1_score(labels, predictions, labels=[1], average="macro", zero_division=0),
            "macro_f1": f1_score(labels, predictions, average="macro", zero_division=0),
            "matthews": matthews_corrcoef(labels, predictions),
        }
        for labels, predictions in class_cases(rng)
    ]
    scores = [
        {
            "labels": labels,
            "predictions": predictions,
            "pearson": float(pearsonr(labels, predictions)[0]),
            "spearman": float(spearmanr(labels, predictions)[0]),
        }
        for labels, predictions in score_cases(rng)
    ]
    return {"classes": classes, "scores": scores}


def entities(rng):
    from seqeval.metrics import classification_report

    warnings.simplefilter("ignore")
    tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-NEW-ORG", "I-NEW-ORG"]
    more = [*tags, "E-PER", "S-PER", "E-LOC", "S-LOC", "B", "I"]
    fixed = [
        ([["O", "I-PER", "I-PER"]], [["O", "B-PER", "I-PER"]]),
        ([["B-PER", "I-LOC", "I-LOC"]], [["B-PER", "B-LOC", "I-LOC"]]),
        ([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]]),
        ([["B-PER", "B-PER", "I-PER"]], [["B-PER", "I-PER", "I-PER"]]),
        ([["O", "O"]], [["O", "B-PER"]]),
        ([["B-PER", "O"]], [["O", "O"]]),
    ]
    cases = []
    for scheme in [None] * len(fixed) + [tags] * 4 + [more] * 4:
        if scheme is None:
            labels, predictions = fixed[len(cases)]
        else:
            lengths = rng.integers(1, 9, size=25)
            labels = [rng.choice(scheme, size=n).tolist() for n in lengths]
            predictions = [
                [tag if rng.random() < 0.7 else str(rng.choice(scheme)) for tag in sentence]
                for sentence in labels
            ]
        report = classification_report(labels, predictions, output_dict=True, zero_division=0)
        report = {
            name: [float(row[key]) for key in ("precision", "recall", "f1-score", "support")]
            for name, row in report.items()
            if name not in ("macro avg", "weighted avg")
        }
        cases.append({"labels": labels, "predictions": predictions, "report": report})
    return cases


ANSWERS = [
    "the Cat",
    "cat",
    "A cat's hat",
    "1,000",
    "1000",
    "...",
    "the",
    "",
    "Ünï cödé",
    "two  words",
    "words two two",
]


def squad_scores(folder, rng):
    v1, v2 = load(folder / "evaluate-v1.1.py"), load(folder / "evaluate-v2.0.py")
    texts = [text for text in ANSWERS if text]
    entries, predictions, evidence = [], {}, {}
    for number in range(60):
        answers = [str(text) for text in rng.choice(texts, size=rng.integers(1, 4))]
        answers = [] if number % 3 == 0 else answers
        entries.append(
            {"id": f"q{number}", "answers": [{"text": text, "answer_start": 0} for text in answers]}
        )
        right = answers[0] if answers else ""
        predictions[f"q{number}"] = right if rng.random() < 0.4 else str(rng.choice(ANSWERS))
        evidence[f"q{number}"] = float(np.round(rng.random(), 1))
    answerable = [entry for entry in entries if entry["answers"]]
    partial = {key: value for key, value in predictions.items() if int(key[1:]) % 4}
    wrap = lambda some: [{"paragraphs": [{"qas": some}]}]  # noqa: E731
    return {
        "entries": [[entry["id"], [a["text"] for a in entry["answers"]]] for entry in entries],
        "predictions": predictions,
        "evidence": evidence,
        "v1": v1.compute_score(wrap(answerable), predictions),
        "v1_partial": v1.compute_score(wrap(answerable), partial),
        "v2": {
            str(threshold): official_v2(v2, wrap(entries), predictions, evidence, threshold)
            for threshold in (1.0, 0.5)
        },
        "v2_worse": official_v2(v2, wrap(entries), dict.fromkeys(predictions, "wrong"), evidence, 1.0),
    }


def official_v2(script, dataset, predictions, evidence, threshold):
    """What the script prints with --na-prob-file and --na-prob-thresh."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        contents = {"data": {"data": dataset}, "pred": predictions, "na": evidence}
        for name, content in contents.items():
            (folder / name).write_text(json.dumps(content))
        names = {"data_file": "data", "pred_file": "pred", "na_prob_file": "na", "out_file": "out"}
        script.OPTS = unittest.mock.Mock(
            **{key: str(folder / name) for key, name in names.items()},
            out_image_dir=None,
            na_prob_thresh=threshold,
        )
        script.main()
        return json.loads((folder / "out").read_text())


def rouge_scores(rng):
    """F1 without stemming, the default of rouge-score."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    words = [
        "the",
        "The",
        "cat",
        "cats",
        "sat",
        "on",
        "mat.",
        "x1",
        "2.5",
        "naïve",
        "don't",
        "under_score",
        "-",
    ]
    texts = [" ".join(rng.choice(words, size=size)) for size in rng.integers(0, 13, size=80)]
    return [
        {
            "summary": ours,
            "reference": theirs,
            "f1": [score.fmeasure for score in scorer.score(theirs, ours).values()],
        }
        for ours, theirs in zip(texts[::2], texts[1::2], strict=True)
    ]


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    rng = np.random.default_rng(0)
    GOLDEN.mkdir(exist_ok=True)
    contents = {
        "label_metrics": label_metrics(rng),
        "entities": entities(rng),
        "squad": squad_scores(folder, rng),
        "rouge": rouge_scores(rng),
    }
    for name, content in contents.items():
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (GOLDEN / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
