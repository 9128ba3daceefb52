"""Attribution over anatomy, in three planes through its strongest place."""

from pathlib import Path

import nibabel
import numpy as np

from tfmri.files import whole_path
from tfmri.images.geometry import spacing_of

BLUR = 4.0  # mm, standard deviation, of signed maps in pictures: their speckle is of single voxels
FAINT, FULL = {True: 0.1, False: 0.35}, {True: 0.6, False: 0.9}  # signed: of the strongest value, none below, all above
OPAQUE = {True: 1.0, False: 0.6}  # signed: at most; the others cover whole lobes


def overlay(attribution: np.ndarray, anatomy: np.ndarray, affine: np.ndarray, title: str, path: Path) -> bool:
    """Writes a PNG of (x, y, z) `attribution` over (x, y, z) `anatomy`; signed maps in blue and red, others in yellow.

    The weaker, the more transparent; signed maps are blurred by `BLUR`.

    Returns:
        Whether there was anything to show: a map that is the same everywhere has no picture.

    Source: Taylor et al. 2023, Highlight results, don't hide them, NeuroImage 274, for transparency without threshold.
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib import pyplot as plt
    from nilearn import plotting
    from scipy import ndimage

    signed = bool(attribution.min() < 0)
    seen = ndimage.gaussian_filter(attribution, BLUR / spacing_of(affine)) if signed else attribution
    limit = float(np.quantile(np.abs(seen), 0.9995))
    if np.ptp(attribution) == 0 or limit == 0:
        return False
    place = np.unravel_index(int(np.abs(seen).argmax()), seen.shape)
    opacity = OPAQUE[signed] * np.clip((np.abs(seen) / limit - FAINT[signed]) / (FULL[signed] - FAINT[signed]), 0, 1)
    lowest, highest = np.quantile(anatomy, [0.01, 0.995])
    with whole_path(path) as temporary:
        figure = plt.figure(figsize=(8.2, 3.9), facecolor="black")
        shown = plotting.plot_stat_map(
            nibabel.Nifti1Image(seen.astype(np.float32), affine),
            bg_img=nibabel.Nifti1Image(np.clip(anatomy, lowest, highest).astype(np.float32), affine),
            cut_coords=(affine @ [*place, 1])[:3],
            threshold=None,
            transparency=nibabel.Nifti1Image(opacity.astype(np.float32), affine),
            vmin=-limit if signed else 0,
            vmax=limit,
            cmap="bwr" if signed else "hot",
            draw_cross=False,
            black_bg=True,
            colorbar=True,
            cbar_tick_format="%.2g",
            figure=figure,
            axes=(0.0, 0.0, 1.0, 0.9),
        )
        figure.text(0.012, 0.975, title.replace("$", r"\$"), color="white", fontsize=10, va="top")
        figure.savefig(temporary, dpi=110, facecolor="black")
        shown.close()
    return True
