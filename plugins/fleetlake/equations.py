"""Equations between the number columns of a row, as a contract's ``identity`` checks write them.

``engine_run_time_s = engine_moving_time_s + idle_time_s`` or, where it holds for some rows only, with a condition that
must be above zero: ``a = b + c when b + c``. Sums, differences, products, numbers and parentheses.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_OPERATIONS: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply"}


@dataclass(frozen=True)
class Equation:
    """An equation.

    Attributes:
        text: as it was written, spaces evened out.
    """

    text: str

    @property
    def columns(self) -> frozenset[str]:
        """Columns it speaks of."""
        return frozenset(node.id for part in self._parts() for node in ast.walk(part) if isinstance(node, ast.Name))

    def differences(self, table: pa.Table) -> pa.Array:
        """Left side less right side, row by row.

        Null where a column is null, where the condition is not above zero, and where a number is not finite.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        left, right, *condition = (_value(part, table) for part in self._parts())
        difference = pc.subtract(left, right)
        is_subject = pc.is_finite(difference)
        for value in condition:
            is_subject = pc.and_kleene(is_subject, pc.greater(value, 0.0))
        return pc.if_else(pc.fill_null(is_subject, False), difference, pa.scalar(None, pa.float64()))

    def _parts(self) -> list[ast.expr]:
        """Left side, right side, and the condition if there is one."""
        equation, _, condition = self.text.partition(" when ")
        left, _, right = equation.partition("=")
        return [_parse(part) for part in (left, right, *([condition] if condition else []))]


def read_equation(text: str, columns: Collection[str]) -> Equation:
    """Read an equation between ``columns``.

    Raises:
        ValueError: it is none, or speaks of something else; says what.
    """
    equation = Equation(" ".join(text.split()))
    if equation.text.count("=") != 1:
        raise ValueError(f"{text!r} has not exactly one `=`")
    unknown = sorted(equation.columns - set(columns))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no number column")
    return equation


def _parse(text: str) -> ast.expr:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"{text.strip()!r} is no expression") from None
    for node in ast.walk(tree):
        is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        is_sum = isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS
        if not (is_number or is_sum or isinstance(node, ast.Name | ast.Load | ast.operator)):
            raise ValueError(f"{text.strip()!r}: only columns, numbers, +, - and * may be used")
    return tree


def _value(node: ast.expr, table: pa.Table) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(node, ast.Name):
        return table.column(node.id).cast(pa.float64())
    if isinstance(node, ast.BinOp):
        operation = getattr(pc, _OPERATIONS[type(node.op)])
        return operation(_value(node.left, table), _value(node.right, table))
    assert isinstance(node, ast.Constant)  # noqa: S101 - _parse lets nothing else through
    return pa.scalar(float(node.value))  # type: ignore[arg-type]
