"""What sparse networks are compared with: dense training, magnitude pruning (iterative, one-shot) and RigL."""

from convexnn.baselines.dense import train_dense
from convexnn.baselines.growth import rigl
from convexnn.baselines.iterative import prune_iteratively
from convexnn.baselines.one_shot import prune_once
from convexnn.baselines.result import Baseline

__all__ = ["Baseline", "prune_iteratively", "prune_once", "rigl", "train_dense"]
