"""Which packages of a step's image have a layer of their own, so that images with other packages too share them."""

from __future__ import annotations

from kaleyard.compiler.lockfile import RUNNER, Lock, step_distributions
from kaleyard.pipeline import Step

__all__ = ["LARGE", "OTHERS", "RUNNER_LAYER", "step_layers"]

RUNNER_LAYER, OTHERS = "runner", "others"
# Distributions that take more than 10 MB when they are installed. A table, since neither the lock nor this machine says
# it the same way everywhere. One that is missing here costs no more than that images share it less.
LARGE = frozenset(
    """
    apache-beam babel bokeh botocore catboost cryptography django duckdb faiss-cpu fonttools gensim
    google-api-python-client h2o h5py jax jaxlib jupyterlab keras kubernetes lightgbm llvmlite matplotlib mlflow mypy
    notebook numba numpy onnx onnxruntime onnxruntime-gpu opencv-contrib-python opencv-contrib-python-headless
    opencv-python opencv-python-headless pandas panel pillow playwright plotly polars-runtime-32
    polars-runtime-64 polars-runtime-compat prophet pyarrow pymupdf pyogrio pyproj pyside6 pyspark rasterio ray ruff
    scikit-image scikit-learn scipy spacy sqlalchemy statsmodels sympy tensorboard tensorflow tensorflow-cpu torch
    torchaudio torchvision transformers triton uv vtk xgboost xgboost-cpu
    """.split()
)
_LARGE_FAMILIES = ("nvidia-", "jax-cuda", "cupy-")


def step_layers(step: Step, lock: Lock) -> dict[str, tuple[str, ...]]:
    """The names of the step's distributions by image layer, in the order of the layers.

    First what the step runner needs, the same for every step; then each large one alone, then all others. Raises
    ProjectError as `step_requirements` does.
    """
    runner = tuple(sorted({entry.name for entry in lock.closure(RUNNER)}))
    own = [name for name in step_distributions(step, lock) if name not in runner]
    large = [name for name in own if name in LARGE or name.startswith(_LARGE_FAMILIES)]
    others = tuple(name for name in own if name not in large)
    layers = {RUNNER_LAYER: runner} | {name: (name,) for name in large}
    return layers | ({OTHERS: others} if others else {})
