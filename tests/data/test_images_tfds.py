"""Real TFDS data sets of images, written as ArrayRecord by builders and read back without TensorFlow."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.data.prepared import image_preparation
from ssl_jax.errors import UserError
from tests.data.test_images_canvas import encoded, scene
from tests.data.test_images_sources import evaluation_batches_of
from tests.data.test_prepared import Tasks

SIZES = {"train": 20, "test": 4, "validation": 3, "unlabelled": 30, "extra": 1}
OFFSETS = {"train": 0, "test": 50, "validation": 100, "unlabelled": 150, "extra": 200}
"""The shade of the first image of a split; the others count up from it."""


class Shades(tfds.core.GeneratorBasedBuilder):
    """Pictures of one shade; the configuration says which splits there are, or what is odd."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name)
        for name in ("train_test", "train_validation_test", "train_validation", "train", "train_unlabelled_test",
                     "nolabel_train", "noimage_train", "deep_train", "damaged_train")
    ]  # fmt: skip

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 1))
        if self.builder_config.name == "deep_train":
            image = tfds.features.Image(shape=(None, None, 1), dtype=np.uint16)
        fields = {"image": image, "label": tfds.features.ClassLabel(names=["even", "odd"])}
        if self.builder_config.name == "nolabel_train":
            del fields["label"]
        if self.builder_config.name == "noimage_train":
            fields["picture"] = fields.pop("image")
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(fields))

    def _split_generators(self, _):
        splits = [part for part in self.builder_config.name.split("_") if part in SIZES]
        return {split: self._generate_examples(split) for split in splits}

    def _generate_examples(self, split):
        for i in range(SIZES[split]):
            shade = OFFSETS[split] + i
            data = encoded(Image.new("L", (7, 5), shade))
            if self.builder_config.name == "damaged_train" and i == 3:
                data = data[:20]
            values = {
                "image": io.BytesIO(data),
                "picture": io.BytesIO(data),
                "label": -1 if split == "unlabelled" else shade % 2,
            }
            yield str(i), {name: values[name] for name in self.info.features}


class Imagenet2012Tiny(tfds.core.GeneratorBasedBuilder):
    """Has, as ImageNet, a test split without labels; and large pictures in colour."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        fields = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(fields))

    def _split_generators(self, _):
        return {split: self._generate_examples(split) for split in ("train", "validation", "test")}

    def _generate_examples(self, split):
        data = encoded(Image.fromarray(scene(90, 120)), "JPEG")
        yield "0", {"image": io.BytesIO(data), "label": -1 if split == "test" else 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for config in Shades.BUILDER_CONFIGS:
        Shades(data_dir=folder, config=config.name, file_format="array_record").download_and_prepare()
    Imagenet2012Tiny(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture(autouse=True)
def folder(prepared, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(prepared))
    return prepared


def opened(name: str, **fields):
    return open_images(ImageConfig(source=f"tfds:{name}", **fields))


def shades(source) -> list[int]:
    return sorted(int(source[i]["image"][0, 0, 0]) for i in range(len(source)))


def of_split(split: str) -> list[int]:
    return list(range(OFFSETS[split], OFFSETS[split] + SIZES[split]))


@pytest.mark.parametrize(
    ("name", "train", "probe", "heldout"),
    [
        ("train_test", "train", "train", "test"),
        ("train_validation_test", "train", "train", "test"),
        ("train_validation", "train", "train", "validation"),
        ("train_unlabelled_test", "unlabelled", "train", "test"),
        ("train_unlabelled_test:train", "train", "train", "test"),
        ("train_validation_test:test", "test", "test", "validation"),
    ],
)
def test_splits_are_those_that_the_names_say(name, train, probe, heldout):
    splits = opened(f"shades/{name}")
    assert [shades(s) for s in (splits.train, splits.probe, splits.heldout)] == [
        of_split(split) for split in (train, probe, heldout)
    ]
    assert splits.classes == ("even", "odd")


def test_examples_have_their_labels_or_none():
    splits = opened("shades/train_unlabelled_test")
    for source in (splits.probe, splits.heldout):
        examples = [source[i] for i in range(len(source))]
        assert all(example["label"] == example["image"][0, 0, 0] % 2 for example in examples)
        assert all(example["extent"].tolist() == [5, 7] for example in examples)
    assert {int(splits.train[i]["label"]) for i in range(30)} == {-1}
    unlabelled = opened("shades/nolabel_train")
    assert (unlabelled.classes, int(unlabelled.train[0]["label"])) == ((), -1)


@pytest.mark.parametrize("spec", ["shades/train", "shades/train_test:test", "shades/train:train[:10]"])
def test_the_last_share_is_held_out_where_there_is_no_other_split(spec):
    splits = opened(spec, heldout_share=0.3)
    whole = opened(spec, heldout_source=f"tfds:{spec}")
    everything = [whole.train[i]["image"] for i in range(len(whole.train))]
    held = round(0.3 * len(everything))
    assert [len(splits.train), len(splits.heldout)] == [len(everything) - held, held]
    parts = [
        *map(splits.train.__getitem__, range(len(splits.train))),
        *map(splits.heldout.__getitem__, range(held)),
    ]
    np.testing.assert_array_equal([part["image"] for part in parts], everything)
    assert len({splits.identity["train"], splits.identity["heldout"], whole.identity["train"]}) == 3
    assert opened(spec, heldout_share=0.3).identity == splits.identity


def test_other_sources_by_their_splits():
    splits = opened(
        "shades/train_unlabelled_test",
        probe_source="tfds:shades/train_validation:train[:5]",
        heldout_source="tfds:shades/train_validation:validation",
    )
    assert (len(splits.train), len(splits.probe), shades(splits.heldout)) == (30, 5, of_split("validation"))
    assert shades(opened("shades/train", heldout_source="tfds:shades/train_test").heldout) == of_split("test")


def test_imagenet_is_evaluated_on_its_validation_images():
    splits = opened("imagenet2012_tiny", canvas=32, channels=3)
    assert (splits.heldout.name, int(splits.heldout[0]["label"])) == ("tfds:imagenet2012_tiny:validation", 2)
    assert splits.classes == ("0", "1", "2")
    example = splits.train[0]
    assert example["extent"].tolist() == [24, 32]
    reference = Image.fromarray(scene(90, 120)).resize((32, 24), Image.Resampling.BICUBIC)
    assert np.abs(example["image"][:24].astype(int) - np.asarray(reference)).mean() < 3


def test_damaged_records_stop_or_are_skipped():
    with pytest.raises(UserError, match=r"tfds:shades/damaged_train.*record \d+: cannot be read as an image"):
        list(evaluation_batches_of(opened("shades/damaged_train").train))
    splits = opened("shades/damaged_train", unreadable="skip")
    found = shades(splits.train) + shades(splits.heldout)
    assert (len(found), set(found)) == (20, set(range(20)) - {3})


def test_a_process_without_the_builder_and_without_tensorflow_reads_it(prepared, in_a_new_process):
    code = (
        "from ssl_jax.data.images import *; import sys; s = open_images(ImageConfig(source='tfds:shades/train_test')); "
        "print(s.train[0]['extent'], s.classes, 'tensorflow' in sys.modules)"
    )
    assert in_a_new_process(code, prepared) == ("[5 7] ('even', 'odd') False\n", "")


@pytest.mark.parametrize(
    "name",
    ["../shades/train_test", "/tmp/shades", "shades/..", "shades/../x", "kaggle:a/b", "a/b/c", "", "a b"],
)
def test_only_names_of_data_sets_are_taken_and_no_paths(name):
    with pytest.raises(UserError, match=r"expected tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:SPLIT\."):
        opened(name)


def test_mistakes():
    for name in ("mnist", "no_such_data"):
        with pytest.raises(UserError, match=rf"tfds:{name}'.*not prepared.*builder\('{name}'"):
            opened(name)
    with pytest.raises(UserError, match=r"expected a field 'image'; it has label, picture"):
        opened("shades/noimage_train")
    with pytest.raises(UserError, match=r"its field 'image' is Image.*uint16.*expected 8-bit images"):
        opened("shades/deep_train")
    with pytest.raises(UserError, match=r"tfds:shades/train:tost'.*tost"):
        opened("shades/train:tost")


def test_prepared_images_are_those_of_the_splits(tmp_path, monkeypatch):
    tasks = Tasks()
    monkeypatch.setattr(image_preparation, "run_tasks", tasks.run)
    config = ImageConfig(source="tfds:shades/train_unlabelled_test")
    what = image_preparation.ImagePreparation(str(tmp_path / "out"), config, 0.0002)
    image_preparation.prepare_images(what, [], lambda text: None)
    read, plain = open_images(ImageConfig(source=f"prepared:{tmp_path / 'out'}")), open_images(config)
    assert read.classes == plain.classes == ("even", "odd")
    for name in ("train", "probe", "heldout"):
        found, expected = getattr(read, name), getattr(plain, name)
        assert len(found) == len(expected)
        for index in range(len(expected)):
            for field, values in expected[index].items():
                np.testing.assert_array_equal(found[index][field], values)
