"""The papers' experiments, each a study: runs, a table that a killed sweep goes on from, pictures and a page."""
