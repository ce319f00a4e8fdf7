"""wav2vec 2.0 and HuBERT against transformers: hidden states, projected states, loss, and exported files."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.hub.wav2vec2 import load_wav2vec2, save_wav2vec2
from ssl_jax.losses.speech import code_diversity, masked_contrast
from ssl_jax.models.wav2vec import Wav2Vec2, WavEncoder, wav_hidden_states
from ssl_jax.transforms.span_masks import masked_places

torch = pytest.importorskip(
    "torch", reason="no PyTorch here; tests/parity/run.sh makes an environment with it"
)
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default")  # PyTorch's warnings are not ours to make errors of

SHAPE = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 2, 2],
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 3,
    "num_codevectors_per_group": 5,
    "codevector_dim": 8,
    "proj_codevector_dim": 12,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
CASES = {
    "wav2vec2-base": ("Wav2Vec2", {}),
    "wav2vec2-large": ("Wav2Vec2", LARGE),
    "hubert-base": ("Hubert", {"feat_proj_layer_norm": False}),
    "hubert-large": ("Hubert", LARGE | {"num_conv_pos_embeddings": 5}),
}
SAMPLES = 330


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    family, settings = CASES[request.param]
    config = getattr(transformers, f"{family}Config")(**(SHAPE | settings))
    torch.manual_seed(0)
    kind = "Wav2Vec2ForPreTraining" if family == "Wav2Vec2" else "HubertModel"
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():  # initial norms and biases would hide mistakes
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    wave = np.random.default_rng(0).normal(size=(2, SAMPLES)).astype(np.float32)
    return model, folder, load_wav2vec2(folder), wave


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=2e-5, rtol=1e-4)


def encoder_of(model):
    return getattr(model, "wav2vec2", model)


def test_hidden_states(case):
    model, _, read, wave = case
    theirs = encoder_of(model)(torch.tensor(wave), output_hidden_states=True)
    samples = jnp.full(2, SAMPLES, jnp.int32)
    encoding = WavEncoder(read.config).apply({"params": read.params["encoder"]}, wave, samples)
    close(encoding.hidden, theirs.last_hidden_state)
    states, lengths = wav_hidden_states(read.config, read.params["encoder"], wave, samples)
    assert lengths.tolist() == [states.shape[2]] * 2
    for ours, wanted in zip(states[:-1], theirs.hidden_states[:-1], strict=True):
        close(ours, wanted)


def test_padding_is_left_out_as_with_an_attention_mask(case):
    model, _, read, wave = case
    if read.config.conv_norm == "group":
        pytest.skip("transformers takes group statistics over padding as well")
    wave, samples = wave.copy(), np.array([SAMPLES, 210], np.int32)
    wave[1, 210:] = 0
    present = torch.tensor(np.arange(SAMPLES)[None] < samples[:, None])
    theirs = encoder_of(model)(torch.tensor(wave), attention_mask=present).last_hidden_state
    ours = WavEncoder(read.config).apply({"params": read.params["encoder"]}, wave, jnp.asarray(samples))
    length = int(ours.lengths[1])
    close(ours.hidden[0], theirs[0])
    close(ours.hidden[1, :length], theirs[1, :length])


def test_projected_states_and_loss(case):
    model, _, read, wave = case
    if read.quantizer is None:
        pytest.skip("transformers has no pretraining of HuBERT")
    ours = Wav2Vec2(read.config, read.quantizer)
    frames = int(read.config.frames(SAMPLES))
    mask = np.zeros((2, frames), bool)
    mask[0, 3:9] = mask[1, [1, 2, 4, 5]] = True
    numbers = np.random.default_rng(1)
    negatives, places = np.zeros((2, frames, 7), np.int64), np.zeros((2, 6, 7), np.int32)
    for row in range(2):
        where = np.flatnonzero(mask[row])
        for i, frame in enumerate(where):
            drawn = numbers.choice(np.delete(np.arange(len(where)), i), 7)
            places[row, i], negatives[row, frame] = drawn, where[drawn] + row * frames
    theirs = model(
        torch.tensor(wave),
        mask_time_indices=torch.tensor(mask),
        sampled_negative_indices=torch.tensor(negatives),
    )
    variables, samples = {"params": read.params}, jnp.full(2, SAMPLES, jnp.int32)
    encoding = ours.apply(variables, wave, samples, jnp.asarray(mask), method="encode")
    predictions, targets, quantized = ours.apply(
        variables, encoding.hidden, encoding.features, method="compare"
    )
    close(predictions, theirs.projected_states)
    close(targets, theirs.projected_quantized_states)
    where, present = masked_places(jnp.asarray(mask), 6)

    def at(x):
        return jnp.take_along_axis(x, where[..., None], axis=1)

    loss, _ = masked_contrast(
        at(predictions), at(targets), at(quantized.codes), jnp.asarray(places), jnp.float32(present), 0.1
    )
    assert float(loss.weight) == mask.sum()
    assert float(loss.sum) == pytest.approx(theirs.contrastive_loss.item(), rel=1e-4)
    chosen = jnp.eye(read.quantizer.codes)[quantized.codes]  # in evaluation they take the codes' frequencies
    diversity, perplexity = code_diversity(chosen, jnp.asarray(mask, jnp.float32))
    assert float(perplexity) == pytest.approx(theirs.codevector_perplexity.item(), rel=1e-4)
    assert float(diversity.sum) == pytest.approx(theirs.diversity_loss.item(), rel=1e-4)


def test_exported_files_are_the_same_model(case, tmp_path):
    model, _, read, wave = case
    save_wav2vec2(tmp_path, read.family, read.config, read.params, read.quantizer)
    again, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    with torch.no_grad():
        close(encoder_of(again.eval())(torch.tensor(wave))[0], encoder_of(model)(torch.tensor(wave))[0])
