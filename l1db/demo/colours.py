"""Colours of the picture, told apart by the colour-blind; bands differ by shape as well."""

INK, GREY, POINTER = "#222222", "#666666", "#FFB000"

# Colour and marker.
BANDS = {
    "u": ("#56B4E9", "p"),
    "g": ("#009E73", "o"),
    "r": ("#D55E00", "s"),
    "i": ("#332288", "D"),
    "z": ("#CC79A7", "^"),
    "y": ("#000000", "v"),
}
UNKNOWN_BAND = ("#555555", "h")
