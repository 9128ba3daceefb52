"""Attribution over anatomy, in three planes through its strongest place."""

from pathlib import Path

import nibabel
import numpy as np

from tfmri.files import whole_path


def overlay(attribution: np.ndarray, anatomy: np.ndarray, affine: np.ndarray, title: str, path: Path) -> None:
    """Writes a PNG of (x, y, z) `attribution` over (x, y, z) `anatomy`; signed maps in blue and red, others in red."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from nilearn import plotting

    strongest = np.unravel_index(int(np.abs(attribution).argmax()), attribution.shape)
    place = (affine @ [*strongest, 1])[:3]
    limit = float(np.quantile(np.abs(attribution), 0.999)) or 1.0
    with whole_path(path) as temporary:
        shown = plotting.plot_stat_map(
            nibabel.Nifti1Image(attribution.astype(np.float32), affine),
            bg_img=nibabel.Nifti1Image(anatomy.astype(np.float32), affine),
            cut_coords=place,
            threshold=(0.2 if attribution.min() < 0 else 0.5) * limit,
            transparency=1.0 if attribution.min() < 0 else 0.6,
            vmax=limit,
            symmetric_cbar=bool(attribution.min() < 0),
            cmap="cold_hot" if attribution.min() < 0 else "hot",
            title=title.replace("$", r"\$"),
            black_bg=True,
            annotate=True,
        )
        shown.savefig(temporary, dpi=110)
        shown.close()
