"""The loop: what it logs, when it stops, and that it never stands in the way."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from matplotlib.figure import Figure
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.record_writer import masked_crc32c

from ssl_jax.errors import UserError
from ssl_jax.evals.plots import save_figure
from ssl_jax.files import write_whole
from ssl_jax.training import loop
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.compiling import Program
from ssl_jax.training.experiment import Data, Experiment, Phase, Report
from ssl_jax.training.sharding import make_mesh
from ssl_jax.training.stopping import STOPPING
from tests import processes
from tests.training import toys


def test_every_line_is_written_and_averages_over_its_steps(tmp_path: Path) -> None:
    toys.train(toys.experiment(), tmp_path / "each")
    toys.train(toys.experiment(train={"log_every": 4, "save_every": 7}, steps=18), tmp_path / "fourth")
    each = {line["step"]: line for line in toys.log(tmp_path / "each") if "split" not in line}
    assert list(each) == list(range(1, 21))
    fourth = [line for line in toys.log(tmp_path / "fourth") if "split" not in line]
    assert [line["step"] for line in fourth] == [4, 8, 12, 16, 18]
    for line, steps in zip(fourth[:4], (range(n, n + 4) for n in (1, 5, 9, 13)), strict=True):
        np.testing.assert_allclose(line["loss"], np.mean([each[step]["loss"] for step in steps]), rtol=1e-5)
    assert each[1]["learning_rate"] == 1.0
    np.testing.assert_allclose(each[20]["learning_rate"], 0.05, rtol=1e-5)


def test_interrupted_intervals_are_averaged_over_all_their_steps(tmp_path: Path) -> None:
    """A checkpoint in the middle of an interval holds its sums so far."""
    rhythm = {"log_every": 4, "save_every": 3}
    toys.train(toys.experiment(train=rhythm), tmp_path / "whole")
    toys.train(toys.experiment(train=rhythm), tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "20").rename(tmp_path / "20")  # as if killed after step 18
    toys.train(toys.experiment(train=rhythm), tmp_path / "run")
    assert toys.log(tmp_path / "run") == toys.log(tmp_path / "whole")


def events(folder: Path) -> list[Event]:
    """What a reader of TFRecords sees, checksums checked."""
    found = []
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        content = file.read_bytes()
        while content:
            (length,), (check,) = struct.unpack("<Q", content[:8]), struct.unpack("<I", content[8:12])
            assert check == masked_crc32c(content[:8])
            body, content = content[12 : 12 + length], content[12 + length :]
            assert struct.unpack("<I", content[:4])[0] == masked_crc32c(body)
            content = content[4:]
            found.append(Event.FromString(body))
    return found


def test_tensorboard_shows_the_same_metrics_in_a_folder_for_each_split(tmp_path: Path) -> None:
    """Tags of one name in different folders share a chart."""
    toys.train(toys.experiment(), tmp_path)
    board = tmp_path / "tensorboard"
    lines = toys.log(tmp_path)
    for split in ("train", "heldout"):
        found = events(board / split)
        assert found[0].file_version == "brain.Event:2"
        scalars = {(event.step, v.tag): v.simple_value for event in found for v in event.summary.value}
        for line in (line for line in lines if line.get("split", "train") == split):
            for name in line.keys() - {"step", "split"}:
                assert scalars.pop((line["step"], name)) == pytest.approx(line[name], rel=1e-6)
        assert {tag for _, tag in scalars} == (
            {"speed/examples_per_second", "speed/data_wait"} if split == "train" else set()
        )
    toys.train(toys.experiment(), tmp_path)
    restarts = [event.step for event in events(board) if event.HasField("session_log")]
    assert restarts == [1, 21]


def test_tensorboard_shows_settings_pictures_and_texts(tmp_path: Path) -> None:
    def sample(report):
        figure = Figure(figsize=(1, 1))
        save_figure(figure, report.folder / "samples" / f"step-{report.step:07d}.png")
        write_whole(report.folder / "samples" / f"step-{report.step}-b.txt", f"sample of {report.step}")

    experiment = toys.experiment(train={"eval_every": 10})._replace(sample=sample)
    settings = {"config": {"train": {"seed": 0}, "sizes": [1, 2], "no_decay": "bias|norm"}}
    toys.train(experiment, tmp_path, settings)
    found = [(event.step, v) for event in events(tmp_path / "tensorboard") for v in event.summary.value]
    shown = {(step, value.tag): value for step, value in found}
    assert {(10, "samples/step"), (20, "samples/step"), (20, "plots/error")} <= shown.keys()
    image = shown[10, "samples/step"].image
    assert Image.open(io.BytesIO(image.encoded_image_string)).size == (image.width, image.height)
    assert shown[20, "samples/b/text_summary"].tensor.string_val[0] == b"sample of 20"
    table = shown[0, "settings/text_summary"].tensor.string_val[0].splitlines()
    assert {b"| config.train.seed | 0 |", rb"| config.no_decay | bias\|norm |"} <= set(table)
    hyper = HParamsPluginData.FromString(
        shown[0, "_hparams_/session_start_info"].metadata.plugin_data.content
    )
    assert hyper.session_start_info.hparams["config.train.seed"].number_value == 0
    assert hyper.session_start_info.hparams["config.sizes"].string_value == "[1, 2]"
    toys.train(experiment, tmp_path, settings)
    again = [v.tag for event in events(tmp_path / "tensorboard") for v in event.summary.value]
    assert again.count("samples/step") == 2  # what an earlier process has shown is not shown again


def test_a_tracker_of_ones_own_gets_everything_in_order(tmp_path: Path) -> None:
    calls = []

    class Mine:
        def log(self, step, split, values):
            calls.append((step, split, values["loss"] if split == "train" else None))

        def picture(self, step, name, png, size):
            calls.append((step, name))

        def text(self, step, name, text): ...

        def flush(self): ...

        def close(self):
            calls.append("closed")

    def make(folder, settings):
        assert folder == epath.Path(tmp_path)
        return Mine()

    experiment = toys.experiment()
    assert loop.train(experiment, epath.Path(tmp_path), {"a": 1}, trackers=[make]) == 0
    lines = toys.log(tmp_path)
    logged = [(line["step"], line.get("split", "train"), line.get("loss")) for line in lines]
    assert [call for call in calls if len(call) == 3] == [
        (step, split, loss if split == "train" else None) for step, split, loss in logged
    ]
    assert calls[-2:] == [(20, "plots/error"), "closed"]


class WithNaN:
    """Examples of which one has a NaN."""

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        example = toys.example(index)
        return {**example, "x": example["x"] * (np.nan if index == 200 else 1)}


@pytest.mark.parametrize("log_every", [1, 5, 100])
def test_nan_stops_the_run_and_names_the_step(log_every: int, tmp_path: Path) -> None:
    experiment = toys.experiment(
        training=grain.MapDataset.source(WithNaN()).repeat(),
        train={"log_every": log_every, "save_every": 4, "keep_latest": 9, "eval_every": 50},
    )
    for _ in range(2):  # the same command meets the same step
        with pytest.raises(UserError, match=r"step 13: .* not finite.* checkpoint 12 is the last good one"):
            toys.train(experiment, tmp_path)
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [4, 8, 12]
    checkpoints = Checkpoints(epath.Path(tmp_path / "checkpoints"))
    state = checkpoints.restore(12, Program(experiment, make_mesh(experiment.mesh)).state)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert all(line["step"] <= 12 for line in toys.log(tmp_path))


def two_phases() -> loop.Experiment:
    """Ten steps of 16 examples, then eight of 8 with other data."""
    first, second = Phase(10, toys.shapes(16), ("examples", 16)), Phase(8, toys.shapes(8), ("examples", 8))
    late = grain.MapDataset.range(1000).map(lambda i: toys.example(10_000 + i))
    heldout = [{"heldout": grain.MapDataset.range(n).map(toys.example)} for n in (20, 9)]
    return toys.experiment(train={"keep_latest": 9, "save_every": 4})._replace(
        phases=(first, second),
        open_data=lambda folder: Data((toys.endless(100), late.repeat()), tuple(heldout), {}),
    )


def test_phases_of_different_batches_follow_each_other_exactly(tmp_path: Path) -> None:
    toys.train(two_phases(), tmp_path / "run")
    log = toys.log(tmp_path / "run")
    size = {line["step"]: line["size"] for line in log if "split" not in line}
    assert list(size) == list(range(1, 19))

    def mean(examples: list[dict]) -> float:
        return np.mean([example["x"] for example in examples])

    data = toys.endless(100)
    for step in range(1, 11):
        np.testing.assert_allclose(
            size[step], mean([data[i] for i in range((step - 1) * 16, step * 16)]), rtol=1e-4, atol=1e-6
        )
    for step in range(11, 19):
        second = [toys.example(10_000 + i) for i in range((step - 11) * 8, (step - 10) * 8)]
        np.testing.assert_allclose(size[step], mean(second), rtol=1e-4, atol=1e-6)


def test_a_phase_trains_the_method_that_it_names(tmp_path: Path) -> None:
    """Three steps with noise and three without: which of the two methods is the experiment's does not matter."""
    logs = []
    noisy, plain = toys.noisy_regression(), toys.noisy_regression(rate=0.0)
    for number, (whole, named) in enumerate([(noisy, (None, plain)), (plain, (noisy, None))]):
        phases = tuple(Phase(3, toys.shapes(16), ("examples", 16), method=method) for method in named)
        heldout = ({"heldout": grain.MapDataset.range(8).map(toys.example)},) * 2
        data = Data((toys.endless(100),) * 2, heldout, {})
        experiment = toys.experiment(method=whole)._replace(phases=phases, open_data=lambda folder, d=data: d)
        toys.train(experiment, tmp_path / str(number))
        logs.append([line for line in toys.log(tmp_path / str(number)) if "split" not in line])
    assert logs[0] == logs[1]
    assert [line["step"] for line in logs[0]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("step", [8, 12])
def test_resumes_in_either_phase(step: int, tmp_path: Path) -> None:
    toys.train(two_phases(), tmp_path)
    wanted = toys.log(tmp_path)
    for path in list((tmp_path / "checkpoints").iterdir()):
        if int(path.name) > step:
            path.rename(tmp_path / f"lost {path.name}")
    toys.train(two_phases(), tmp_path)
    assert toys.log(tmp_path) == wanted


def test_the_step_is_compiled_once_per_phase(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    jax.config.update("jax_log_compiles", True)  # for all threads
    try:
        with caplog.at_level("WARNING", "jax"):
            toys.train(two_phases(), tmp_path)
    finally:
        jax.config.update("jax_log_compiles", False)
    compiled = [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()]
    assert sum("train_step" in message for message in compiled) == 2
    assert sum("metrics" in message for message in compiled) <= 1  # one evaluation step for both


def test_a_finished_run_is_not_compiled_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    toys.train(toys.experiment(steps=5), tmp_path)
    assert "compiled the step" in capsys.readouterr().out
    assert toys.train(toys.experiment(steps=5), tmp_path) == 0
    out = capsys.readouterr().out
    assert "continuing at step 5 of 5" in out
    assert "compiled the step" not in out


def sampling(experiment: Experiment) -> Experiment:
    """Writes a sample after each evaluation, and adds a character to a file that counts them."""

    def sample(report: Report) -> None:
        number = report.variables["params"]["w"].sum()
        text = f"{number} {report.metrics['heldout']['error']}"
        (report.folder / f"sample-{report.step}.txt").write_text(text)
        with (report.folder / "sampled").open("a") as file:
            file.write(".")

    return experiment._replace(sample=sample)


def samples(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("sample-*.txt")}


def test_samples_follow_each_evaluation_once_and_are_the_same_after_a_restart(tmp_path: Path) -> None:
    experiment = sampling(toys.experiment(train={"keep_latest": 9}))
    toys.train(experiment, tmp_path / "run")
    wanted = samples(tmp_path / "run")
    assert sorted(wanted) == ["sample-10.txt", "sample-20.txt"]
    (tmp_path / "run" / "sampled").unlink()
    toys.train(experiment, tmp_path / "run")  # finished: nothing is evaluated, nothing sampled
    assert not (tmp_path / "run" / "sampled").exists()
    for file in (tmp_path / "run").glob("sample-*.txt"):
        file.unlink()
    for step in (15, 20):
        (tmp_path / "run" / "checkpoints" / str(step)).rename(tmp_path / str(step))
    toys.train(experiment, tmp_path / "run")  # from step 10, which the log says was evaluated
    assert samples(tmp_path / "run") == {"sample-20.txt": wanted["sample-20.txt"]}


def test_sigterm_during_an_evaluation_leaves_it_at_once_and_does_it_later(tmp_path: Path) -> None:
    toys.train(sampling(toys.experiment()), tmp_path / "whole")
    asked = threading.Event()

    class Interrupts:
        def __len__(self) -> int:
            return 21

        def __getitem__(self, index: int) -> dict[str, np.ndarray]:
            if index == 20 and not asked.is_set():
                asked.set()
                os.kill(os.getpid(), signal.SIGTERM)
            return toys.example(1000 + index)

    experiment = sampling(toys.experiment(heldout=grain.MapDataset.source(Interrupts())))
    assert toys.train(experiment, tmp_path / "run") == 128 + signal.SIGTERM
    assert [line for line in toys.log(tmp_path / "run") if "split" in line] == []
    assert samples(tmp_path / "run") == {}
    assert "10" in {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert toys.train(experiment, tmp_path / "run") == 0
    assert toys.log(tmp_path / "run") == toys.log(tmp_path / "whole")
    assert samples(tmp_path / "run") == samples(tmp_path / "whole")
    assert (tmp_path / "run" / "sampled").read_text() == ".."


def test_a_signal_while_a_step_is_compiled_stops_the_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert toys.train(toys.experiment(steps=10), tmp_path / "run") == 0
    capsys.readouterr()
    released = threading.Event()

    def compiles_for_long(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        released.wait()

    try:
        with monkeypatch.context() as patch:
            patch.setattr(jax.stages.Lowered, "compile", compiles_for_long)
            code = toys.train(toys.experiment(steps=20), tmp_path / "run")
    finally:
        released.set()
    assert code == 128 + signal.SIGTERM
    out = capsys.readouterr().out
    assert "compiling the step\n" in out
    assert "stopped and saved at step 10; the same command continues" in out
    assert "compiled the step" not in out
    assert toys.train(toys.experiment(steps=20), tmp_path / "run") == 0


def interrupting(number: int, at: int = 200) -> grain.MapDataset:
    """Training data that sends a signal to this process, once, when an example is read."""
    sent = []

    def example(index: int) -> dict[str, np.ndarray]:
        if index == at and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return toys.example(index)

    return grain.MapDataset.range(1000).map(example)


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", STOPPING)
def test_every_signal_that_asks_to_stop_saves_first(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = signal.getsignal(number)
    experiment = toys.experiment(training=interrupting(number), train={"save_every": 100})
    assert toys.train(experiment, tmp_path) == 128 + number
    assert signal.getsignal(number) == before
    (saved,) = (int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert f"stopped and saved at step {saved}; the same command continues\n" in capsys.readouterr().out


def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert toys.train(toys.experiment(training=interrupting(signal.SIGHUP)), tmp_path) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_evaluations_are_identical_and_right_for_every_size(tmp_path: Path) -> None:
    """Against NumPy, over the whole held-out set; nothing is trained, so that all evaluations must agree."""
    method = toys.noisy_regression(rate=0.0)
    w = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    method = method._replace(
        init=lambda rng, batch: {**method_init(rng, batch), "params": {"w": jnp.asarray(w)}}
    )
    method_init = toys.noisy_regression().init
    for size in (1, 15, 16, 17):
        data = [toys.example(i) for i in range(size)]
        experiment = toys.experiment(
            steps=4,
            train={"eval_every": 2},
            method=method,
            heldout=grain.MapDataset.source(data),
            optimizer=toys.optax.sgd(0.0),
        )
        toys.train(experiment, tmp_path / str(size))
        found = [line["error"] for line in toys.log(tmp_path / str(size)) if "split" in line]
        x, weight = (
            np.stack([example[name] for example in data]).astype(np.float64) for name in ("x", "weight")
        )
        wanted = (weight * (x @ w - x) ** 2).sum() / weight.sum()
        assert len(found) == 2
        assert found[0] == found[1]
        np.testing.assert_allclose(found[0], wanted, rtol=1e-5)


def test_derived_metrics_are_of_the_means(tmp_path: Path) -> None:
    """Every evaluation is of 21 examples in two batches; the root of the mean is no mean of roots."""
    experiment = toys.experiment(steps=10)._replace(derive=lambda means: {"root": means["error"] ** 0.5})
    toys.train(experiment, tmp_path)
    [line] = [line for line in toys.log(tmp_path) if "split" in line]
    assert line["root"] == line["error"] ** 0.5


def test_failing_training_ends_with_its_error_and_no_noise(tmp_path: Path) -> None:
    """In a process of its own: threads that are still reading, and a save under way, must not add to stderr."""
    script = tmp_path / "broken.py"
    script.write_text(
        "import os, grain\n"
        "os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8'\n"
        "from tests.training import toys\n"
        "class Broken:\n"
        "    def __len__(self): return 10_000\n"
        "    def __getitem__(self, index):\n"
        "        if index == 160: raise OSError('the disk with the data is gone')\n"
        "        return toys.example(index)\n"
        f"toys.train(toys.experiment(training=grain.MapDataset.source(Broken())), {str(tmp_path / 'run')!r})\n"
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, env=processes.environment(), cwd=processes.ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.endswith("OSError: the disk with the data is gone\n")
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"] >= 5


def test_the_loop_waits_for_no_step_before_the_next_ones_are_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between evaluations, the only arrays waited for are those of steps before the ones in flight."""
    queued, late = [], []

    class Step:
        def __init__(self, compiled) -> None:
            self.compiled = compiled

        def __call__(self, state, batch):
            queued.append(None)
            state, bad_step = self.compiled(state, batch)
            return state, Watched(bad_step, len(queued))

    class Watched:
        def __init__(self, array, step: int) -> None:
            self.array, self.step = array, step

        def block_until_ready(self) -> None:
            late.append(len(queued) - self.step)

        def __int__(self) -> int:
            late.append(len(queued) - self.step)
            return int(self.array)

    compile_step = Program.train_step
    monkeypatch.setattr(Program, "train_step", lambda self, *which: Step(compile_step(self, *which)))
    toys.train(toys.experiment(train={"log_every": 5, "eval_every": 20, "save_every": 20}), tmp_path)
    assert min(late[:-1]) >= loop.STEPS_IN_FLIGHT  # the last one is waited for at the end of the run
