"""The words of the synthetic film shop: parts of names, places and titles, put together anew for every row."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COUNTRY_STARTS = _words("Bel Cal Dor Est Fen Gal Hel Ista Kor Lum Mar Nor Or Pal Quel Ros Sel Tar Ul Ver")
COUNTRY_ENDS = _words("avia dania enia gard ilia mora nesia ovia stan thia")
CITY_STARTS = _words(
    "Alder Amber Ash Birch Bram Clay Copper Cross Dun Eagle Elm Fair Fern Glen Gold Green Hart Hazel Iron Juniper "
    "Kings Lake Long Maple Mill North Oak Old Pine Raven Red River Salt Silver South Stone Sun Thorn West Willow"
)
CITY_ENDS = _words("bridge brook bury combe dale field ford gate ham haven mouth port side ton water wick")
STREETS = _words(
    "Anchor Bakery Canal Chestnut Dock Ferry Garden Harbour Highland Lantern Linden Market Meadow Museum Orchard "
    "Poplar Quarry Station Tailor Weaver"
)
STREET_KINDS = _words("Alley Avenue Boulevard Lane Road Row Square Street Terrace Way")
DISTRICTS = (
    "Centre", "East End", "Harbourside", "Hillside", "Lower Town", "Lakeshore", "New Quarter", "Northside", "Old Town",
    "Riverbank", "Upper Town", "Westside",
)  # fmt: skip
FIRST_NAMES = _words(
    "Ada Adil Agnes Alma Amir Anouk Arlo Astrid Bao Beata Bruno Carla Cato Chidi Clara Cosmo Dagny Dario Dina Edda "
    "Eero Elif Emre Enzo Esme Farah Felix Freya Gael Gitta Hana Hugo Ida Ilse Imre Ines Isak Ivo Jana Joon Jules Kaia "
    "Kenji Lale Lars Leda Levi Lina Luz Mads Maren Milo Mina Nadia Nils Noor Olga Omar Otis Paz Petra Quinn Rafa Reza "
    "Rhea Rosa Sami Sanna Silas Sofi Tala Theo Tilda Udo Vera Wim Xenia Yara Yuki Zeno"
)
LAST_NAMES = _words(
    "Abara Acker Almeyda Arvid Bachar Balint Barrow Bexley Birkin Blom Borges Brandt Calder Castell Chaudhry Corvin "
    "Dahl Delmar Doran Dufour Eklund Eldridge Farkas Fenn Ferro Fjord Galvan Garrick Gilles Greave Haddad Halloran "
    "Harrow Hedlund Holt Ibarra Idris Ivers Jansma Jarvi Kader Kestrel Kimura Koval Laine Larkin Lindqvist Lund Madaki "
    "Marchetti Mercer Moreau Nadir Nakano Nash Novak Obi Okafor Olander Ortiz Pardo Pell Petrov Quist Radley Rahimi "
    "Renner Rossi Sadler Salgado Sato Serrano Silva Sorel Strand Tamm Tanaka Thorne Toivonen Ueda Ulrich Vance Varga "
    "Veen Vidal Wahlin Weller Winther Wolfe Xiang Yilmaz Yoon Zabel Zander Zoric"
)
LANGUAGES = ("English", "Spanish", "Korean", "Hindi", "Portuguese", "Arabic")
CATEGORIES = _words(
    "Adventure Animation Biography Comedy Crime Documentary Drama Family Fantasy History Horror Musical Mystery "
    "Romance Thriller Western"
)
TITLE_STARTS = _words(
    "Amber Borrowed Broken Burning Cardboard Clockwork Crooked Distant Drowsy Electric Emerald Endless Forgotten "
    "Frozen Glass Gentle Hidden Hollow Humming Invisible Ivory Last Little Lonely Midnight Nameless Paper Patient "
    "Quiet Restless Rusty Second Silver Sleeping Stolen Thirsty Tin Velvet Wandering Winter"
)
TITLE_ENDS = _words(
    "Almanac Astronomer Avalanche Balcony Cartographer Cathedral Chorus Compass Detour Echo Ferryman Garden Harbour "
    "Horizon Island Juggler Kitchen Labyrinth Lighthouse Locksmith Meridian Mirror Notebook Orchard Parade Pilgrim "
    "Postman Quarry Railway Rehearsal Saxophone Shoreline Station Summer Tailor Telescope Umbrella Violin Voyage "
    "Watchmaker"
)
HEROES = (
    "a lighthouse keeper", "a sleepless baker", "a retired referee", "an amateur astronomer", "a night-bus driver",
    "the youngest of three sisters", "a shy translator", "an unlucky magician", "a beekeeper's son",
    "the town's only dentist", "a runaway clerk", "a clock repairer",
)  # fmt: skip
DEEDS = (
    "must outwit", "falls in love with", "goes looking for", "shelters", "has to cook for", "mistakes for a spy",
    "crosses the desert with", "takes to court", "teaches chess to", "sails home with",
)  # fmt: skip
PLACES = (
    "in a snowed-in hotel", "on a ferry that never lands", "during the longest night of the year",
    "in a city without clocks", "behind the scenes of a circus", "at the edge of a salt lake",
    "in the last week of summer", "below an opera house",
)  # fmt: skip
FEATURES: tuple[tuple[str, ...] | None, ...] = (
    ("Trailer",),
    ("Trailer", "Commentary"),
    ("Commentary", "Deleted Scenes"),
    ("Making Of",),
    ("Trailer", "Interviews", "Making Of"),
    ("Outtakes, Uncut",),
    ('The "Lost" Ending', "Commentary"),
    (),
    None,
)
"""Special features of a film; those that need quotes in an array's text form, none, and unknown among them."""
FEATURE_WEIGHTS = (20, 20, 18, 15, 18, 2, 2, 3, 2)
