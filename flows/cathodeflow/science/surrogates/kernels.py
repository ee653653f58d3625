"""Compiled float32 loops of the tabulated prediction (numba; no compiler is needed on the user's machine).

Each does in one pass over memory what the network's definition does in three or four, without the interpreter's lock.
The activation is evaluated from two polynomials, fitted here when the module is loaded; its error is below 1e-6, and
predictions are checked against the plain network in the tests.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.polynomial import Polynomial
from numpy.polynomial.chebyshev import Chebyshev

F = np.float32


def _fit(function: Any, low: float, high: float, degree: int) -> tuple[np.float32, ...]:
    """Fit near-minimax polynomial coefficients, lowest first."""
    fitted = Chebyshev.interpolate(function, degree, domain=[low, high]).convert(kind=Polynomial, domain=[-1, 1])
    return tuple(F(value) for value in fitted.coef)


E0, E1, E2, E3, E4, E5 = _fit(np.exp2, -0.5, 0.5, 5)
L0, L1, L2, L3, L4, L5, L6, L7, L8 = _fit(np.log1p, 0.0, 1.0, 8)
L0 = F(L0 - math.log(2.0))
LOG2E = F(1.0 / math.log(2.0))


def _exp_negative(x: Any) -> Any:
    """exp(x) for x <= 0, relative error 1e-7; the smallest result is 1e-13."""
    z = max(x * LOG2E, F(-43.0))
    whole = np.int32(z - F(0.5))
    f = z - F(whole)
    p = ((((E5 * f + E4) * f + E3) * f + E2) * f + E1) * f + E0
    return p * np.int32((whole + np.int32(127)) << np.int32(23)).view(np.float32)


exp_negative = numba.njit(_exp_negative, inline="always", fastmath=True)


def _softplus2(x: Any) -> Any:
    """log((1 + exp(x)) / 2)."""
    y = exp_negative(-abs(x))
    q = ((((((L8 * y + L7) * y + L6) * y + L5) * y + L4) * y + L3) * y + L2) * y + L1
    return max(x, F(0.0)) + (q * y + L0)


softplus2 = numba.njit(_softplus2, inline="always", fastmath=True)


def _activate(x: Any, out: Any) -> None:
    """Out <- softplus2(x); both (m,)."""
    for i in range(x.shape[0]):
        out[i] = softplus2(x[i])


def _activate_back(x: Any, gradient: Any, out: Any) -> None:
    """Out <- gradient / (1 + exp(-x)); all (m,)."""
    for i in range(x.shape[0]):
        y = exp_negative(-abs(x[i]))
        out[i] = gradient[i] * (F(1.0) if x[i] >= F(0.0) else y) / (F(1.0) + y)


def _bias_activate(x: Any, bias: Any) -> None:
    """X <- softplus2(x + bias), in place; x (m, f), bias (f,)."""
    for row in range(x.shape[0]):
        for k in range(x.shape[1]):
            x[row, k] = softplus2(x[row, k] + bias[k])


def _gather_activate(table: Any, rows: Any, source: Any, target: Any, near: Any, far: Any, out: Any) -> None:
    """out[e] <- softplus2(table[rows[e]] + near[source[e]] + far[target[e]]); all (·, f)."""
    for edge in range(rows.shape[0]):
        row, i, j = rows[edge], source[edge], target[edge]
        for k in range(out.shape[1]):
            out[edge, k] = softplus2(table[row, k] + near[i, k] + far[j, k])


def _add_activate(x: Any, source: Any, target: Any, near: Any, far: Any) -> None:
    """x[e] <- softplus2(x[e] + near[source[e]] + far[target[e]]), in place."""
    for edge in range(x.shape[0]):
        i, j = source[edge], target[edge]
        for k in range(x.shape[1]):
            x[edge, k] = softplus2(x[edge, k] + near[i, k] + far[j, k])


def _mean_rows(table: Any, rows: Any, starts: Any, out: Any) -> None:
    """out[i] <- mean of table[rows[e]] over the edges that start at atom i."""
    for atom in range(out.shape[0]):
        scale = F(1.0) / F(starts[atom + 1] - starts[atom])
        out[atom, :] = F(0.0)
        for edge in range(starts[atom], starts[atom + 1]):
            row = rows[edge]
            for k in range(out.shape[1]):
                out[atom, k] += table[row, k]
        for k in range(out.shape[1]):
            out[atom, k] *= scale


def _mean_edges(x: Any, starts: Any, out: Any) -> None:
    """out[i] <- mean of x[e] over the edges that start at atom i."""
    for atom in range(out.shape[0]):
        scale = F(1.0) / F(starts[atom + 1] - starts[atom])
        out[atom, :] = F(0.0)
        for edge in range(starts[atom], starts[atom + 1]):
            for k in range(out.shape[1]):
                out[atom, k] += x[edge, k]
        for k in range(out.shape[1]):
            out[atom, k] *= scale


def _add_rows(x: Any, bias: Any, table: Any, rows: Any) -> None:
    """x[e] <- x[e] + bias + table[rows[e]], in place."""
    for edge in range(x.shape[0]):
        row = rows[edge]
        for k in range(x.shape[1]):
            x[edge, k] += bias[k] + table[row, k]


def _table_rows(codes: Any, source: Any, target: Any, first: Any, step_i: Any, step_j: Any, out: Any) -> None:
    """out[e] <- first[e] + codes[source[e]] step_i[e] + codes[target[e]] step_j[e]."""
    for edge in range(out.shape[0]):
        out[edge] = first[edge] + codes[source[edge]] * step_i[edge] + codes[target[edge]] * step_j[edge]


def _hard_sigmoid(x: Any) -> Any:
    return min(max(F(0.2) * x + F(0.5), F(0.0)), F(1.0))


hard_sigmoid = numba.njit(_hard_sigmoid, inline="always")


def _read_out(keys: Any, bias: Any, weight: Any, offset: Any, steps: int, score: Any, out: Any) -> None:
    """Set2Set of one crystal: keys (m, h), weight (4 h, 2 h), offset (4 h,) to out (2 h,); `score` (m,) is scratch."""
    h = keys.shape[1]
    gates = np.zeros(4 * h, dtype=np.float32)
    read = np.zeros(h, dtype=np.float32)
    out[:] = F(0.0)
    for row in range(keys.shape[0]):
        for k in range(h):
            keys[row, k] += bias[k]
    for _ in range(steps):
        for g in range(4 * h):
            total = offset[g]
            for k in range(2 * h):
                total += weight[g, k] * out[k]
            gates[g] = total
        for k in range(h):
            cell = hard_sigmoid(gates[k]) * math.tanh(gates[2 * h + k])
            out[k] = hard_sigmoid(gates[3 * h + k]) * math.tanh(cell)
            read[k] = F(0.0)
        peak = F(-1e30)
        for row in range(keys.shape[0]):
            total = F(0.0)
            for k in range(h):
                total += keys[row, k] * out[k]
            score[row] = total
            peak = max(peak, total)
        norm = F(0.0)
        for row in range(keys.shape[0]):
            share = exp_negative(score[row] - peak)
            norm += share
            for k in range(h):
                read[k] += share * keys[row, k]
        for k in range(h):
            out[h + k] = read[k] / norm


def _compiled(function: Any) -> Any:
    """Compile at the first call, kept on disk where a folder can be written."""
    try:
        return numba.njit(function, nogil=True, fastmath=True, cache=True)
    except RuntimeError:  # numba's word for no writable folder
        return numba.njit(function, nogil=True, fastmath=True)


activate = _compiled(_activate)
activate_back = _compiled(_activate_back)
bias_activate = _compiled(_bias_activate)
gather_activate = _compiled(_gather_activate)
add_activate = _compiled(_add_activate)
mean_rows = _compiled(_mean_rows)
mean_edges = _compiled(_mean_edges)
add_rows = _compiled(_add_rows)
table_rows = _compiled(_table_rows)
read_out = _compiled(_read_out)
