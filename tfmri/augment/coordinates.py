"""All spatial transforms of a recipe as one field of coordinates.

To the head it happens in the order of the recipe, but for deformations, which come last and are added up. Resampling
asks the other way round, where a voxel of the output comes from in the input. With p the output voxel's place in mm
from the centre of the image, u the sum of the deformations, and Sᵢ where the i-th transform's places come from::

    place in the input = S₁(S₂(... (p + u(p))))

Matrices are float64, fields and coordinates float32 whatever the precision of the training. Transforms that a sample
did not draw give the voxels' own coordinates exactly.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmri.augment import affine
from tfmri.augment.recipe import Recipe, keys_of
from tfmri.augment.sampling import Parameters
from tfmri.augment.transform import SpatialTransform


def coordinates(
    recipe: Recipe, parameters: Parameters, shape: Sequence[int], spacing: Sequence[float]
) -> list[tf.Tensor] | None:
    """Where each output voxel comes from.

    Args:
        recipe: of which the spatial transforms count.
        parameters: as `sample_parameters` gives them.
        shape: of the images, in voxels.
        spacing: of the images, in mm.

    Returns:
        Three of (batch, x, y, z) float32: input voxel coordinates along x, y and z. None if nothing moves.
    """
    back, field = None, None
    for key, transform in zip(keys_of(recipe), recipe, strict=True):
        if not isinstance(transform, SpatialTransform):
            continue
        drawn = parameters[key]
        happens = drawn["drawn"] if drawn["drawn"].shape.rank == 1 else tf.reduce_any(drawn["drawn"], axis=1)
        source = transform.source(drawn, shape, spacing)
        if source is not None:
            nothing = affine.identity(tf.shape(happens)[0])
            matrix, shift = (tf.cast(each, tf.float64) for each in source)
            source = tf.where(happens[:, None, None], matrix, nothing[0]), tf.where(happens[:, None], shift, nothing[1])
            back = affine.followed_by(back or nothing, source)
        deformation = transform.deformation(drawn, shape, spacing)
        if deformation is not None:
            deformation = tf.where(happens[:, None, None, None, None], deformation, 0.0)
            field = deformation if field is None else field + deformation
    if back is None and field is None:
        return None
    return voxel_places(back or affine.identity(tf.shape(field)[0]), shape, spacing, field)


def voxel_places(
    back: affine.Source, shape: Sequence[int], spacing: Sequence[float], field: tf.Tensor | None = None
) -> list[tf.Tensor]:
    """Three of (batch, x, y, z): input voxel coordinates of the output places p, which come from back(p + field).

    Args:
        back: matrix (batch, 3, 3) and shift (batch, 3) mm, about the centre of the image, float64.
        shape: of the images, in voxels.
        spacing: of the images, in mm.
        field: (batch, 3, x, y, z) mm.
    """
    matrix, shift = back
    centre = (np.array(shape) - 1) / 2
    places = [
        tf.reshape(tf.constant(np.arange(n) - c, tf.float32), np.roll([1, 1, n], axis + 1))
        for axis, (n, c) in enumerate(zip(shape, centre, strict=True))
    ]
    if field is not None:
        places = [place + field[:, axis] / spacing[axis] for axis, place in enumerate(places)]

    def per_sample(values: tf.Tensor) -> tf.Tensor:
        return tf.cast(values, tf.float32)[:, None, None, None]

    # The ratio of spacings is exactly 1 on the diagonal, and whole voxels are exact in float32: so is the identity.
    return [
        sum(per_sample(matrix[:, i, j] * (spacing[j] / spacing[i])) * places[j] for j in range(3))
        + per_sample(shift[:, i] / spacing[i] + centre[i])
        for i in range(3)
    ]
