"""Classes of phones, by how they are made: of TIMIT's 61 names, and of espeak-ng's mnemonics of American English.

The classes, and closures among the stops, are those of the documentation of TIMIT (LDC93S1, phoncode.doc).
"""

VOWEL, GLIDE, NASAL, FRICATIVE, AFFRICATE, STOP, OTHER = CLASSES = (
    "vowels",
    "semivowels and glides",
    "nasals",
    "fricatives",
    "affricates",
    "stops",
    "other",
)
SILENCE = "silence"  # no class: it is dropped

_TIMIT = {
    VOWEL: "iy ih eh ey ae aa aw ay ah ao oy ow uh uw ux er ax ix axr ax-h",
    GLIDE: "l r w y hh hv el",
    NASAL: "m n ng em en eng nx",
    FRICATIVE: "s sh z zh f th v dh",
    AFFRICATE: "jh ch",
    STOP: "b d g p t k dx q bcl dcl gcl pcl tcl kcl",
    SILENCE: "pau epi h#",
}
_CLASS_OF = {name: kind for kind, names in _TIMIT.items() for name in names.split()}
_ESPEAK = (  # what a mnemonic begins with, longer ones first
    (("_",), SILENCE),
    (("tS", "dZ"), AFFRICATE),
    (("@L",), GLIDE),
    (tuple("aAeEiIoOuUV03@"), VOWEL),
    (tuple("lrwjhL"), GLIDE),
    (tuple("mnN"), NASAL),
    (tuple("fvTDszSZ"), FRICATIVE),
    (tuple("pbtdkg?"), STOP),
)
_STRESS = "',%="


def phone_class(name: str) -> str:
    """The class of a phone NAME, one of CLASSES or SILENCE: by TIMIT's names, else by espeak-ng's mnemonics, which may
    have marks of stress before them; "other" where it is neither."""
    if name in _CLASS_OF:
        return _CLASS_OF[name]
    plain = name.lstrip(_STRESS)
    return next((kind for starts, kind in _ESPEAK if plain.startswith(starts)), OTHER)
