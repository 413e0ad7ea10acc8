"""The words of the synthetic shop: categories with their English names, and the parts that review texts are made of."""

from __future__ import annotations

TRANSLATED = """
acessorios_automotivos:car_accessories acessorios_de_celular:phone_accessories alimentos_naturais:natural_food
aquarismo:aquariums artesanato:handicraft artigos_de_festa:party_goods artigos_de_praia:beach_goods
aspiradores:vacuum_cleaners audio_portatil:portable_audio balancas:scales banho_do_bebe:baby_bath
bicicletas:bicycles bijuterias:costume_jewellery bolsas_e_malas:bags_and_luggage brinquedos_de_madeira:wooden_toys
cabos_e_conectores:cables_and_connectors cafe_e_cha:coffee_and_tea cafeteiras:coffee_makers cameras:cameras
camisas:shirts camping_e_trilha:camping_and_hiking canetas_e_cadernos:pens_and_notebooks carrinhos_de_bebe:prams
chapeus:hats chuveiros:showers colchoes:mattresses colecionaveis:collectibles cortinas:curtains
cuidados_com_a_pele:skin_care cuidados_com_o_cabelo:hair_care decoracao_de_parede:wall_decoration
discos_de_vinil:vinyl_records drones:drones eletrica_residencial:home_electrics enfeites_de_natal:christmas_decor
fechaduras:locks ferramentas_eletricas:power_tools ferramentas_manuais:hand_tools filtros_de_agua:water_filters
fogoes_e_fornos:stoves_and_ovens fotografia:photography higiene_bucal:oral_care iluminacao_led:led_lighting
impressoras:printers instrumentos_de_corda:string_instruments irrigacao:irrigation jardim_vertical:vertical_garden
jogos_de_mesa:board_games joias:jewellery lavanderia:laundry livros_infantis:children_books
manuais_tecnicos:technical_manuals louca_de_mesa:tableware luminarias:lamps material_de_pintura:painting_supplies
meias:socks moveis_de_escritorio:office_furniture moveis_de_sala:living_room_furniture oculos:glasses
organizadores:organisers panelas:cookware papelaria_fina:fine_stationery perfumes:perfumes pesca:fishing
pet_caes:dogs pet_gatos:cats relogios_de_parede:wall_clocks roupa_de_cama:bed_linen sapatos:shoes
suplementos:supplements ventiladores:fans
"""
"""71 categories, most of them made up, in the style of the public file: snake case without accents."""

CATEGORIES: tuple[tuple[str, str], ...] = tuple(
    (name, english) for name, english in (pair.split(":") for pair in TRANSLATED.split())
)
UNTRANSLATED: tuple[str, ...] = ("consoles_retro", "maquinas_de_costura_e_acessorios")
"""Categories that products have and the translation file lacks."""

TITLES: tuple[str, ...] = (
    "Chegou bem", "Nota dez com louvor", "Recomendo de olhos fechados", "Compra tranquila", "Atrasou demais",
    "Nem abri ainda", "Veio trocado", "Gostei, obrigada", "Muito satisfeito ", "Produto razoável", "Nunca mais",
    "Faltou uma peça", '"Original"?', "10 de 10",
)  # fmt: skip
OPENINGS: tuple[str, ...] = (
    "Comprei para minha irmã", "Pedi na segunda", "Segunda vez que compro aqui", "Era presente de aniversário",
    "Esperava mais", "Que surpresa boa", "Sou cliente antigo", "Paguei no boleto", "Olha", "Sinceramente",
)  # fmt: skip
MIDDLES: tuple[str, ...] = (
    "a caixa chegou intacta", "a cor não é a da foto", "o tamanho serviu certinho", "o manual veio só em inglês",
    "o vendedor respondeu no mesmo dia", "a entrega levou quase um mês", "faltou um parafuso", "funciona muito bem",
    'diz "novo" mas parece usado', 'o modelo "grande" é pequeno', "a costura soltou", "o cheiro é ótimo",
    "veio com 2 unidades a mais", "o correio deixou no vizinho", "o acabamento é simples", "a bateria dura pouco",
)  # fmt: skip
CLOSINGS: tuple[str, ...] = (
    "Compraria de novo.", "Ainda espero resposta.", "Vale o preço", "Não recomendo!", "Obrigado pela atenção :)",
    "Vou devolver.", "Recomendo a todos", "Só isso.", "Dou 4 porque atrasou", "Parabéns à equipe!",
)  # fmt: skip
JOINTS: tuple[str, ...] = (
    ", ",
    ". ",
    ", ",
    " ",
    ", ",
    "\n",
    ", ",
    ". ",
    "\r\n",
    ", ",
    " e ",
    "...",
    ", ",
    ". ",
    "\n\n",
)


def comments() -> list[str]:
    """All the messages that reviews draw from: with commas, line breaks, doubled quotes and accents among them."""
    return [
        f"{opening}{joint}{middle}{JOINTS[(number * 7 + turn) % len(JOINTS)]}{closing}"
        for number, joint in enumerate(JOINTS)
        for turn, opening in enumerate(OPENINGS)
        for middle in MIDDLES
        for closing in CLOSINGS[turn % 3 :: 3]
    ]
