"""Optimizers: all that is known of each kind, in one place.

What an optimizer divides a gradient by, what squares it sums up, its momentum: an `UpdateRule`
tells, and `update_rule` finds the one of an optimizer. Registering another kind is all that it
takes for metric and saliency to know it. Optimizers around others are seen through. Kinds that
are not known are looked at from outside: see `l1prune.pressure.gradients` and `response`.
"""

from l1prune.pressure.optimizers.kinds import update_rule as update_rule
from l1prune.pressure.optimizers.rules import MOST as MOST
from l1prune.pressure.optimizers.rules import Group as Group
from l1prune.pressure.optimizers.rules import Mean as Mean
from l1prune.pressure.optimizers.rules import Squares as Squares
from l1prune.pressure.optimizers.rules import State as State
from l1prune.pressure.optimizers.rules import UpdateRule as UpdateRule
from l1prune.pressure.optimizers.rules import forgetting as forgetting
from l1prune.pressure.optimizers.rules import number as number
from l1prune.pressure.optimizers.rules import over_root as over_root
from l1prune.pressure.optimizers.rules import root as root
from l1prune.pressure.optimizers.states import check_optimizer as check_optimizer
from l1prune.pressure.optimizers.states import divided as divided
from l1prune.pressure.optimizers.states import divisor as divisor
from l1prune.pressure.optimizers.states import fitting_rule as fitting_rule
from l1prune.pressure.optimizers.states import has_length as has_length
from l1prune.pressure.optimizers.states import is_known as is_known
from l1prune.pressure.optimizers.states import relative_step as relative_step
from l1prune.pressure.optimizers.states import state_of as state_of
from l1prune.pressure.optimizers.states import tells_scale as tells_scale
from l1prune.pressure.optimizers.states import told as told
from l1prune.pressure.optimizers.states import was_skipped as was_skipped
from l1prune.pressure.optimizers.wrappers import after_steps as after_steps
from l1prune.pressure.optimizers.wrappers import before_steps as before_steps
from l1prune.pressure.optimizers.wrappers import hooked as hooked
from l1prune.pressure.optimizers.wrappers import innermost as innermost
from l1prune.pressure.optimizers.wrappers import weight_ids as weight_ids
