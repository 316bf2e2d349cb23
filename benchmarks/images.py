"""Fit an image by a sparse ReLU network over Fourier features: PSNR reached in a time limit.

    CONVEXNN_DATA=folder python benchmarks/images.py [--seeds 3] [--seconds 30] [--cells 10,50 20,100 20,200 50,500]

The image is the MNIST test image x_test[np.where(y_test == 0)[0][500]] / 255 (mnist.npz in CONVEXNN_DATA), 28 x 28; the
features are sin and cos of 2 pi (row, col) . B^T for 750 frequencies B, N(0, 4), at integer pixels: n = 784, d = 1500.
A cell is "width,budget". Beside it stand the figures recorded for the published solver, run on the same data: 22.3 /
29.4 / 35.6 / 51.7 dB after 100 epochs, 50 to 101 seconds.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

from argparse import ArgumentParser
from pathlib import Path
from statistics import fmean

import numpy as np

import convexnn as cx
from convexnn.checks import Floats

RECORDED = {"10,50": 22.3, "20,100": 29.4, "20,200": 35.6, "50,500": 51.7}


def image() -> tuple[Floats, Floats]:
    """Return the features (784, 1500) and the pixels (784,)."""
    folder = os.environ.get("CONVEXNN_DATA")
    if folder is None:
        raise SystemExit("CONVEXNN_DATA is not set; expected the folder that holds mnist.npz")
    with np.load(Path(folder) / "mnist.npz") as data:
        pixels = data["x_test"][np.where(data["y_test"] == 0)[0][500]] / 255.0
    frequencies = np.random.RandomState(0).normal(size=(750, 2)) * 2.0
    places = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij"), axis=-1).reshape(-1, 2)
    angles = 2.0 * np.pi * places @ frequencies.T
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1), pixels.ravel()


def main() -> None:
    """Read the command line, fit, print one line a cell."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--cells", nargs="*", default=list(RECORDED))
    given = parser.parse_args()
    features, pixels = image()
    for cell in given.cells:
        width, budget = map(int, cell.split(","))
        values, times = [], []
        for seed in range(given.seeds):
            found = cx.recover(features, pixels, budget, width, seed=seed, time_limit=given.seconds)
            values.append(-10.0 * np.log10(max(2.0 * found.mapping_loss, 1e-30)))
            times.append(found.seconds)
        each = " ".join(f"{value:.1f}" for value in values)
        recorded = f"published solver {RECORDED[cell]} dB" if cell in RECORDED else ""
        print(f"{cell:8} {fmean(values):6.1f} dB ({each}) in {fmean(times):.1f} s  {recorded}", flush=True)


if __name__ == "__main__":
    main()
