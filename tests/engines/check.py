# SPDX-License-Identifier: GPL-2.0
"""Whether a policy that is in force does what its table says."""

import pytest

from engines.baseline import Connection
from lib.reach import ANSWERED, FORBIDDEN, SILENT, Cell
from lib.ready import CELLS
from lib.scene import Scene


def check(scene: Scene, policy: str, before: set[Connection]) -> dict[str, int]:
    """Tries all of a ready policy's table; see check_cells()."""
    return check_cells(scene, scene.cells(CELLS[policy]), before)


def check_cells(
    scene: Scene, cells: list[Cell], before: set[Connection]
) -> dict[str, int]:
    """Tries all; `before` would be answered without the policy. Gives what was tried and seen.

    Where the policy has no objection, the engine's own rules may have one.
    """

    def answered(cell: Cell) -> bool:
        return cell.open and cell.connection in before

    wrong = []
    for cell, result in scene.attempt(cells, answered).items():
        if answered(cell):
            good = result == ANSWERED
        elif cell.open:
            good = result != ANSWERED
        else:
            # ctrfw drops; what refuses by an answer is not ctrfw, and came before it.
            good = result in (SILENT, FORBIDDEN) or (
                cell.connection not in before and result != ANSWERED
            )
        if not good:
            wrong.append(f"{cell}: {result}")
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
    return {
        "tried": len(cells),
        "allowed": sum(map(answered, cells)),
        "refused": sum(not c.open and c.connection in before for c in cells),
    }
