"""Exact verification of sparse ReLU networks: a network, a region and a question in, a proof or a witness out."""

from convexnn.checks import mixed_files
from verify.answers.answer import Answer, Proof, Verdict
from verify.answers.evaluation import Evaluation
from verify.answers.optimum import Optimum, OutputRange, Status
from verify.answers.property_check import Check, Holding
from verify.answers.proven_bounds import Bounding, Difference, LayerBounds
from verify.answers.radius import Nearness, Radius
from verify.embedding.embed import Embedding, embed
from verify.encoding.encode import Encoding, Milp, encode
from verify.points.finetuning import Finetune
from verify.points.pruning import prune
from verify.properties.property import Property
from verify.properties.read_property import parse_property, read_property
from verify.questions.bound import bound
from verify.questions.certify_through import certify_through
from verify.questions.check_vnnlib import check_vnnlib
from verify.questions.difference import difference
from verify.questions.evaluate import evaluate
from verify.questions.extremes import maximize, minimize
from verify.questions.find_adversarial import find_adversarial
from verify.questions.min_radius import min_radius
from verify.questions.output_range import output_range
from verify.reading.read_network import read_network
from verify.reading.simplify import simplify
from verify.regions.balls import L1Ball, L2Ball, LinfBall
from verify.regions.box import Box
from verify.regions.intervals import Interval
from verify.relu_graph import ReLUGraph

if (_mixed := mixed_files(__path__[0])) is not None:
    raise ImportError(_mixed)

# That of convexnn, with which it comes.
__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Bounding",
    "Box",
    "Check",
    "Difference",
    "Embedding",
    "Encoding",
    "Evaluation",
    "Finetune",
    "Holding",
    "Interval",
    "L1Ball",
    "L2Ball",
    "LayerBounds",
    "LinfBall",
    "Milp",
    "Nearness",
    "Optimum",
    "OutputRange",
    "Proof",
    "Property",
    "Radius",
    "ReLUGraph",
    "Status",
    "Verdict",
    "bound",
    "certify_through",
    "check_vnnlib",
    "difference",
    "embed",
    "encode",
    "evaluate",
    "find_adversarial",
    "maximize",
    "min_radius",
    "minimize",
    "output_range",
    "parse_property",
    "prune",
    "read_network",
    "read_property",
    "simplify",
]
