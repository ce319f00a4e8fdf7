import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.hub.bert import load_bert, save_bert
from ssl_jax.models.bert import BertConfig, BertPretraining
from ssl_jax.models.heads import QuestionAnswerer, SequenceClassifier, TokenClassifier
from tests.hub import folders
from tests.hub.folders import FILES, assert_same_model, rewrite, tensors_of

BERT = BertConfig(
    vocab_size=30, positions=9, layers=3, width=8, heads=2, mlp_width=12, activation="gelu_tanh"
)
ALBERT = dataclasses.replace(BERT, embedding_width=4, share_layers=True)
WITHOUT_POOLER = dataclasses.replace(BERT, pooler=False)
ROTARY = dataclasses.replace(BERT, position_encoding="rotary", pooler=False)
ROTARY_POOLED = dataclasses.replace(ROTARY, pooler=True)
TOKEN = jnp.zeros((1, 1), jnp.int32)


def random_params(model, *parts):
    """Random parameters of the model, of these parts only if any are named."""
    params = folders.random_params(model, TOKEN, TOKEN, TOKEN)
    return {name: value for name, value in params.items() if name in parts or not parts}


CASES = {
    "BertForPreTraining": (BERT, random_params(BertPretraining(BERT))),
    "BertModel": (BERT, random_params(BertPretraining(BERT), "encoder")),
    "BertModel without pooler": (WITHOUT_POOLER, random_params(BertPretraining(WITHOUT_POOLER), "encoder")),
    "BertForMaskedLM": (WITHOUT_POOLER, random_params(BertPretraining(WITHOUT_POOLER))),
    "BertForSequenceClassification": (BERT, random_params(SequenceClassifier(BERT, 3))),
    "BertForTokenClassification": (WITHOUT_POOLER, random_params(TokenClassifier(BERT, 2))),
    "BertForQuestionAnswering": (WITHOUT_POOLER, random_params(QuestionAnswerer(BERT))),
    "RoFormerModel": (ROTARY, random_params(BertPretraining(ROTARY), "encoder")),
    "RoFormerForMaskedLM": (ROTARY, random_params(BertPretraining(ROTARY))),
    "RoFormerForSequenceClassification": (ROTARY_POOLED, random_params(SequenceClassifier(ROTARY, 3))),
    "RoFormerForTokenClassification": (ROTARY, random_params(TokenClassifier(ROTARY, 2))),
    "RoFormerForQuestionAnswering": (ROTARY, random_params(QuestionAnswerer(ROTARY))),
    "AlbertForPreTraining": (ALBERT, random_params(BertPretraining(ALBERT))),
    "AlbertModel": (ALBERT, random_params(BertPretraining(ALBERT), "encoder")),
}


@pytest.fixture
def saved(tmp_path):
    """A folder with a BertForPreTraining, and its tensors."""
    save_bert(tmp_path, *CASES["BertForPreTraining"])
    return tmp_path, tensors_of(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_export_then_import_is_bit_identical(name, tmp_path):
    config, params = CASES[name]
    save_bert(tmp_path / "a", config, params)
    again = load_bert(tmp_path / "a")
    assert_same_model(again, (config, params))
    save_bert(tmp_path / "b", *again)
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    settings = json.loads((tmp_path / "a" / "config.json").read_text())
    assert settings["architectures"] == [name.removesuffix(" without pooler")]


def test_fused_projection_is_split_and_transposed(saved):
    """Against an index-by-index statement of the two layouts."""
    _, tensors = saved
    attention = CASES["BertForPreTraining"][1]["encoder"]["layers"]["attention"]
    for layer in range(3):
        for part, name in enumerate(("query", "key", "value")):
            prefix = f"bert.encoder.layer.{layer}.attention.self.{name}"
            for i, head, unit in np.ndindex(8, 2, 4):
                theirs = tensors[f"{prefix}.weight"][head * 4 + unit, i]
                assert theirs == attention["qkv"]["kernel"][layer, i, part, head, unit]
            np.testing.assert_array_equal(
                tensors[f"{prefix}.bias"], attention["qkv"]["bias"][layer, part].ravel()
            )
        out = tensors[f"bert.encoder.layer.{layer}.attention.output.dense.weight"]
        for i, head, unit in np.ndindex(8, 2, 4):
            assert out[i, head * 4 + unit] == attention["out"]["kernel"][layer, head, unit, i]


def test_old_names_buffers_and_copies_of_tied_tensors_are_accepted(saved):
    folder, tensors = saved
    old = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        old[name] = tensor
    old["bert.embeddings.position_ids"] = np.arange(9)[None]
    old["cls.predictions.decoder.weight"] = old["bert.embeddings.word_embeddings.weight"].copy()
    old["cls.predictions.decoder.bias"] = old["cls.predictions.bias"].copy()
    rewrite(folder, old)
    jax.tree.map(np.testing.assert_array_equal, load_bert(folder)[1], CASES["BertForPreTraining"][1])


def test_half_precision_becomes_float32(saved):
    folder, tensors = saved
    rewrite(folder, {name: tensor.astype(np.float16) for name, tensor in tensors.items()})
    _, params = load_bert(folder)
    assert {x.dtype for x in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_every_wrong_tensor_is_named(saved):
    folder, tensors = saved
    del tensors["bert.encoder.layer.1.attention.self.key.weight"]
    tensors["bert.encoder.layer.3.output.dense.bias"] = np.zeros(8, np.float32)
    tensors["cls.seq_relationship.weight"] = np.zeros((3, 8), np.float32)
    rewrite(folder, tensors)
    with pytest.raises(UserError) as error:
        load_bert(folder)
    message = str(error.value)
    assert "missing: bert.encoder.layer.1.attention.self.key.weight" in message
    assert "not used: bert.encoder.layer.3.output.dense.bias" in message
    assert "shape: cls.seq_relationship.weight is [3, 8], not [2, 8]" in message


def test_untied_decoder_is_refused(saved):
    folder, tensors = saved
    tensors["cls.predictions.decoder.weight"] = np.zeros((30, 8), np.float32)
    rewrite(folder, tensors)
    with pytest.raises(UserError, match=r"decoder\.weight differs from .*word_embeddings\.weight"):
        load_bert(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "roberta"}, "'roberta', expected one of bert, albert"),
        ({"hidden_act": "swish"}, "hidden_act is 'swish'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder"),
    ],
)
def test_models_that_are_not_bert_are_refused(saved, settings, message):
    folder, tensors = saved
    rewrite(folder, tensors, **settings)
    with pytest.raises(UserError, match=message):
        load_bert(folder)


def test_configuration_without_a_size_is_refused(saved):
    folder, _ = saved
    settings = json.loads((folder / "config.json").read_text())
    del settings["hidden_size"]
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="lacks hidden_size"):
        load_bert(folder)


def test_pickles_are_never_read(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"pytorch_model\.bin but no model\.safetensors.*save_pretrained"):
        load_bert(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json beside"),
        (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"short"),
            "not a complete safetensors file",
        ),
    ],
)
def test_damaged_folders_are_named(saved, damage, message):
    folder, _ = saved
    damage(folder)
    with pytest.raises(UserError, match=message):
        load_bert(folder)


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_bert(tmp_path / "missing")


def test_models_without_a_hugging_face_layout_are_not_exported(tmp_path):
    config = dataclasses.replace(BERT, embedding_width=4)
    with pytest.raises(UserError, match="neither BERT with embedding_width"):
        save_bert(tmp_path, config, random_params(BertPretraining(config)))


@pytest.mark.parametrize(("config", "encoding"), [(BERT, "relative"), (ALBERT, "rotary")])
def test_positions_that_transformers_do_not_have_are_not_exported(config, encoding, tmp_path):
    config = dataclasses.replace(config, position_encoding=encoding)
    with pytest.raises(UserError, match=rf"trained with --model\.position_encoding {encoding}; .* absolute"):
        save_bert(tmp_path, config, random_params(BertPretraining(config)))


def test_a_roformer_is_written_without_what_it_has_not(tmp_path):
    save_bert(tmp_path / "pretrained", ROTARY_POOLED, random_params(BertPretraining(ROTARY_POOLED)))
    save_bert(tmp_path / "masked", ROTARY, CASES["RoFormerForMaskedLM"][1])
    assert tensors_of(tmp_path / "pretrained").keys() == tensors_of(tmp_path / "masked").keys()


def test_a_roformer_with_narrow_embeddings_is_refused(tmp_path):
    save_bert(tmp_path, *CASES["RoFormerModel"])
    rewrite(tmp_path, tensors_of(tmp_path), embedding_size=4)
    with pytest.raises(UserError, match="embedding_size 4; only 8 is supported"):
        load_bert(tmp_path)


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/model\.safetensors cannot be written"):
        save_bert(tmp_path / "file", *CASES["BertModel"])
