"""Two ways to call an engine of MathOpt with a model that is a proto: the proto itself, and its public Python model.

The public one makes an object of every variable and reads the proto out of them again, which takes longer than some
questions. The module behind it takes the proto as it is; it is not public, so that another version of ortools may lack
it or want other arguments: then the public way is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from convexnn.checks import Floats

# How a function bound from C++ says that it does not take such arguments.
UNSUITED = "incompatible function arguments"


@dataclass(frozen=True, eq=False)
class Call:
    """What an engine of MathOpt is asked.

    Attributes
    ----------
    model : ModelProto
        Its variables are numbered from 0.
    engine : SolverType
        The engine.
    settings : SolveParameters
        Tolerances and limits.
    start : ndarray (v,) or None
        A point to begin with.
    heard : callable or None
        Given a SparseDoubleVectorProto of every better point as it is found; True ends the run.
    """

    model: Any
    engine: Any
    settings: Any
    start: Floats | None
    heard: Callable[[Any], bool] | None


def call(asked: Call) -> Any:
    """Return a SolveResultProto; errors are the engine's own words."""
    solve = _bound_from_c()
    if solve is not None:
        try:
            return directly(solve, asked)
        except TypeError as error:
            if UNSUITED not in str(error):
                raise
    return publicly(asked)


def _bound_from_c() -> Callable[..., Any] | None:
    try:
        from ortools.math_opt.core.python.solver import solve
    except ImportError:
        return None
    return cast("Callable[..., Any]", solve)


def directly(solve: Callable[..., Any], asked: Call) -> Any:
    """Hand the proto over as it is."""
    from ortools.math_opt import callback_pb2, model_parameters_pb2, parameters_pb2

    beside, registration = model_parameters_pb2.ModelSolveParametersProto(), callback_pb2.CallbackRegistrationProto()
    if asked.start is not None:
        hint = beside.solution_hints.add().variable_values
        hint.ids.extend(range(len(asked.start)))
        hint.values.extend(asked.start.tolist())
    if asked.heard is not None:
        registration.request_registration.append(callback_pb2.CALLBACK_EVENT_MIP_SOLUTION)
    heard = asked.heard

    def told(data: Any) -> Any:
        return callback_pb2.CallbackResultProto(terminate=heard is not None and heard(data.primal_solution_vector))

    return solve(
        asked.model,
        asked.engine.value,
        parameters_pb2.SolverInitializerProto(),
        asked.settings.to_proto(),
        beside,
        None,
        registration,
        None if heard is None else told,
        None,
    )


def publicly(asked: Call) -> Any:
    """Make a model of the proto, for ortools to make a proto of it again."""
    from ortools.math_opt.python import mathopt

    model = mathopt.Model.from_model_proto(asked.model)
    more: dict[str, Any] = {}
    if asked.start is not None:
        values = dict(zip(model.variables(), asked.start.tolist(), strict=True))
        hint = mathopt.SolutionHint(variable_values=values)
        more["model_params"] = mathopt.ModelSolveParameters(solution_hints=[hint])
    if asked.heard is not None:
        more["callback_reg"] = mathopt.CallbackRegistration(events={mathopt.Event.MIP_SOLUTION})
        more["cb"] = _told(asked.heard)
    try:
        return mathopt.solve(model, asked.engine, params=asked.settings, **more).to_proto()
    except AttributeError as error:
        # ortools 9.15 hides every solver error behind an AttributeError of its status class.
        cause = error.__context__
        raise RuntimeError(str(cause.args[0] if cause is not None and cause.args else error)) from None


def _told(heard: Callable[[Any], bool]) -> Callable[[Any], Any]:
    from ortools.math_opt import sparse_containers_pb2
    from ortools.math_opt.python import mathopt

    def told(data: Any) -> Any:
        ordered = sorted((variable.id, value) for variable, value in data.solution.items())
        numbers, values = zip(*ordered, strict=True) if ordered else ((), ())
        found = sparse_containers_pb2.SparseDoubleVectorProto(ids=numbers, values=values)
        return mathopt.CallbackResult(terminate=heard(found))

    return told
