"""The one module that knows UMAP (McInnes et al. 2018), the extra `map`: rows with many columns, laid out on a plane."""

import numpy as np
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray


def laid_out(rows: NDArray[np.float64], *, neighbours: int, spread: float, seed: int) -> NDArray[np.float64]:
    """A place on the plane for each row; near are those that are near by the angle between them."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise BunbukuError(
            "UMAP is not installed", hint='uv add "bunbuku-eval[map]", or `method = "svd"` for the two main directions'
        ) from error
    layout = UMAP(
        n_neighbors=min(neighbours, len(rows) - 1),
        min_dist=spread,
        metric="cosine",
        # With a seed UMAP uses one thread, and says so.
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(layout.fit_transform(rows), dtype=np.float64)
