"""Many volumes in one grey picture, for previews and TensorBoard.

Pictures are seen as from behind and above (neurological): the subject's right is on the picture's right in axial and
coronal planes; the front is up in axial planes and on the right in sagittal ones.
"""

from typing import Literal

import numpy as np

WINDOW = (1.0, 99.5)  # percentiles of a volume, shown as black and white


def montage(images: np.ndarray, columns: int | None = None, planes: Literal["axial", "three"] = "axial") -> np.ndarray:
    """The middle slices of `images`, row by row.

    Args:
        images: (n, x, y, z) or (n, x, y, z, channel), RAS+, any real type; the first channel is shown.
        columns: images in a row; by default so many that the picture is about square.
        planes: 'axial', or 'three': axial, coronal and sagittal side by side.

    Returns:
        (height, width) uint8, row 0 on top.
    """
    if images.ndim == 5:
        images = images[..., 0]
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"a montage is made of (n, x, y, z) or (n, x, y, z, channel), not of {images.shape}")
    tiles = [_tile(np.asarray(image, np.float32), planes) for image in images]
    height, width = tiles[0].shape
    columns = min(len(tiles), columns or int(np.ceil(np.sqrt(len(tiles) * height / width))))
    rows = -(-len(tiles) // columns)
    tiles += [np.zeros((height, width), np.uint8)] * (rows * columns - len(tiles))
    return np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)])


def _tile(image: np.ndarray, planes: str) -> np.ndarray:
    x, y, z = (length // 2 for length in image.shape)
    slices = [image[:, :, z]]
    if planes == "three":
        slices += [image[:, y, :], image[x, :, :]]
    pictures = [plane.T[::-1] for plane in slices]  # first axis to the right, second one up
    black, white = np.percentile(image, WINDOW)
    tallest = max(len(picture) for picture in pictures)
    fitted = []
    for picture in pictures:
        grey = np.clip((picture - black) / max(white - black, 1e-6), 0, 1)
        above = (tallest - len(picture)) // 2
        fitted.append(np.pad(grey, ((above, tallest - len(picture) - above), (0, 0))))
    return np.round(255 * np.hstack(fitted)).astype(np.uint8)
