"""Import path of ginseng 0.2 for the optimiser."""

from ginseng._v02.adam import AdamState, opt_adam_update, opt_init_adam

__all__ = ["AdamState", "opt_adam_update", "opt_init_adam"]
