"""Importing TensorFlow: with its fast CPU kernels, and without what it says to everyone who has no GPU."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices, silently where all is well.

    Its start-up messages come from compiled code, which no logging level reaches. They are shown if the import fails,
    and if there is an NVIDIA driver and yet no GPU: then they say why.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # By default oneDNN serves processors with AVX-512 alone; with AVX2 it makes 3D convolutions four times as fast.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with held_back() as messages:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    if not gpus and Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        print(messages.read_text(), file=sys.stderr)
        print("There is an NVIDIA driver, but TensorFlow found no GPU: training on the CPU", file=sys.stderr)
    messages.unlink()


@contextmanager
def held_back() -> Iterator[Path]:
    """Sends what compiled code writes to stderr into a file, which an exception lets out.

    Yields:
        The file, which whoever calls has to remove.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    handle, name = tempfile.mkstemp(prefix="tfmri-stderr-")
    os.dup2(handle, 2)
    try:
        yield Path(name)
    except BaseException:
        os.write(terminal, Path(name).read_bytes())
        raise
    finally:
        os.dup2(terminal, 2)
        os.close(handle)
        os.close(terminal)
