"""Writes the golden vectors of rows of tokens and of answer spans, by google-research/bert and transformers.

    python -m tests.parity.make_golden_rows FOLDER

In an environment with transformers and six. FOLDER has run_classifier.py, run_squad.py and tokenization.py of
google-research/bert, which run without TensorFlow.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np

from tests.parity.reference_scripts import load

GOLDEN = pathlib.Path(__file__).parents[1] / "data" / "golden"

WORDS = "the of and in was a fox jump quick brown over lazy dog 19 198 2,7 cafe naive resume"
SIGNS = "東京日,.'-()!?&$%"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = [f"[unused{i}]" for i in range(104)]
VOCABULARY[0], VOCABULARY[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY += list(
    dict.fromkeys([*WORDS.split(), *SIGNS, *LETTERS, *(f"##{c}" for c in LETTERS), "##ing", "##ed", "##s"])
)

SENTENCES = [
    "The quick  brown fox jumped over\tthe lazy dog.",
    "Café naïve RÉSUMÉ!",
    "東京 was in 日本, and 1985-86.",
    "👩\u200d👧 emoji 🙂🙂 text",
    "It's (a) “quoted” text… 50% & $3.50",
    "supercalifragilisticexpialidocious " + "x" * 210,
    "",
    "a",
    " \u00a0 the \u3000 fox",
    "o\u0301 combining Ångström ﬁne",
    "tab\tnew\nline\r\nend\u200b\u2028zero",
]
TAGGED = [
    ["The", "jumping", "fox", ",", "1985", "cafés", "東京", "🙂", "(a)", "quick"],
    ["a"],
    ["jumpingjumpingjumping", "the", "dogs"],
    ["the"] * 23,
]
CONTEXTS = [
    ("The quick  brown fox jumped over the lazy dog in 1985. Dr. Café-Müller's naïve résumé (a) was 2,700 dogs.",
     ["quick  brown fox", "198", "1985", "Café-Müller", "résumé", "2,70", "2,700 dogs", "The", "dogs."]),
    ("東京 was in 日本, 🙂 and the fox of the dog jumped over a fox. " * 4,
     ["東京", "日", "fox of the dog", "🙂", "a fox"]),
]  # fmt: skip


def google_pairs(folder, tokenizer):
    script = load(folder / "run_classifier.py")
    cases = []
    for length in (8, 12, 17, 40):
        for first in SENTENCES:
            for second in (None, SENTENCES[0], SENTENCES[2], first):
                if second == "":  # which the script takes for a single sentence
                    continue
                example = script.InputExample("0", first, second, "0")
                row = script.convert_single_example(9, example, ["0"], length, tokenizer)
                count = sum(row.input_mask)
                cases.append([length, first, second, row.input_ids[:count], row.segment_ids[:count]])
    return cases


def dataset():
    paragraphs = []
    for number, (context, answers) in enumerate(CONTEXTS):
        qas = [
            {
                "id": f"{number}-{i}",
                "question": f"What was the {answer} in the quick fox?",
                "answers": [{"text": answer, "answer_start": context.index(answer)}],
                "is_impossible": False,
            }
            for i, answer in enumerate(answers)
        ]
        qas.append({"id": f"{number}-none", "question": "Who?", "answers": [], "is_impossible": True})
        paragraphs.append({"context": context, "qas": qas})
    return {"version": "v2.0", "data": [{"title": "made up", "paragraphs": paragraphs}]}


SETTINGS = [(48, 16, 16), (40, 11, 8), (160, 64, 16)]  # tokens of a row, step, tokens of a question


def google_answers(script, tokenizer):
    """The training rows of the tricky questions, and which tokens of each row have the most context there."""
    script.FLAGS.version_2_with_negative = True
    asked, cases = examples(script, dataset()), []
    for length, step, question in SETTINGS:
        rows, most_context = [], []
        for f in features(script, tokenizer, asked, (length, step, question)):
            count = sum(f.input_mask)
            rows.append(
                [
                    f.input_ids[:count],
                    f.segment_ids[:count],
                    f.start_position,
                    f.end_position,
                    f.example_index,
                ]
            )
            most_context.append("".join(str(int(has)) for _, has in sorted(f.token_is_max_context.items())))
        cases.append({"settings": (length, step, question), "rows": rows, "most_context": most_context})
    return cases


def features(script, tokenizer, asked, settings):
    found = []
    script.convert_examples_to_features(asked, tokenizer, *settings, True, found.append)
    return found


def examples(script, content):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "data.json"
        file.write_text(json.dumps(content))
        script.tf.gfile.Open = lambda path, mode: open(path)  # noqa: SIM115
        return script.read_squad_examples(str(file), is_training=True)


PLAIN = "the fox jump over a lazy dog and the brown dog was in a quick fox of the lazy dog over the brown fox a dog"
PLAIN_SETTINGS = (24, 7, 8)


def google_predictions(script, tokenizer, rng):
    """Spans by random logits, in a text of whole tokens, where the script's text of a span is the exact one."""
    content = {"data": [{"title": "", "paragraphs": [{"context": PLAIN, "qas": []}]}]}
    content["data"][0]["paragraphs"][0]["qas"] = [
        {"id": f"{i}", "question": "the fox", "answers": [], "is_impossible": True} for i in range(6)
    ]
    script.FLAGS.version_2_with_negative, script.FLAGS.verbose_logging = True, False
    script.FLAGS.null_score_diff_threshold = 0.5
    script.tf.gfile.GFile = open
    asked = examples(script, content)
    rows = features(script, tokenizer, asked, PLAIN_SETTINGS)
    logits = [np.round(rng.normal(size=(2, PLAIN_SETTINGS[0])) * 3, 1) for _ in rows]
    for each, row in zip(logits, rows, strict=True):
        each[:, 0] += 5  # no answer
        each[:, sum(row.input_mask) :] = -50  # padding, which we leave out, is never among the best
    results = [
        script.RawResult(row.unique_id, start.tolist(), end.tolist())
        for row, (start, end) in zip(rows, logits, strict=True)
    ]
    found = {}
    for negative in (True, False):
        script.FLAGS.version_2_with_negative = negative
        with tempfile.TemporaryDirectory() as folder:
            files = [pathlib.Path(folder) / name for name in ("predictions", "nbest", "null")]
            script.write_predictions(asked, rows, results, 8, 6, True, *map(str, files))
            texts, best, *null = [json.loads(file.read_text()) for file in (files if negative else files[:2])]
        best = {key: [[one["text"], one["probability"]] for one in value] for key, value in best.items()}
        found["v2" if negative else "v1"] = {"texts": texts, "best": best, "null": null[0] if null else {}}
    return {
        "dataset": content,
        "settings": PLAIN_SETTINGS,
        "best": 8,
        "longest": 6,
        "threshold": 0.5,
        "logits": [each.tolist() for each in logits],
        **found,
    }


def transformers_answers(tokenizer):
    """As run_qa.py of transformers prepares training features."""
    questions = [
        (entry["question"], paragraph["context"], entry["answers"])
        for paragraph in dataset()["data"][0]["paragraphs"]
        for entry in paragraph["qas"]
    ]
    cases = []
    for length, step, limit in SETTINGS:
        rows = []
        for number, (question, context, answers) in enumerate(questions):
            asked = tokenizer(question, add_special_tokens=False, truncation=True, max_length=limit)[
                "input_ids"
            ]
            short = question[
                : tokenizer(question, return_offsets_mapping=True)["offset_mapping"][len(asked)][1]
            ]
            encoded = tokenizer(
                short,
                context,
                truncation="only_second",
                max_length=length,
                stride=length - len(asked) - 3 - step,  # which is the overlap
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
            )
            for i, ids in enumerate(encoded["input_ids"]):
                second, offsets = encoded.sequence_ids(i), encoded["offset_mapping"][i]
                inside = [k for k, part in enumerate(second) if part == 1]
                start = end = 0
                if answers:
                    begin = answers[0]["answer_start"]
                    stop = begin + len(answers[0]["text"])
                    if offsets[inside[0]][0] <= begin and offsets[inside[-1]][1] >= stop:
                        start = max(k for k in inside if offsets[k][0] <= begin)
                        end = min(k for k in inside if offsets[k][1] >= stop)
                rows.append([ids, encoded["token_type_ids"][i], start, end, number])
        cases.append({"settings": (length, step, limit), "rows": rows})
    return cases


def transformers_tags(tokenizer):
    cases = []
    for length, step in ((8, 3), (12, 10), (64, 20)):
        rows = []
        for sentence in TAGGED:
            encoded = tokenizer(
                sentence,
                is_split_into_words=True,
                truncation=True,
                max_length=length,
                stride=length - 2 - step,
                return_overflowing_tokens=True,
            )
            rows.append([[ids, encoded.word_ids(i)] for i, ids in enumerate(encoded["input_ids"])])
        cases.append({"length": length, "step": step, "sentences": rows})
    return cases


def rows(folder, rng):
    from transformers import BertTokenizerFast

    with tempfile.TemporaryDirectory() as temporary:
        file = pathlib.Path(temporary) / "vocab.txt"
        file.write_text("\n".join(VOCABULARY) + "\n")
        tokenization = load(folder / "tokenization.py")
        tokenization.tf.gfile.GFile = lambda path, mode: open(path, "rb")  # noqa: SIM115
        google = tokenization.FullTokenizer(str(file), do_lower_case=True)
        script = load(folder / "run_squad.py")
        fast = BertTokenizerFast(vocab=str(file), do_lower_case=True)
        answers = google_answers(script, google)
        others = transformers_answers(fast)
        assert [case["rows"] for case in answers] == [case["rows"] for case in others], (
            "the references differ"
        )
        return {
            "vocabulary": VOCABULARY[104:],
            "pairs": google_pairs(folder, google),
            "tagged": TAGGED,
            "tags": transformers_tags(fast),
            "dataset": dataset(),
            "answers": answers,
            "predictions": google_predictions(script, google, rng),
        }


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    content = rows(pathlib.Path(sys.argv[1]), np.random.default_rng(0))
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (GOLDEN / "fine_tuning_rows.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
