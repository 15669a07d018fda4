"""Documented names of ginseng 0.2 for the noise that training adds to counts."""

from ginseng._v02.augment import augment, augment_background, augment_dropgene, augment_mask

__all__ = ["augment", "augment_background", "augment_dropgene", "augment_mask"]
