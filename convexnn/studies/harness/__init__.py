"""The harness of the studies: runs a list of settings, keeps a row for each, and writes the page.

In comes a :class:`Study`; out come a CSV table (`table.py`), from which a killed process goes on, pictures and a
summary. `resources.py` measures what a run takes. Start reading in `reproduce.py`.
"""
