"""Where the synthetic shop's people live: Brazilian states with their postcode ranges, cities and coordinates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class City:
    """A city: its name with accents, and its centre in degrees."""

    name: str
    latitude: float
    longitude: float


@dataclass(frozen=True)
class State:
    """A state: its postcode prefixes from `first` to `last`, its share of the customers (parts per 1,000), cities."""

    code: str
    first: int
    last: int
    share: int
    cities: tuple[City, ...]


def _state(code: str, first: int, last: int, share: int, cities: str) -> State:
    parsed = []
    for entry in cities.split(";"):
        name, latitude, longitude = entry.rsplit(" ", 2)
        parsed.append(City(name.strip(), float(latitude), float(longitude)))
    return State(code, first, last, share, tuple(parsed))


STATES: tuple[State, ...] = (
    _state("SP", 1001, 19999, 410, "são paulo -23.55 -46.63;guarulhos -23.46 -46.53;osasco -23.53 -46.79;"
           "santos -23.96 -46.33;campinas -22.91 -47.06;sorocaba -23.50 -47.46;são josé dos campos -23.19 -45.88;"
           "ribeirão preto -21.18 -47.81;bauru -22.32 -49.07;santa bárbara d'oeste -22.75 -47.41"),
    _state("RJ", 20001, 28999, 128, "rio de janeiro -22.91 -43.21;niterói -22.88 -43.10;duque de caxias -22.79 -43.31;"
           "petrópolis -22.51 -43.18;volta redonda -22.52 -44.10;campos dos goytacazes -21.75 -41.33"),
    _state("MG", 30001, 39999, 116, "belo horizonte -19.92 -43.94;contagem -19.93 -44.05;juiz de fora -21.76 -43.35;"
           "uberlândia -18.92 -48.28;montes claros -16.73 -43.86;ouro preto -20.39 -43.50;divinópolis -20.14 -44.88"),
    _state("RS", 90001, 99999, 55, "porto alegre -30.03 -51.22;caxias do sul -29.17 -51.18;pelotas -31.77 -52.34;"
           "santa maria -29.68 -53.81;passo fundo -28.26 -52.41"),
    _state("PR", 80001, 87999, 50, "curitiba -25.43 -49.27;londrina -23.31 -51.16;maringá -23.42 -51.94;"
           "ponta grossa -25.09 -50.16;foz do iguaçu -25.52 -54.55"),
    _state("SC", 88001, 89999, 37, "florianópolis -27.60 -48.55;joinville -26.30 -48.85;blumenau -26.92 -49.07;"
           "chapecó -27.10 -52.61"),
    _state("BA", 40001, 48999, 34, "salvador -12.97 -38.48;feira de santana -12.27 -38.97;ilhéus -14.79 -39.05;"
           "vitória da conquista -14.86 -40.84"),
    _state("DF", 70001, 72799, 21, "brasília -15.79 -47.88;taguatinga -15.83 -48.06"),
    _state("ES", 29001, 29999, 20, "vitória -20.32 -40.34;vila velha -20.33 -40.29;linhares -19.39 -40.07"),
    _state("GO", 73701, 76799, 20, "goiânia -16.69 -49.26;anápolis -16.33 -48.95;rio verde -17.79 -50.92"),
    _state("PE", 50001, 56999, 17, "recife -8.05 -34.90;olinda -8.01 -34.86;caruaru -8.28 -35.97;"
           "petrolina -9.39 -40.50"),
    _state("CE", 60001, 63999, 13, "fortaleza -3.73 -38.52;sobral -3.69 -40.35;juazeiro do norte -7.21 -39.32"),
    _state("PA", 66001, 68899, 10, "belém -1.46 -48.49;santarém -2.44 -54.71;marabá -5.37 -49.12"),
    _state("MT", 78001, 78899, 9, "cuiabá -15.60 -56.10;rondonópolis -16.47 -54.64;sinop -11.86 -55.51"),
    _state("MA", 65001, 65999, 8, "são luís -2.53 -44.30;imperatriz -5.52 -47.47"),
    _state("MS", 79001, 79999, 7, "campo grande -20.47 -54.62;dourados -22.22 -54.81"),
    _state("PB", 58001, 58999, 6, "joão pessoa -7.12 -34.88;campina grande -7.22 -35.88"),
    _state("PI", 64001, 64999, 5, "teresina -5.09 -42.80;parnaíba -2.91 -41.78"),
    _state("RN", 59001, 59999, 5, "natal -5.79 -35.21;mossoró -5.19 -37.34"),
    _state("AL", 57001, 57999, 5, "maceió -9.65 -35.73;arapiraca -9.75 -36.66"),
    _state("SE", 49001, 49999, 4, "aracaju -10.91 -37.07;lagarto -10.92 -37.65"),
    _state("TO", 77001, 77999, 3, "palmas -10.18 -48.33;gurupi -11.73 -49.07"),
    _state("RO", 76801, 76999, 3, "porto velho -8.76 -63.90;ji-paraná -10.88 -61.95"),
    _state("AM", 69001, 69299, 2, "manaus -3.10 -60.02"),
    _state("AC", 69901, 69999, 1, "rio branco -9.97 -67.81"),
    _state("AP", 68901, 68999, 1, "macapá 0.06 -51.07"),
    _state("RR", 69301, 69399, 1, "boa vista 2.82 -60.67"),
)  # fmt: skip

ABROAD: tuple[City, ...] = (
    City("lisboa", 38.72, -9.14),
    City("porto", 41.15, -8.61),
    City("buenos aires", -34.60, -58.38),
    City("miami", 25.76, -80.19),
    City("luanda", -8.84, 13.29),
    City("tóquio", 35.68, 139.69),
    City("nova york", 40.71, -74.01),
)
"""Points with a Brazilian postcode that lie elsewhere, at least half a degree outside of Brazil's bounding box."""

EASTERNMOST = -34.80
"""Degrees of longitude: drawn points stay west of this, on land or at least in Brazil's bounding box."""
