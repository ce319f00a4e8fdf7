"""Exported runs in transformers, live: the same tokens and the same predictions as here, by the class of each task."""

import dataclasses
from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np
import pytest
from etils import epath

from experiments import (
    bart,
    bert,
    gpt2,
    hubert,
    mass,
    multilingual_bert,
    pair_classification,
    question_answering,
    sequence_classification,
    t5,
    token_classification,
    wav2vec2,
)
from ssl_jax import cli
from ssl_jax.data.tokenizer_files import find_tokenizer
from ssl_jax.decoding.generate import generate
from ssl_jax.export import export
from ssl_jax.methods.wav2vec2 import preparation
from ssl_jax.models.bert import BertPretraining
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.models.gpt2 import Gpt2
from ssl_jax.models.wav2vec import WavEncoder
from ssl_jax.runs.language_models import encode_prompt, open_language_model
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from tests import cases
from tests.runs.test_warm_start import begin, cache, wordpiece  # noqa: F401

torch = pytest.importorskip(
    "torch", reason="no PyTorch here; tests/parity/run.sh makes an environment with it"
)
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default")  # PyTorch's warnings are not ours to make errors of


class Kind(NamedTuple):
    """A kind of fine-tuning: its experiment, the class that reads it, and settings beside the data of `cases`."""

    module: ModuleType
    architecture: str
    fields: dict
    data: dict


KINDS = {
    "class": Kind(
        sequence_classification, "SequenceClassification", {"labels": ("long", "short", "other")}, {}
    ),
    "score": Kind(
        pair_classification,
        "SequenceClassification",
        {"scored": True},
        {"label": "score", "second": "second"},
    ),
    "tags": Kind(token_classification, "TokenClassification", {"tags": ("B-three", "O")}, {"step": 8}),
    "answer": Kind(
        question_answering, "QuestionAnswering", {}, {"step": 12, "longest_question": 8, "longest_answer": 4}
    ),
}
FILES = {
    "class": cases.sentences,
    "score": cases.sentence_pairs,
    "tags": cases.tagged_words,
    "answer": cases.questions,
}
TEXTS = {
    "class": ["Abba bad cafe, 😀 dead.", "  Feed  a\tgab "],
    "score": ["Abba bad.\tCafe dead feed?", "fed\tégg"],
    "tags": ["Abba bad cafe , dead .", "fed"],
    "answer": ["Abba?\tBad cafe. A bad egg."],
}
WIDE = {"vocab_size": 120, "positions": 40, "layers": 2, "width": 32, "heads": 2, "mlp_width": 48}


def pretraining(folder, positions="absolute"):
    """A BERT with large weights, so that predictions differ."""
    tiny = bert.PRESETS["tiny"]
    data = dataclasses.replace(
        tiny.data, source=str(cases.corpus(folder)), heldout_share=0.2, heldout_rows=20
    )
    sizes = {"initializer_stddev": 0.3, "activation": "gelu_tanh", "position_encoding": positions, **WIDE}
    train = dataclasses.replace(tiny.train, batch_size=8)
    own = {
        "phases": (bert.PhaseConfig(length=40),),
        "data": data,
        "train": train,
        "model": dataclasses.replace(tiny.model, **sizes),
    }
    return dataclasses.replace(tiny, **own)


def tuned(kind, folder, positions):
    module, _, fields, data = KINDS[kind]
    tiny = module.PRESETS["tiny"]
    own = {
        "bert": pretraining(folder, positions),
        "from_scratch": True,
        "length": 32,
        "data": dataclasses.replace(tiny.data, source=str(FILES[kind](folder)), **data),
        "train": dataclasses.replace(tiny.train, batch_size=8),
    }
    return dataclasses.replace(tiny, **(own | fields))


def theirs_of(kind, texts, folder):
    """(ids and types of tokens of each text, outputs, words, configuration) of the class of the task."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, f"AutoModelFor{KINDS[kind].architecture}").from_pretrained(folder).eval()
    rows, outputs, words = [], [], []
    for text in texts:
        match kind:
            case "tags":
                inputs = tokenizer(text.split(), is_split_into_words=True, return_tensors="pt")
            case "class":
                inputs = tokenizer(text, return_tensors="pt")
            case _:
                inputs = tokenizer(*text.split("\t"), return_tensors="pt")
        rows.append([inputs[name][0].tolist() for name in ("input_ids", "token_type_ids")])
        words.append(inputs.word_ids())
        with torch.no_grad():
            outputs.append({name: value[0].numpy() for name, value in model(**inputs).items()})
    return rows, outputs, words, model.config


@pytest.mark.parametrize("positions", ["absolute", "rotary"], ids=["BERT", "RoFormer"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_of_a_fine_tuned_model(kind, positions, tmp_path):
    module, texts, run = KINDS[kind].module, TEXTS[kind], tmp_path / "run"
    begin(run, tuned(kind, tmp_path, positions), module=module)
    export(str(run), epath.Path(tmp_path / "exported"))
    opened = open_run(RunReference(epath.Path(run)))
    predictor = opened.experiment.predictor
    rows, describe = predictor.prepare(texts, find_tokenizer(opened.folder).open())
    variables = opened.restore()
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *(rows[i] for i in range(len(rows))))
    outputs = jax.tree.map(np.asarray, predictor.function(variables["params"], {}, batch))
    found = describe(outputs)
    expected, theirs, words, config = theirs_of(kind, texts, tmp_path / "exported")

    present = batch["segment_ids"] > 0
    names = "tokens", "token_type_ids"
    assert [
        [batch[name][row][here].tolist() for name in names] for row, here in enumerate(present)
    ] == expected
    for number, (one, result) in enumerate(zip(theirs, found, strict=True)):
        length = present[number].sum()
        match kind:
            case "class":
                np.testing.assert_allclose(outputs["logits"][number], one["logits"], atol=1e-4)
                assert result["label"] == config.id2label[one["logits"].argmax()]
            case "score":
                assert config.problem_type == "regression"
                assert result["score"] == pytest.approx(one["logits"].item(), abs=1e-4)
            case "tags":
                first = [words[number].index(word) for word in range(len(result["words"]))]
                tags = [config.id2label[one["logits"][place].argmax()] for place in first]
                assert result["tags"] == tags
            case "answer":
                for name in ("start", "end"):
                    logits = outputs[name][number, :length]
                    np.testing.assert_allclose(logits, one[f"{name}_logits"], atol=1e-4)
    logits = np.concatenate([one.get("logits", one.get("start_logits")).ravel() for one in theirs])
    assert np.ptp(logits) > 0.1  # predictions differ


@pytest.mark.parametrize("task", ["nsp", "none"])
def test_predictions_of_a_pretrained_model(task, tmp_path):
    """With word pieces, read by the class of the whole model and by that of its encoder."""
    config = pretraining(tmp_path)
    data = dataclasses.replace(config.data, tokenizer=str(wordpiece(tmp_path)))
    model = dataclasses.replace(config.model, vocab_size=400, pooler=task == "nsp")
    config = dataclasses.replace(config, pair_task=task, data=data, model=model)
    run = begin(tmp_path / "run", config)
    export(str(tmp_path / "run"), epath.Path(tmp_path / "exported"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    inputs = tokenizer("Abba bad [MASK], dead.", "Feed a gab.", return_tensors="pt")
    own = run.data.details.tokenizer
    special = own.special
    expected = [
        special.cls,
        *own.encode("Abba bad"),
        special.mask,
        *own.encode(", dead."),
        special.sep,
        *own.encode("Feed a gab."),
        special.sep,
    ]
    assert inputs["input_ids"][0].tolist() == expected

    kind = "AutoModelForPreTraining" if task == "nsp" else "AutoModelForMaskedLM"
    arrays = [inputs[name].numpy() for name in ("input_ids", "token_type_ids", "attention_mask")]
    ours = BertPretraining(config.model).apply({"params": jax.device_get(run.state.params)}, *arrays)
    with torch.no_grad():
        theirs = getattr(transformers, kind).from_pretrained(tmp_path / "exported").eval()(**inputs)
        encoder = transformers.AutoModel.from_pretrained(tmp_path / "exported").eval()(**inputs)
    logits = theirs.prediction_logits if task == "nsp" else theirs.logits
    np.testing.assert_allclose(ours.token_logits, logits, atol=1e-4)
    np.testing.assert_allclose(ours.encoding.hidden, encoder.last_hidden_state, atol=1e-4)
    if task == "nsp":
        np.testing.assert_allclose(ours.pair_logits, theirs.seq_relationship_logits, atol=1e-4)


TRICKY = [
    "Abba bad cafe.",
    "",
    " ",
    "  two  spaces,   three\tand a tab ",
    "a line\nand another",
    "Éléphant, déjà vu; ﬁancé",
    "日本語のテキスト、漢字",
    "👩‍👩‍👧 and 😀!",
]
TOKENIZERS = {
    "SentencePiece": [],
    "SentencePiece with bytes": ["--data.byte_fallback", "True", "--model.vocab_size", "400"],
    "bytes": ["--data.tokenizer", "bytes", "--model.vocab_size", "270"],
}


def writer(name, module, folder, *more):
    """A run in small of a model that writes text, whose predictions differ; the folder of its export."""
    words = map(str, [*cases.SMALL[name](folder), *cases.length(2, 1), *more])
    config = cli.parse([*words], module.PRESETS, name).config
    run = begin(folder / name, config, module=module)
    export(str(folder / name), epath.Path(folder / "exported"))
    return config, run, str(folder / "exported")


def assert_same_ids(tokenizer, own, ended):
    special = own.special
    expected = [[special.cls, *own.encode(text), *[special.sep] * ended] for text in TRICKY]
    assert tokenizer(TRICKY)["input_ids"] == expected
    assert [tokenizer.bos_token_id, tokenizer.eos_token_id] == [special.cls, special.sep]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_gpt2_with_its_tokenizer(kind, tmp_path):
    wide = ["--model.initializer_stddev", "0.3", *TOKENIZERS[kind]]
    config, run, exported = writer("gpt2", gpt2, tmp_path, *wide)
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    assert_same_ids(tokenizer, run.data.details.tokenizer, ended=False)
    inputs = tokenizer("Abba bad cafe. Feed a gab.", return_tensors="pt")
    network = Gpt2(config.model)
    params = {"params": jax.device_get(run.state.params)}
    hidden, _ = network.apply(params, inputs["input_ids"].numpy())
    ours = network.apply(params, hidden, method="logits")
    model = transformers.AutoModelForCausalLM.from_pretrained(exported).eval()
    with torch.no_grad():
        np.testing.assert_allclose(ours, model(**inputs).logits, atol=2e-4)
        states = transformers.AutoModel.from_pretrained(exported).eval()(**inputs).last_hidden_state
        written = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    np.testing.assert_allclose(hidden, states, atol=2e-4)
    assert np.ptp(ours) > 0.1
    again = open_language_model(exported)
    prompt = encode_prompt(again, "Abba bad cafe. Feed a gab.")
    assert prompt == inputs["input_ids"][0].tolist()
    found = generate(again.decoder, again.params, [prompt], [len(prompt)], max_new_tokens=4, end=again.end)
    assert (
        found.tokens[0, : found.lengths[0]].tolist() == written[0, len(prompt) :].tolist()[: found.lengths[0]]
    )


@pytest.mark.parametrize(
    ("name", "module", "more"),
    [
        ("bart", bart, ["--model.norm", "post", "--model.initializer_stddev", "0.3"]),
        ("bart", bart, ["--model.norm", "pre", "--data.tokenizer", "bytes", "--model.vocab_size", "270"]),
        ("mass", mass, ["--model.norm", "post", "--model.initializer_stddev", "0.3"]),
        ("t5", t5, []),
    ],
    ids=["BART", "mBART", "MASS", "T5"],
)
def test_an_encoder_decoder_with_its_tokenizer(name, module, more, tmp_path):
    config, run, exported = writer(name, module, tmp_path, *more)
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    assert_same_ids(tokenizer, run.data.details.tokenizer, ended=True)
    inputs = tokenizer(["Abba bad cafe.", "Feed"], return_tensors="pt", padding=True)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(exported).eval()
    start = model.config.decoder_start_token_id
    target = np.array([[start, 7, 8], [start, 9, 10]])
    ours = EncoderDecoder(config.model).apply(
        {"params": jax.device_get(run.state.params)},
        inputs["input_ids"].numpy(),
        inputs["attention_mask"].numpy(),
        target,
    )
    with torch.no_grad():
        theirs = model(**inputs, decoder_input_ids=torch.tensor(target)).logits
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert np.ptp(ours) > 0.1
    if name == "t5":
        last = config.model.vocab_size - 1
        assert tokenizer.convert_tokens_to_ids(["<extra_id_0>", "<extra_id_1>"]) == [last, last - 1]
        assert len(tokenizer) == config.model.vocab_size


def test_tokens_of_a_bert_on_tricky_text(tmp_path):
    begin(tmp_path / "run", pretraining(tmp_path))
    export(str(tmp_path / "run"), epath.Path(tmp_path / "exported"))
    own = find_tokenizer(epath.Path(tmp_path / "run")).open()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "exported"))
    special = own.special
    expected = [[special.cls, *own.encode(text), special.sep] for text in TRICKY]
    assert tokenizer(TRICKY)["input_ids"] == expected


def test_the_first_fragment_of_a_mass_is_predicted_by_a_bart(tmp_path):
    """Its decoder does not see masks, which transformers is told by the mask of an encoded text.

    A fragment that is not the first one has other positions in the decoder, which transformers has no way to give.
    """
    config, run, exported = writer("mass", mass, tmp_path, "--model.initializer_stddev", "0.3")
    params = {"params": jax.device_get(run.state.params)}
    special = run.data.details.tokenizer.special
    source = np.array([[special.cls, special.mask, special.mask, special.mask, 20, 21, 22, special.sep]])
    inputs, network = np.array([[special.cls, 17, 18]]), EncoderDecoder(config.model)
    present, seen = np.ones_like(source), (source != special.mask).astype(int)
    ours = network.apply(params, source, present, inputs, np.array([[0, 1, 2]]), context_present=seen)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(exported).eval()
    with torch.no_grad():
        encoded = model.get_encoder()(input_ids=torch.tensor(source), attention_mask=torch.tensor(present))
        theirs = model(
            encoder_outputs=encoded, attention_mask=torch.tensor(seen), decoder_input_ids=torch.tensor(inputs)
        ).logits
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert model.config.decoder_start_token_id == special.cls
    later = network.apply(params, source, present, inputs, np.array([[3, 4, 5]]), context_present=seen)
    assert np.abs(later - ours).max() > 0.1


def test_a_multilingual_bert(tmp_path):
    config, run, exported = writer(
        "multilingual_bert", multilingual_bert, tmp_path, "--model.initializer_stddev", "0.3"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    own = run.data.details.tokenizer
    special = own.special
    expected = [[special.cls, *own.encode(text), special.sep] for text in TRICKY]
    assert tokenizer(TRICKY)["input_ids"] == expected
    inputs = tokenizer("Abba bad cafe.", return_tensors="pt")
    arrays = [inputs[name].numpy() for name in ("input_ids", "token_type_ids", "attention_mask")]
    ours = BertPretraining(config.model).apply({"params": jax.device_get(run.state.params)}, *arrays)
    with torch.no_grad():
        theirs = transformers.AutoModelForMaskedLM.from_pretrained(exported).eval()(**inputs)
        encoder = transformers.AutoModel.from_pretrained(exported).eval()(**inputs)
    np.testing.assert_allclose(ours.token_logits, theirs.logits, atol=1e-4)
    np.testing.assert_allclose(ours.encoding.hidden, encoder.last_hidden_state, atol=1e-4)


def test_a_bert_with_rotary_positions_is_a_roformer(tmp_path):
    settings = ("--model.initializer_stddev", "0.3", "--model.position_encoding", "rotary")
    config, run, exported = writer("bert", bert, tmp_path, *settings)
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    inputs = tokenizer("Abba bad cafe.", "Fed a gab?", return_tensors="pt")
    arrays = [inputs[name].numpy() for name in ("input_ids", "token_type_ids", "attention_mask")]
    ours = BertPretraining(config.model).apply({"params": jax.device_get(run.state.params)}, *arrays)
    model, loading = transformers.AutoModelForMaskedLM.from_pretrained(exported, output_loading_info=True)
    assert not any(loading.values()), loading
    with torch.no_grad():
        theirs = model.eval()(**inputs)
    np.testing.assert_allclose(ours.token_logits, theirs.logits, atol=1e-4)
    assert np.ptp(ours.token_logits) > 1


@pytest.mark.parametrize(
    ("name", "module", "architecture"),
    [("wav2vec2", wav2vec2, "Wav2Vec2ForPreTraining"), ("hubert", hubert, "HubertModel")],
    ids=["wav2vec 2.0", "HuBERT"],
)
def test_a_model_of_speech_with_its_feature_extractor(name, module, architecture, tmp_path):
    """From a waveform to the states of the last layer."""
    more = ["--second", "False"] if name == "hubert" else []
    config, run, exported = writer(name, module, tmp_path, "--model.initializer_stddev", "0.3", *more)
    waveform = np.random.default_rng(0).normal(0, 0.1, config.data.rate // 10).astype(np.float32)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(exported)
    assert (extractor.sampling_rate, extractor.do_normalize) == (config.data.rate, config.normalise)
    inputs = extractor(waveform, sampling_rate=config.data.rate, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(exported).eval()
    assert model.config.architectures == [architecture]
    with torch.no_grad():
        theirs = model(**inputs).last_hidden_state
    samples = np.array([len(waveform)], np.int32)
    prepared = preparation(config.normalise)(waveform[None], samples)
    params = jax.device_get(run.state.params)["encoder"]
    ours = WavEncoder(config.model).apply({"params": params}, prepared, samples).hidden
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert np.ptp(ours) > 0.1
