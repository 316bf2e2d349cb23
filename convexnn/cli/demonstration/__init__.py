"""The demonstration: digits in, sparse network out, network verified; as tables and as one HTML page.

Start reading in `experiment.py`; `tables.py` holds its tables, `report.py` and `pictures.py` the page.
"""
