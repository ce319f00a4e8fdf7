"""Features of labelled text beside datasets.map with the same tokenizer, and the F1 of entities beside seqeval.

    tests/parity/run.sh python -m benchmarks.labels [--rounds 7] [--examples 4000]

Sentences, tagged words and questions of the installed documentation, with a WordPiece vocabulary trained on them,
become token ids with aligned labels. transformers' example scripts do the same with its fast tokenizer (run_glue,
run_ner, run_qa): the functions that they give to `datasets.map`, in batches of 1,000. Padding is left to the batches on
both sides. Entities are scored on 5,000 sentences of 20 words with random tags; both sides give all types and the
total.

datasets and seqeval are not among the requirements: `pip install datasets seqeval` in .venv-parity. Without datasets,
its functions are called on the same batches without its tables, which is faster; without seqeval, ours alone is timed.
"""

import argparse
import importlib.util
import statistics
import tempfile
from pathlib import Path

import numpy as np
import tokenizers

from benchmarks.turns import ratio, take_turns, timed
from ssl_jax.data.code_words import TAGS, code_words
from ssl_jax.data.fine_tuning_rows import question_rows, sentence_rows, tagging_rows
from ssl_jax.data.labelled_text import label_set
from ssl_jax.data.parameter_questions import parameter_questions
from ssl_jax.data.section_labels import section_sentences
from ssl_jax.data.special_tokens import WORDPIECE
from ssl_jax.data.tokenizers import open_tokenizer
from ssl_jax.evals.entities import entity_scores

LENGTH, QUESTION, STEP, BATCH = 128, 32, 64, 1000
SENTENCES, WORDS, TYPES = 5000, 20, ("PER", "LOC", "ORG", "MISC")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--examples", type=int, default=4000, help="of each kind, at most")
    arguments = parser.parse_args()
    compare_features(arguments.examples, arguments.rounds)
    compare_entities(arguments.rounds)


def show(title, items, unit, sides, rounds):
    """Times functions without arguments, the first of which is ours, and prints what they reach."""
    functions = {
        name: lambda side=side: timed(lambda calls: [side() for _ in range(calls)], 1)
        for name, side in sides.items()
    }
    seconds = take_turns(functions, rounds)
    mine, *others = sides
    print(f"{title}, medians of {rounds} rounds")
    for name, times in seconds.items():
        middle = statistics.median(times)
        faster = f"   {mine} is {ratio(times, seconds[mine]):.1f} times as fast" if name in others else ""
        print(f"  {name:12} {middle * 1e3:8.1f} ms  {items / middle:10,.0f} {unit}/s{faster}")


def compare_features(examples, rounds):
    """Prints the times of the three kinds of rows."""
    sentences = section_sentences()[0][:examples]
    tagged = code_words()[0][:examples]
    questions = [q for q in parameter_questions()[0] if q.answers][:examples]
    texts = [one.text for one in sentences]
    words = [list(one.words) for one in tagged]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = train_vocabulary(
            [*texts, *map(" ".join, words), *(q.context for q in questions)], folder
        )
        ours, theirs = open_tokenizer(vocabulary), their_tokenizer(vocabulary)
    labels = np.zeros(len(texts), np.int32)
    tags = label_set(tagged, "code words", TAGS).tag_ids(tagged)
    answers = [
        {"text": [a.text for a in q.answers], "answer_start": [a.start for a in q.answers]} for q in questions
    ]
    numbers = [[TAGS.index(tag) for tag in one.tags] for one in tagged]
    asked = {
        "question": [q.question for q in questions],
        "context": [q.context for q in questions],
        "answers": answers,
    }
    for title, mine, function, columns in (
        (
            "sentences",
            lambda: sentence_rows(texts, None, labels, ours, LENGTH),
            lambda batch: their_sentences(batch, theirs),
            {"text": texts, "label": labels.tolist()},
        ),
        (
            "tagged words",
            lambda: tagging_rows(tagged, tags, ours, LENGTH, STEP),
            lambda batch: their_tags(batch, theirs),
            {"words": words, "tags": numbers},
        ),
        (
            "questions",
            lambda: question_rows(questions, ours, LENGTH, STEP, QUESTION),
            lambda batch: their_questions(batch, theirs),
            asked,
        ),
    ):
        count = len(next(iter(columns.values())))
        name, mapped = mapping(columns, function)
        show(f"features of {count:,} {title}", count, "examples", {"ssl_jax": mine, name: mapped}, rounds)


def train_vocabulary(texts, folder):
    """The path of a vocab.txt of 8,000 pieces in Google's layout."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    special = [
        "[PAD]",
        *(f"[unused{i}]" for i in range(1, WORDPIECE.unk)),
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=8000, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    path = Path(folder) / "vocab.txt"
    path.write_text("".join(f"{piece}\n" for piece, _ in pieces))
    return path


def their_tokenizer(vocabulary):
    """transformers' fast BERT tokenizer with the vocabulary."""
    from transformers import BertTokenizerFast

    return BertTokenizerFast(vocab=str(vocabulary), do_lower_case=True)


def mapping(columns, function):
    """(name, function without arguments) of the function over all batches of a table."""
    if importlib.util.find_spec("datasets"):
        import datasets

        datasets.disable_caching()
        datasets.disable_progress_bars()
        table = datasets.Dataset.from_dict(columns)
        settings = {"batched": True, "batch_size": BATCH, "remove_columns": table.column_names}
        settings |= {"load_from_cache_file": False, "new_fingerprint": "features"}  # which costs no time
        return "datasets.map", lambda: table.map(function, **settings)
    count = len(next(iter(columns.values())))
    batches = [
        {name: values[i : i + BATCH] for name, values in columns.items()} for i in range(0, count, BATCH)
    ]
    return "transformers", lambda: [function(batch) for batch in batches]


def their_sentences(batch, tokenizer):
    """preprocess_function of run_glue."""
    return {**tokenizer(batch["text"], truncation=True, max_length=LENGTH), "label": batch["label"]}


def their_tags(batch, tokenizer):
    """tokenize_and_align_labels of run_ner."""
    made = tokenizer(batch["words"], truncation=True, max_length=LENGTH, is_split_into_words=True)
    rows = []
    for number, tags in enumerate(batch["tags"]):
        before, row = None, []
        for word in made.word_ids(batch_index=number):
            row.append(-100 if word is None or word == before else tags[word])
            before = word
        rows.append(row)
    return {**made, "labels": rows}


def their_questions(batch, tokenizer):
    """prepare_train_features of run_qa."""
    made = tokenizer(
        batch["question"],
        batch["context"],
        truncation="only_second",
        max_length=LENGTH,
        stride=STEP // 2,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    samples, offsets = made.pop("overflow_to_sample_mapping"), made.pop("offset_mapping")
    starts, ends = [], []
    for number, places in enumerate(offsets):
        sequence = made.sequence_ids(number)
        answer = batch["answers"][samples[number]]
        begin = answer["answer_start"][0]
        end = begin + len(answer["text"][0])
        first = sequence.index(1)
        last = len(sequence) - 1 - sequence[::-1].index(1)
        if places[first][0] > begin or places[last][1] < end:
            starts.append(0)
            ends.append(0)
            continue
        while first < len(places) and places[first][0] <= begin:
            first += 1
        starts.append(first - 1)
        while places[last][1] >= end:
            last -= 1
        ends.append(last + 1)
    return {**made, "start_positions": starts, "end_positions": ends}


def compare_entities(rounds):
    """Prints the times of precision, recall and F1 of all types of entities."""
    chance = np.random.default_rng(0)
    names = np.array(["O", *(f"{prefix}-{kind}" for kind in TYPES for prefix in "BI")])
    weights = np.array([0.6, *[0.05] * 8])
    labels, predictions = (
        [row.tolist() for row in names[chance.choice(len(names), (SENTENCES, WORDS), p=weights)]]
        for _ in range(2)
    )
    sides = {"ssl_jax": lambda: entity_scores(labels, predictions)}
    if importlib.util.find_spec("seqeval"):
        from seqeval.metrics import classification_report

        sides["seqeval"] = lambda: classification_report(labels, predictions, output_dict=True)
        assert abs(sides["seqeval"]()["micro avg"]["f1-score"] - sides["ssl_jax"]()[0].f1) < 1e-9
    show(f"entities of {SENTENCES:,} sentences", SENTENCES * WORDS, "words", sides, rounds)


if __name__ == "__main__":
    main()
