"""Published weights: SFCN's files of PyTorch become the Keras model, which answers as PyTorch does; code never runs.

`torch_files/` was written by PyTorch 2.13.0 with `write_files` below: `zip.p` as it writes today, `stream.p` as before
1.6, in which the published files are. ANSWERS are what the network in them said to `images()`.
"""

import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.models import sfcn, torch_file
from tfmri.models.published import read_sfcn, to_sfcn
from tfmri.models.torch_file import read_state_dict

FILES = Path(__file__).parent / "torch_files"
WIDTHS, OUTPUTS, SHAPE = (2, 4, 3, 5), 3, (16, 8, 24)
ANSWERS = [[-0.151384, -0.776572, 0.30042], [-1.697876, -1.155724, -1.127059]]


def images():
    """(2, x, y, z, 1): no symmetry that would hide axes changed about."""
    waves = np.sin(np.arange(2 * np.prod(SHAPE)) ** 1.1).reshape(2, *SHAPE, 1)
    return (waves * np.reshape([1, 4], (2, 1, 1, 1, 1))).astype(np.float32)


def torch_network(torch):
    """SFCN as Peng et al. 2021 describe it, with their names of the weights, each of which is another number."""
    nn, body, before = torch.nn, torch.nn.Sequential(), 1
    for number, width in enumerate(WIDTHS):
        pooled = number < len(WIDTHS) - 1
        block = [
            nn.Conv3d(before, width, 3, padding=1) if pooled else nn.Conv3d(before, width, 1),
            nn.BatchNorm3d(width),
        ]
        body.add_module(f"conv_{number}", nn.Sequential(*block, *[nn.MaxPool3d(2, 2)] * pooled, nn.ReLU()))
        before = width
    left = [size // 2 ** (len(WIDTHS) - 1) for size in SHAPE]
    head = nn.Sequential()
    head.add_module("average_pool", nn.AvgPool3d(left))
    head.add_module("dropout", nn.Dropout(0.5))
    head.add_module(f"conv_{len(WIDTHS)}", nn.Conv3d(before, OUTPUTS, 1))
    whole = nn.Sequential()
    whole.add_module("feature_extractor", body)
    whole.add_module("classifier", head)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in whole.state_dict().items():
            if tensor.is_floating_point():
                low, high = (0.2, 1.0) if name.endswith("running_var") else (-1.0, 1.0)
                tensor.uniform_(low, high)
    return nn.DataParallel(whole).eval()


def write_files(torch, folder: Path) -> np.ndarray:
    """Writes `zip.p` and `stream.p`; gives the answers to `images()`."""
    network = torch_network(torch)
    torch.save(network.state_dict(), folder / "zip.p", _use_new_zipfile_serialization=True)
    torch.save(network.state_dict(), folder / "stream.p", _use_new_zipfile_serialization=False)
    with torch.no_grad():
        return network.module(torch.tensor(np.moveaxis(images(), -1, 1))).numpy().reshape(2, OUTPUTS)


def answers(path: Path) -> np.ndarray:
    """What the converted model says to `images()`."""
    source = read_sfcn(path)
    model = sfcn.build((*SHAPE, 1), OUTPUTS, filters=WIDTHS)
    model.set_weights(source.get_weights())
    return np.asarray(model(images(), training=False))


@pytest.mark.parametrize("name", ["zip.p", "stream.p"])
def test_the_converted_network_says_what_that_of_pytorch_said(name):
    np.testing.assert_allclose(answers(FILES / name), ANSWERS, atol=1e-5)


def test_the_converted_network_says_what_pytorch_says_here(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not among the requirements; the stored numbers are its own")
    expected = write_files(torch, tmp_path)
    for name in ("zip.p", "stream.p"):
        np.testing.assert_allclose(answers(tmp_path / name), expected, atol=1e-5)


def test_both_formats_hold_the_same_tensors_views_of_one_storage_too():
    one, other = read_state_dict(FILES / "zip.p"), read_state_dict(FILES / "stream.p")
    assert [*one] == [*other] and len(one) == 7 * len(WIDTHS) + 2
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert one["module.feature_extractor.conv_1.0.weight"].shape == (4, 2, 3, 3, 3)
    views = read_state_dict(FILES / "views.p")
    np.testing.assert_array_equal(views["transposed"], np.arange(6).reshape(2, 3).T)
    np.testing.assert_array_equal(views["part"], [3, 4])
    assert views["part"].dtype == np.float64 and views["none"].shape == (0,) and views["number"] == 7


def archive(pickled: bytes, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights/data.pkl", pickled)
    return path


def stream(pickled: bytes, path: Path) -> Path:
    head = [torch_file.MAGIC, torch_file.PROTOCOL, {"little_endian": True}]
    path.write_bytes(b"".join(pickle.dumps(each, 2) for each in head) + pickled + pickle.dumps([], 2))
    return path


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("write", [archive, stream])
def test_a_file_that_would_run_a_command_is_refused_and_nothing_is_run(write, tmp_path):
    done = tmp_path / "done"
    for call, name in [
        (Calls(os.system, f"touch {done}"), "posix.system"),
        (Calls(eval, f"open({str(done)!r}, 'w')"), "__builtin__.eval"),
    ]:
        path = write(pickle.dumps({"weight": call}, 2), tmp_path / "weights.p")
        with pytest.raises(
            InputError, match=rf"weights\.p: it asks for {name.replace('builtins', '.*')}.*nothing of it"
        ):
            read_state_dict(path)
        assert not done.exists()


def test_a_command_in_the_place_of_the_magic_number_is_refused_too(tmp_path):
    path, done = tmp_path / "weights.p", tmp_path / "done"
    path.write_bytes(pickle.dumps(Calls(os.system, f"touch {done}"), 2))
    with pytest.raises(InputError, match=r"posix\.system.*nothing of it was run"):
        read_state_dict(path)
    assert not done.exists()


def test_what_holds_no_weights_or_is_damaged_is_said_in_a_sentence(tmp_path):
    whole = {name: (FILES / name).read_bytes() for name in ("zip.p", "stream.p")}
    for content, said in [
        (None, "there is no such file"),
        (b"", "cannot be read as a file of PyTorch"),
        (b"<html>not found</html>", "neither a zip archive nor a pickle.*damaged, or a page"),
        (whole["zip.p"][:3000], "cannot be read as a file of PyTorch"),
        (whole["stream.p"][:-9], "it ends too early"),
        (whole["stream.p"][:500], "cannot be read as a file of PyTorch"),
        (stream(pickle.dumps([1, 2], 2), tmp_path / "list.p").read_bytes(), "it holds something else.*state_dict"),
        (
            (FILES / "views.p").read_bytes(),
            r"it holds transposed, part, \.\.\. and no feature_extractor.*no weights of SFCN",
        ),
    ]:
        path = tmp_path / "weights.p"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=rf"(?s)weights\.p: .*{said}") as raised:
            read_sfcn(path)
        assert len(raised.value.problems) == 1 and "\n" not in str(raised.value)


def test_a_tensor_cannot_reach_outside_its_storage(tmp_path):
    with zipfile.ZipFile(FILES / "views.p") as source:
        content = {name: source.read(name) for name in source.namelist()}
    name = next(each for each in content if each.endswith("data.pkl"))
    two, six = b"K\x03K\x02\x86", b"K\x03K\x7f\x86"  # the size (3, 2) of a tensor becomes (3, 127)
    assert content[name].count(two) == 1
    path = tmp_path / "weights.p"
    with zipfile.ZipFile(path, "w") as target:
        for each, data in content.items():
            target.writestr(each, data.replace(two, six) if each == name else data)
    with pytest.raises(InputError, match="larger than its storage"):
        read_state_dict(path)


def test_an_sfcn_with_a_layer_more_or_of_another_shape_is_refused():
    state = read_state_dict(FILES / "zip.p")
    for changed, said in [
        (state | {"module.extra.weight": np.zeros(3)}, "extra.weight too: no weights of SFCN"),
        ({name: state[name] for name in state if "conv_2.1.bias" not in name}, "no feature_extractor.conv_2.1.bias"),
        (state | {"module.classifier.conv_4.bias": np.zeros((2, 2))}, "not those of SFCN"),
        (state | {"module.classifier.conv_4.weight": np.zeros(15)}, "not those of SFCN"),
    ]:
        with pytest.raises(InputError, match=re.escape(said)):
            to_sfcn(changed, "weights.p")
