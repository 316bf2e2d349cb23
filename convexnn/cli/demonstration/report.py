"""The demonstration's report: one HTML page with everything inside."""

from __future__ import annotations

from convexnn.cli.demonstration.experiment import RADIUS, Demo, VerifiedImage
from convexnn.cli.demonstration.pictures import triple, weight_images
from convexnn.cli.demonstration.tables import CaptionedTable, image_table, recovery_table, robustness_table
from convexnn.reports import Section, html_page
from convexnn.tables import Table


def report(demo: Demo) -> str:
    """Return the page."""
    network = demo.iht.refit.mapping.network
    lead = Section(
        text=f"Is a handwritten digit even or odd? {len(demo.split.y_train):,} images of 8 by 8 pixels teach a "
        f"network, {len(demo.split.y_test):,} test it. First the network: a convex method finds one with few weights. "
        f"It begins with {len(demo.patterns)} activation patterns, each of which says for which images a neuron is "
        f"active ({demo.patterns.n_drawn} were drawn; those that are equal, or never active, go). Hard thresholding "
        f"kept {demo.iht.solution.nnz} weights, which make {network.n_neurons} neurons. Then the proof: can a small "
        "change of every pixel make the network read an image wrongly? Branch and bound answers for all changes at "
        f"once. The whole run took {demo.seconds:.1f} seconds."
    )
    weights = Section(
        "The weights",
        f"All {demo.iht.solution.nnz} weights of the network, one image a neuron, the longest weight vector first: "
        "bright pixels excite a neuron where it is red and inhibit it where it is blue. Above each image stand the "
        "sign with which the network adds the neuron and the length of its weight vector; colours are scaled neuron "
        f"by neuron. A positive sum means {demo.split.names[1]}.",
        picture=weight_images(network, demo.split.image_shape),
        alt="The weights of every neuron as an 8 by 8 image",
    )
    tables = [_section(make(demo)) for make in (recovery_table, robustness_table, image_table)]
    sections = [lead, tables[0], weights, tables[1], _attack(demo, demo.attacked), tables[2]]
    return html_page("From images to a sparse ReLU network, verified exactly", sections)


def _attack(demo: Demo, attacked: VerifiedImage | None) -> Section:
    if attacked is None or attacked.answer.witness is None:
        return Section("An attack", "No test image could be attacked within this radius.")
    right, wrong = demo.split.names[attacked.label > 0], demo.split.names[attacked.label < 0]
    titles = (f"test image {attacked.row}: {right}", f"read as {wrong}", f"difference, at most {RADIUS:g}")
    picture = triple(attacked.image, attacked.answer.witness, demo.split.image_shape, titles)
    return Section("An attack", picture=picture, alt="An image, its adversarial neighbour and their difference")


def _section(table: CaptionedTable) -> Section:
    return Section(table.title, table=Table(table.header, table.rows), note=table.note)
