"""The papers' experiments, one study a file: runs, what is measured, its pictures and tables.

In comes a scale (quick, default, full); out come the rows that `harness/` keeps, draws and writes up. What the
methods are compared with is in `methods/`. A study is a :class:`~convexnn.studies.harness.study.Study`, registered by
a line of STUDIES in `harness/study.py`.
"""
