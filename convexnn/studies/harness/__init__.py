"""The harness of the studies: a sweep of runs that a killed process goes on from, and its page.

In comes a :class:`Study`; out come a table of rows (`table.py`), pictures and a summary. `resources.py`
measures what a run takes. Start reading in `reproduce.py`.
"""
