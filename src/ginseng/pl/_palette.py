"""Colours of labels, as many as an atlas has types, in an order in which any first few go well together."""

from __future__ import annotations

# https://jfly.uni-koeln.de/color (Okabe and Ito), the pale yellow next to last: it is faint on white
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")

# Each next colour is the one farthest from all before it, from white and from the grey of missing labels, among those
# that are neither grey nor too dark nor too pale to tell; far for the eye that sees them least apart of three: full
# colour vision (whose distances count 0.6), deuteranopia and protanopia (Machado et al. 2009), in CAM02-UCS. No two of
# the first 60 are closer than 6 for any of them; of scanpy's 102 colours, two of the first 60 are as close as 0.1.
_FARTHEST = (
    "70004058400048089768587078DF8FBF10408780FF0010FF00EFFFC7089F5870608FAF9F304060582820879F50006830"
    "D7AFCF4860FF8F7887FF7087AFC758784050AF78C78F80508F9FBF50D7B78F4808B740C7009718F780DF68388058608F"
    "009F9F1880781860587000BF00FF78403848FF2880600070AFE7BF97C7FFCFA77060BFBF38503038C728971820805848"
    "A7D700C7CFE7B7486880186897C797973868FF4038E7B7B7681008976000E7589778B7508730C770A7FF38F7DF2080DF"
    "B77838A76097EFCFA7C700788080AFB79FAF8F1097F7CF609750A7707850CFC778D768684830309F87E7AF3828584058"
    "9F687818D7D70097C7BF978F2050EF9F408F18EFA7BF9700601050A79F68AFC7C7FF28CF875880603840"
)
DISTINCT = (*OKABE_ITO, *(f"#{_FARTHEST[i : i + 6]}" for i in range(0, len(_FARTHEST), 6)))

MISSING = "#D3D3D3"
UNASSIGNED = "#A0A0A0"
