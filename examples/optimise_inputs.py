"""A trained network inside an optimisation model: the inputs that maximise its output under a budget.

python examples/optimise_inputs.py
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

import convexnn as cx
import verify

PRICES = np.array([3.0, 1.0, 2.0, 4.0])  # of a unit of nitrogen, potash, phosphate and water
MONEY = 8.0


def harvest(doses: np.ndarray) -> np.ndarray:
    """Return what a field yields: each dose helps up to a point, nitrogen only where there is water."""
    nitrogen, potash, phosphate, water = doses.T
    return np.minimum(nitrogen, 0.8 * water) + np.minimum(potash, 1.0) + 0.5 * np.minimum(phosphate, 0.7) + 0.1 * water


def main() -> None:
    """Learn the harvest from trials, then choose the doses that are best for the network within the money."""
    rng = np.random.default_rng(0)
    doses = rng.uniform(0.0, 2.0, (1000, 4))
    model = cx.SparseReLURegressor(budget=60, random_state=0).fit(doses, harvest(doses) + 0.05 * rng.normal(size=1000))
    print(f"{model.network_}: R2 {model.score(doses, harvest(doses)):.3f} without the noise")

    dose = cp.Variable(4, bounds=[0.0, 2.0])
    inside = verify.embed(model.network_, dose)
    problem = cp.Problem(cp.Maximize(inside.outputs[0]), [PRICES @ dose <= MONEY, *inside.constraints])
    problem.solve(solver=cp.HIGHS)
    chosen = np.clip(dose.value, 0.0, 2.0)
    print(f"{inside}: doses {np.round(chosen, 2)}, cost {PRICES @ chosen:.2f} of {MONEY:g}")
    print(f"the network promises {model.predict(chosen[None])[0]:.2f}, the field gives {harvest(chosen[None])[0]:.2f}")

    trials = rng.uniform(0.0, 2.0, (200_000, 4))
    best = harvest(trials[trials @ PRICES <= MONEY]).max()
    print(f"the best of {(trials @ PRICES <= MONEY).sum():,} affordable doses drawn at random gives {best:.2f}")


if __name__ == "__main__":
    main()
