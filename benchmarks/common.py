"""What the benchmarks share: a network trained on MNIST, folders of data, clocks, command lines.

Import it before NumPy and torch: it keeps them to one thread, unless OMP_NUM_THREADS says otherwise.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

import verify
from convexnn.checks import Floats
from convexnn.datasets import Labels, mnist
from convexnn.network import SparseReLUNetwork
from convexnn.studies.methods.perceptron import perceptron, train_classifier

# Balls by their names on the command line.
BALLS = {"Linf": verify.LinfBall, "L1": verify.L1Ball, "L2": verify.L2Ball}


def mnist_network(hidden: Sequence[int] = (64, 64)) -> tuple[SparseReLUNetwork, Floats, Labels]:
    """Return a dense network after 5 epochs of Adam on MNIST, one thread, and the test images and labels."""
    X, y, tests, truths = mnist().parts
    torch.set_num_threads(1)
    model = perceptron([784, *hidden, 10], seed=0)
    train_classifier(model, X, y, epochs=5, batch_size=128)
    return verify.read_network(model), tests, truths


def data_folder(name: str) -> Path:
    """Return a folder of data, such as mnist_fc or vnncomp, in the one that CONVEXNN_DATA names."""
    folder = os.environ.get("CONVEXNN_DATA")
    if folder is None:
        raise SystemExit(f"CONVEXNN_DATA is not set; expected the folder that holds {name}")
    return Path(folder) / name


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    began = perf_counter()
    work()
    return perf_counter() - began


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of a call, after one to warm up."""
    work()
    return median([seconds_of(work) for _ in range(repeats)])


def option_parser(about: str | None) -> ArgumentParser:
    """Return a parser that says the first line of a benchmark's docstring."""
    return ArgumentParser(description=(about or "").partition("\n")[0])


def arguments(*kinds: Callable[[str], Any]) -> list[Any]:
    """Return the arguments of the command line, each read as its kind."""
    return [read(text) for read, text in zip(kinds, sys.argv[1:], strict=False)]
