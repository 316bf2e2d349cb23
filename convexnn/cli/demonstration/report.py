"""The demonstration's report: one HTML page with everything inside."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from convexnn.cli.demonstration.experiment import RADIUS, Demo, VerifiedImage
from convexnn.cli.demonstration.pictures import triple, weight_images
from convexnn.cli.demonstration.tables import CaptionedTable, image_table, recovery_table, robustness_table

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #8884; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; } .note { color: #777; font-size: .9rem; max-width: 48rem; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
"""


def report(demo: Demo) -> str:
    """Return the page."""
    network = demo.iht.refit.mapping.network
    parts = [
        "<h1>From images to a sparse ReLU network, verified exactly</h1>",
        f"<p>{escape(str(demo.patterns))}. Hard thresholding found {demo.iht.solution.nnz} weights in "
        f"{network.n_neurons} neurons; the whole run took {demo.seconds:.1f} seconds.</p>",
        _html_table(recovery_table(demo)),
        "<h2>The weights</h2>",
        f"<p>All {demo.iht.solution.nnz} weights of the network, one image a neuron, the longest weight vector first: "
        "bright pixels excite a neuron where it is red and inhibit it where it is blue. Above each image stand the "
        "sign with which the network adds the neuron and the length of its weight vector; colours are scaled neuron "
        f"by neuron. A positive sum means {escape(demo.split.names[1])}.</p>",
        _image(weight_images(network, demo.split.image_shape), "The weights of every neuron as an 8 by 8 image"),
        _html_table(robustness_table(demo)),
        _attack(demo, demo.attacked),
        _html_table(image_table(demo)),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{head}<title>convexnn demo</title><style>{STYLE}</style></head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _attack(demo: Demo, attacked: VerifiedImage | None) -> str:
    if attacked is None or attacked.answer.witness is None:
        return "<h2>An attack</h2><p>No test image could be attacked within this radius.</p>"
    right, wrong = demo.split.names[attacked.label > 0], demo.split.names[attacked.label < 0]
    titles = (f"test image {attacked.row}: {right}", f"read as {wrong}", f"difference, at most {RADIUS:g}")
    picture = triple(attacked.image, attacked.answer.witness, demo.split.image_shape, titles)
    return "<h2>An attack</h2>" + _image(picture, "An image, its adversarial neighbour and their difference")


def _html_table(table: CaptionedTable) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    body = f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'
    return f'<h2>{escape(table.title)}</h2>{body}<p class="note">{escape(table.note)}</p>'


def _image(png: bytes, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{b64encode(png).decode()}">'
