"""Documented names of ginseng 0.2 for the noise added to counts in training."""

from ginseng._core.augment import augment
from ginseng._core.augment import background as augment_background
from ginseng._core.augment import drop_genes as augment_dropgene
from ginseng._core.augment import mask as augment_mask

__all__ = ["augment", "augment_background", "augment_dropgene", "augment_mask"]
