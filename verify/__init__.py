"""Exact verification of sparse ReLU networks: a network, a region and a question in, a proof or a witness out."""

from verify.answer import Answer, Proof, Verdict
from verify.balls import L1Ball, L2Ball, LinfBall
from verify.bounds import bound
from verify.check import Check, Holding
from verify.checking import check_vnnlib
from verify.difference import difference
from verify.embedding import Embedding, embed
from verify.encoding import Encoding, Milp, encode
from verify.evaluation import Evaluation, evaluate
from verify.finetuning import Finetune
from verify.intervals import Interval
from verify.maximising import maximize, minimize, output_range
from verify.optimum import Optimum, OutputRange, Status
from verify.property import Property, parse_property, read_property
from verify.pruning import prune
from verify.radius import Nearness, Radius, min_radius
from verify.reading import read_network
from verify.regions import Box
from verify.search import find_adversarial
from verify.simplifying import simplify
from verify.transfer import certify_through

__all__ = [
    "Answer",
    "Box",
    "Check",
    "Embedding",
    "Encoding",
    "Evaluation",
    "Finetune",
    "Holding",
    "Interval",
    "L1Ball",
    "L2Ball",
    "LinfBall",
    "Milp",
    "Nearness",
    "Optimum",
    "OutputRange",
    "Proof",
    "Property",
    "Radius",
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
