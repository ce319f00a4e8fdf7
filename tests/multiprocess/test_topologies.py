"""One device, eight devices, two processes of four: the same curve, and every array where the rules put it."""

import math
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.methods.bert import pretraining
from ssl_jax.models.bert import SIZES
from ssl_jax.training.compiling import Program
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.sharding import make_mesh
from ssl_jax.transforms.masking import MaskingConfig
from tests import processes
from tests.multiprocess.topologies import EXPERIMENTS, MESHES, PAIRS, PAIRS_OF_PROCESSES, Curve, bert, train


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of the recordings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def alone() -> dict[str, Curve]:
    """On one device."""
    one = jax.devices()[:1]
    return {name: train(make(), MESHES["one"], one) for name, make in EXPERIMENTS.items()}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Of four devices each, over loopback."""
    file = tmp_path_factory.mktemp("two") / "curves.npz"
    address = f"localhost:{processes.free_port()}"
    pair = [
        processes.start("tests.multiprocess.topologies", [address, i, 2, file], None, devices=4)
        for i in range(2)
    ]
    for process in pair:
        code, out, err = processes.finish(process)
        assert code == 0, out + err
    return dict(np.load(file))


def check(losses: np.ndarray, grads: list[np.ndarray], wanted: Curve) -> None:
    """Gradients as a difference of elements, relative to the largest of all."""
    np.testing.assert_allclose(losses, wanted.losses, rtol=1e-4)
    assert wanted.losses[-1] < wanted.losses[0]
    largest = max(np.abs(leaf).max() for leaf in wanted.grads)
    for ours, theirs in zip(grads, wanted.grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize(("name", "mesh"), [*PAIRS, ("bert", "all"), ("gpt2", "all"), ("minimal", "tensor")])
def test_eight_devices_give_the_curve_of_one(name: str, mesh: str, alone: dict[str, Curve]) -> None:
    curve = train(EXPERIMENTS[name](), MESHES[mesh])
    check(curve.losses, curve.grads, alone[name])
    # At the end every array is still where the rules say.
    planned = Program(EXPERIMENTS[name](), make_mesh(MESHES[mesh])).state.params
    for found, plan in zip(jax.tree.leaves(curve.state.params), jax.tree.leaves(planned), strict=True):
        assert found.sharding.is_equivalent_to(plan.sharding, found.ndim)
        assert found.addressable_shards[0].data.shape == plan.sharding.shard_shape(plan.shape)


@pytest.mark.parametrize(("name", "mesh"), PAIRS_OF_PROCESSES)
def test_two_processes_give_the_curve_of_one_device(
    name: str, mesh: str, alone: dict[str, Curve], two_processes: dict[str, np.ndarray]
) -> None:
    grads = [two_processes[f"{name} {mesh} grads {i}"] for i in range(len(alone[name].grads))]
    check(two_processes[f"{name} {mesh} losses"], grads, alone[name])


def share(tree: object) -> float:
    """Bytes on one device over bytes in all."""
    leaves = jax.tree.leaves(tree)
    each = sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)
    return each / sum(math.prod(x.shape) * x.dtype.itemsize for x in leaves)


def test_bert_large_is_cut_into_eighths() -> None:
    """By shapes alone; the test above shows that arrays are where their shardings say."""
    large = pretraining(
        SIZES["large"], masking=MaskingConfig(), pair_task="nsp", special=SENTENCEPIECE
    ).method
    states = {
        name: Program(bert()._replace(method=large), make_mesh(MESHES[name])).state
        for name in ("data", "fsdp", "tensor")
    }
    assert share(states["data"].params) == 1
    for part in (states["fsdp"].params, states["fsdp"].opt_state):
        assert share(part) == pytest.approx(1 / 8, rel=0.02)
    layers = {
        name: leaf
        for name, leaf in named_leaves(states["tensor"].params).items()
        if re.search("layers/.*kernel", name)
    }
    assert len(layers) == 4
    assert share(layers) == 1 / 8


def test_a_run_continues_on_another_number_of_processes(tmp_path: Path) -> None:
    """Two, one, and two again, each ended by a preemption; against a run of one process."""
    arguments = ["--steps", 90, "--train.log_every", 1, "--train.save_every", 25, "--train.eval_every", 20]
    folder, stopped = tmp_path / "elastic", []

    def start(count: int) -> list[subprocess.Popen]:
        address = f"localhost:{processes.free_port()}"
        hosts = [["--mesh.fsdp", 2, "--hosts", f"{address},{i},{count}"] for i in range(count)]
        devices = 4 // count
        return [
            processes.start("experiments.minimal", [*arguments, *host], folder, devices=devices)
            for host in hosts
        ]

    for count in (2, 1):
        group = start(count)
        seen = processes.last_step(folder)
        processes.wait_until(group[0], lambda seen=seen: processes.last_step(folder) >= seen + 5)
        group[-1].terminate()
        ends = [processes.finish(process) for process in group]
        assert [code for code, _, _ in ends] == [128 + signal.SIGTERM] * count, ends
        stopped.append(int(ends[0][1].split("stopped and saved at step ")[1].split(";")[0]))
    ends = [processes.finish(process) for process in start(2)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert stopped[0] < stopped[1] < 90
    assert f"continuing at step {stopped[1]} of 90" in ends[0][1]
    assert "continuing" not in ends[1][1]  # only the first one talks

    assert processes.run("experiments.minimal", arguments, tmp_path / "alone")[0] == 0
    ours, alone = processes.log(folder), processes.log(tmp_path / "alone")
    assert [(line["step"], line.get("split")) for line in ours] == [
        (li["step"], li.get("split")) for li in alone
    ]
    for line, wanted in zip(ours, alone, strict=True):
        assert line["reconstruction_loss"] == pytest.approx(wanted["reconstruction_loss"], rel=1e-4)
