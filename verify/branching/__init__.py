"""Branch and bound: a question is split at neurons until linear relaxation answers every part."""

from verify.branching.relaxation import Relaxation, suits
from verify.branching.sharpening import sharpen
from verify.branching.tree import Branched, branch

__all__ = ["Branched", "Relaxation", "branch", "sharpen", "suits"]
