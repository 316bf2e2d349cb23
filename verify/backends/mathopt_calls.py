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
class MathOptRequest:
    """What is asked of an engine of MathOpt, with the model.

    Attributes
    ----------
    model : ModelProto
        Its variables are numbered from 0.
    engine : SolverType
        The engine.
    parameters : SolveParameters
        Tolerances and limits.
    start : ndarray (v,) or None
        A point to begin with.
    on_incumbent : callable or None
        Given a SparseDoubleVectorProto of every better point as it is found; True ends the run.
    """

    model: Any
    engine: Any
    parameters: Any
    start: Floats | None
    on_incumbent: Callable[[Any], bool] | None


def solve_proto(request: MathOptRequest) -> Any:
    """Return a SolveResultProto; errors are the engine's own words."""
    solve = _core_solve()
    if solve is not None:
        try:
            return solve_by_core(solve, request)
        except TypeError as error:
            if UNSUITED not in str(error):
                raise
    return solve_by_model(request)


def _core_solve() -> Callable[..., Any] | None:
    try:
        from ortools.math_opt.core.python.solver import solve
    except ImportError:
        return None
    return cast("Callable[..., Any]", solve)


def solve_by_core(solve: Callable[..., Any], request: MathOptRequest) -> Any:
    """Hand the proto over as it is."""
    from ortools.math_opt import callback_pb2, model_parameters_pb2, parameters_pb2

    beside, registration = model_parameters_pb2.ModelSolveParametersProto(), callback_pb2.CallbackRegistrationProto()
    if request.start is not None:
        hint = beside.solution_hints.add().variable_values
        hint.ids.extend(range(len(request.start)))
        hint.values.extend(request.start.tolist())
    if request.on_incumbent is not None:
        registration.request_registration.append(callback_pb2.CALLBACK_EVENT_MIP_SOLUTION)
    on_incumbent = request.on_incumbent

    def callback(data: Any) -> Any:
        ends = on_incumbent is not None and on_incumbent(data.primal_solution_vector)
        return callback_pb2.CallbackResultProto(terminate=ends)

    return solve(
        request.model,
        request.engine.value,
        parameters_pb2.SolverInitializerProto(),
        request.parameters.to_proto(),
        beside,
        None,
        registration,
        None if on_incumbent is None else callback,
        None,
    )


def solve_by_model(request: MathOptRequest) -> Any:
    """Make a model of the proto, for ortools to make a proto of it again."""
    from ortools.math_opt.python import mathopt

    model = mathopt.Model.from_model_proto(request.model)
    more: dict[str, Any] = {}
    if request.start is not None:
        values = dict(zip(model.variables(), request.start.tolist(), strict=True))
        hint = mathopt.SolutionHint(variable_values=values)
        more["model_params"] = mathopt.ModelSolveParameters(solution_hints=[hint])
    if request.on_incumbent is not None:
        more["callback_reg"] = mathopt.CallbackRegistration(events={mathopt.Event.MIP_SOLUTION})
        more["cb"] = _callback(request.on_incumbent)
    try:
        return mathopt.solve(model, request.engine, params=request.parameters, **more).to_proto()
    except AttributeError as error:
        # ortools 9.15 hides every solver error behind an AttributeError of its status class.
        cause = error.__context__
        raise RuntimeError(str(cause.args[0] if cause is not None and cause.args else error)) from None


def _callback(on_incumbent: Callable[[Any], bool]) -> Callable[[Any], Any]:
    from ortools.math_opt import sparse_containers_pb2
    from ortools.math_opt.python import mathopt

    def callback(data: Any) -> Any:
        ordered = sorted((variable.id, value) for variable, value in data.solution.items())
        numbers, values = zip(*ordered, strict=True) if ordered else ((), ())
        found = sparse_containers_pb2.SparseDoubleVectorProto(ids=numbers, values=values)
        return mathopt.CallbackResult(terminate=on_incumbent(found))

    return callback
