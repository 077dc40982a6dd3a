"""Sentences for synthetic speakers: a small grammar over a word list, large enough that texts hardly ever repeat.

prepare_synth.py calls sentence() once an utterance.
"""

import random

_LEXICON = """
quality: old, young, small, large, quiet, clever, broken, yellow, narrow, heavy, golden, patient, wooden, hungry
quality: curious, gentle, rusty, famous, silver, lonely, crooked, purple, honest, frozen, cheerful, distant, tired
quality: brave, dusty, foreign, shallow, velvet, favourite, ordinary, empty, nervous, vague, jolly, thirsty, enormous
person: captain, teacher, baker, farmer, neighbour, doctor, painter, sailor, judge, cousin, violinist, engineer
person: gardener, student, grandfather, shepherd, queen, plumber, journalist, tailor, pilot, stranger, librarian
thing: box, letter, bicycle, lantern, basket, mirror, clock, guitar, blanket, ladder, telescope, kettle, map, umbrella
thing: statue, piano, engine, necklace, candle, newspaper, fiddle, hammer, suitcase, photograph, puzzle, shovel, jacket
did: carried, found, painted, borrowed, repaired, watched, dropped, forgot, measured, polished, offered, noticed
did: buried, sketched, pushed, wanted, described, covered, followed, lifted, refused, chose, sold, promised
where: across the river, behind the church, near the old harbour, under the bridge, in the village square
where: on the northern shore, at the railway station, between two hills, outside the museum, in a dark cellar
where: along the canal, by the kitchen door, over the garden wall, at the corner shop, inside the theatre
where: through the thick fog, on top of the tower, beside the fire, beyond the orchard, opposite the bank
when: before sunrise, last Thursday, every winter, at half past four, in the middle of June, after the storm
when: three years ago, that very evening, during breakfast, on the first of May, without a word, just in time
when: for the second time, while it was raining, as usual, far too late, again and again, by pure chance
digit: zero, one, two, three, four, five, six, seven, eight, nine
"""

_WORDS: dict[str, list[str]] = {}
for _line in _LEXICON.strip().splitlines():
    _kind, _words = _line.split(": ")
    _WORDS.setdefault(_kind, []).extend(_words.split(", "))


def sentence(rng: random.Random) -> str:
    """One English sentence of about 2 to 4 seconds."""
    did, where, when = (rng.choice(_WORDS[kind]) for kind in ("did", "where", "when"))
    person, other = (f"{rng.choice(_WORDS['quality'])} {noun}" for noun in rng.sample(_WORDS["person"], 2))
    thing = f"{rng.choice(_WORDS['quality'])} {rng.choice(_WORDS['thing'])}"
    number = " ".join(rng.choices(_WORDS["digit"], k=4))
    form = rng.choice(
        (
            f"the {person} {did} that {thing} {where}.",
            f"my {person} {did} the {thing} {when}.",
            f"nobody {did} the {thing} {where}.",
            f"did the {person} say who {did} the {thing}?",
            f"we {did} your {other} {where} {when}.",
            f"the {person} and the {other} {did} it {when}.",
            f"she called {number} {where} {when}.",
            f"was it the {person} who {did} you {where}?",
            f"{where} there lay another {thing} {when}.",
        )
    )
    return form[0].upper() + form[1:]
