"""Files are written whole or not at all, never through a link; JSON of another type is refused by name."""

import os
from typing import Any, NotRequired, TypedDict

import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import draft_folder, is_draft, read_json, whole, whole_folder, write_json, write_whole


@pytest.fixture
def file(tmp_path):
    return epath.Path(tmp_path) / "new" / "config.json"


def test_the_folder_is_made_and_only_the_file_is_left(file):
    write_whole(file, "a\u2028b")
    write_whole(file, b"\xff")
    assert file.read_bytes() == b"\xff"
    assert [path.name for path in file.parent.iterdir()] == ["config.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_an_error_leaves_the_previous_content_and_no_draft(file, error):
    def interrupted():
        with whole(file) as draft:
            draft.write_text("half")
            raise error

    write_whole(file, "before")
    with pytest.raises(UserError if isinstance(error, OSError) else type(error)) as raised:
        interrupted()
    if isinstance(error, OSError):
        assert str(file) in str(raised.value)
        assert "No space left on device" in str(raised.value)
    assert file.read_text() == "before"
    assert [*file.parent.iterdir()] == [file]


def test_a_draft_that_a_crash_leaves_is_known_as_one(file):
    with whole(file) as draft:
        assert is_draft(draft)
        assert draft.parent == file.parent
        draft.write_text("")
    assert not is_draft(file)
    assert not is_draft(file.parent / ".gitignore")


def test_a_folder_of_drafts_is_empty_and_removed(tmp_path):
    with draft_folder(epath.Path(tmp_path / "run")) as folder:
        assert is_draft(folder)
        assert folder.parent == epath.Path(tmp_path / "run")
        write_whole(folder / "vocab.txt", "")
    assert [*(tmp_path / "run").iterdir()] == []


def test_a_whole_folder_appears_at_once_or_not_at_all(tmp_path):
    folder = epath.Path(tmp_path / "new" / "model")

    def write(*contents, error=None):
        with whole_folder(folder) as draft:
            for name, content in zip("ab", contents, strict=False):
                write_whole(draft / name, content)
            assert not folder.exists() or {path.name for path in folder.iterdir()} == {"a", "b"}
            if error:
                raise UserError(f"{draft}/config.json: {error}")

    with pytest.raises(UserError, match=rf"^{folder}/config\.json: not supported$"):
        write("1", error="not supported")
    assert [*folder.parent.iterdir()] == []
    write("1", "2")
    write("1", "2")  # nothing to do
    for other in (("1", "3"), ("1",)):
        with pytest.raises(
            UserError, match=r"model: it has other files already, such as a\. They are unchanged"
        ):
            write(*other)
    assert [*folder.parent.iterdir()] == [folder]
    assert (folder / "b").read_text() == "2"


def test_a_link_is_replaced_and_its_target_is_not_written(file, tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious")
    file.parent.mkdir()
    os.symlink(target, file)
    write_json(file, {})
    assert target.read_text() == "precious"
    assert not os.path.islink(file)
    assert file.read_text() == "{}\n"


class Settings(TypedDict):
    """The kind of the file in these tests."""

    preset: str
    config: dict[str, Any]
    start: NotRequired[str | None]


def test_what_was_written_is_read(file):
    content = {"preset": "tiny", "config": {"rate": float("inf"), "sizes": [1, 2]}}
    write_json(file, content)
    assert read_json(file, Settings) == content


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"preset": 1, "config": {}}', "'preset'"),
        (b'{"config": {}}', '"preset"'),
        (b'{"preset": "tiny", "config": {}, "more": 0}', '"more"'),
        (b'{"preset": "tiny", "config": {}, "start": 3}', "'start'"),
        (b"[]", "dict"),
        (b'{"preset"', "not JSON"),
        (b"", "not JSON"),
        (b"\0\0\0", "not JSON"),
        (b'"\xff"', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 10_000, "not JSON"),
        (b'{"preset": "tiny", "config": ' + b'{"a":' * 400 + b"1" + b"}" * 401, "nested more than 50 times"),
    ],
)
def test_other_content_is_refused_by_name(file, content, named):
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(file, Settings)
    assert str(file) in str(error.value)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_refused_by_name(file):
    with pytest.raises(UserError, match="no such file"):
        read_json(file, Settings)
    with pytest.raises(UserError, match=r"^no run$"):
        read_json(file, Settings, absent="no run")
    file.mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read"):
        read_json(file, Settings)
