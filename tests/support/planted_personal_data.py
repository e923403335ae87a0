"""Personal data drawn by a seeded generator and planted in English and Chinese texts, among numbers
and signs that resemble them.

The forms and sentences were written once, after the rules of the detector, and the detector was
measured on them before it was changed for any (docs/en/responsible.md tells both figures).
"""

import gzip
import os
import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

EN_GIVEN = ["Aaliyah", "Bruno", "Caroline", "Dmitri", "Esther", "Farouk", "Greta", "Hiroshi"]
EN_FAMILY = ["Abernathy", "Boateng", "Castellanos", "Dvorak", "Eriksen", "Goldberg", "Haddad"]
ZH_FAMILY = ["欧阳", "赵", "钱", "孙", "周", "吴", "郑", "冯", "褚", "卫", "蒋", "沈", "韩"]
ZH_GIVEN = ["浩然", "雨桐", "梓涵", "建国", "秀英", "志强", "晓东", "思琪", "文博", "丽华"]
SITES = ["posteo.de", "example.com", "sina.com.cn", "163.com", "uni-jena.de", "foxmail.com"]
EN_CARRIERS = [
    "The committee met on Tuesday and discussed the budget for the coming year.",
    "Rain is expected in the north, with winds of up to 60 km/h.",
    "She has lived in Boston since 1998 and teaches chemistry at a college.",
    "A total of 1,245,300 visitors came to the museum in 2011, up 12.5% on 2010.",
]
ZH_CARRIERS = [
    "会议定于星期二下午举行，讨论明年的预算。",
    "北方有雨，风力可达每小时60公里。",
    "她从1998年起住在波士顿，在一所大学教化学。",
    "2011年博物馆共接待观众1245300人次，同比增长12.5%。",
]
EN_SENTENCES = {
    "email": [
        "Please send the signed form to {}.",
        "You can write me: {} (private).",
        "From: {}",
        "Questions? {}, we answer within a day.",
    ],
    "phone": [
        "If anything changes, give me a ring on {}.",
        "My assistant ({}) can arrange that.",
        "Mobile: {}",
        "You may also leave a message at {}, any time.",
        "{} is the number of the front desk.",
    ],
    "identity_number": [
        "The Chinese visitor's ID number is {}.",
        "Passenger 2 (resident identity card {}) boards first.",
        "Please register {} as the holder.",
    ],
    "payment_card": [
        "Charge it to my card {}, please.",
        "He read out {} over the line.",
        "Amex/Visa: {}",
        "The card ending was wrong, the right one is {}.",
    ],
    "ip_address": [
        "Somebody logged in from {} at midnight.",
        "The host {} did not reply.",
        "Her laptop had {} that evening.",
    ],
    "name": [
        "Yesterday {} called about the house.",
        "Sincerely, {}",
        "According to {}'s letter, nothing was paid.",
    ],
}
ZH_SENTENCES = {
    "email": ["请把表格发到{}。", "我的邮箱是{}，随时联系。", "发件人：{}", "有问题写信给{}即可"],
    "phone": [
        "有事请打{}。",
        "她的号码{}已经停机了。",
        "手机号：{}",
        "可拨打{}咨询，周末不休。",
        "房东({})说可以马上看房。",
    ],
    "identity_number": ["身份证号码：{}", "乘客持证{}登机。", "本人({})自愿签署。"],
    "payment_card": ["请转到{}，谢谢。", "工行卡{}尾号没错。", "卡号是{}。"],
    "ip_address": ["昨晚有人从{}登录。", "服务器{}没有响应。", "她的电脑是{}，查一下。"],
    "name": ["昨天{}来过电话。", "此致，{}", "据{}的信，款项尚未支付。"],
}


class Planted(NamedTuple):
    """Text with what was planted in it: kind and characters."""

    text: str
    planted: list[tuple[str, str]]


def planted_texts(seed: int, n_planted: int = 200, n_distractor: int = 200) -> list[Planted]:
    """Return texts with `n_planted` personal data, half of them in English and half in Chinese, and
    texts with as many distractors as asked for.
    """
    draw = random.Random(seed)
    carriers = {language: list(_carriers(language)) for language in ("en", "zh")}
    kinds = ["email", "phone", "phone", "identity_number", "payment_card", "ip_address", "name"]
    made = []
    for number in range(n_planted + n_distractor):
        language = ("en", "zh")[number % 2]
        if number < n_planted:
            kind = kinds[number // 2 % len(kinds)]
            value = MAKERS[kind](draw, language)
            sentences = (EN_SENTENCES if language == "en" else ZH_SENTENCES)[kind]
            sentence = draw.choice(sentences).format(value)
            planted = [(kind, value)]
        else:
            sentence = _distractor(draw, language)
            planted = []
        before, after = draw.sample(carriers[language], 2)
        gap = " " if language == "en" else "\n"
        made.append(Planted(f"{before}{gap}{sentence}{gap}{after}", planted))
    draw.shuffle(made)
    return made


def listed_names() -> list[str]:
    """Return all names that the generator can plant."""
    western = [f"{given} {family}" for given in EN_GIVEN for family in EN_FAMILY]
    return [*western, *(family + given for given in ZH_GIVEN for family in ZH_FAMILY)]


def _carriers(language: str) -> Iterator[str]:
    """Yield sentences of real corpora where LSLM_DATA names their folder, else a few of our own."""
    file = Path(os.environ.get("LSLM_DATA", "")) / "tatoeba-zh-en" / "cmn.txt"
    yield from EN_CARRIERS if language == "en" else ZH_CARRIERS
    if not file.is_file():
        return
    for line in file.read_text("utf-8").splitlines()[2000::40]:
        yield line.split("\t")[0 if language == "en" else 1]
    if language == "en":
        with gzip.open(file.parents[1] / "multi30k" / "val.en.gz", "rt", encoding="utf-8") as lines:
            yield from (line.strip() for line in lines)


def _digits(draw: random.Random, n: int) -> str:
    return "".join(draw.choices("0123456789", k=n))


def _email(draw: random.Random, language: str) -> str:
    """Draw an e-mail address as it is written in texts."""
    given, family = draw.choice(EN_GIVEN), draw.choice(EN_FAMILY)
    user = draw.choice(
        [
            f"{given}.{family}",
            f"{given[0]}{family}".lower(),
            f"{family.lower()}_{draw.randrange(99)}",
            f"{given.lower()}-{family.lower()}+shop",
            _digits(draw, 9),
        ]
    )
    address = f"{user}@{draw.choice(SITES)}"
    form = draw.randrange(10)
    if form == 0:
        return address.upper()
    if form == 1 and language == "zh":
        return address.replace("@", "＠")
    if form == 2:
        return address.replace("@", " [at] ")
    return address


def _phone(draw: random.Random, language: str) -> str:
    """Draw a phone number of China or elsewhere, in a usual form."""
    if language == "zh" or draw.random() < 0.2:
        n = draw.choice("3456789") + _digits(draw, 9)
        mobile = "1" + n
        area = draw.choice(["010", "021", "0571", "0931", "028"])
        local = draw.choice("2345678") + _digits(draw, 7)
        forms = [
            mobile,
            mobile,
            f"{mobile[:3]} {mobile[3:7]} {mobile[7:]}",
            f"{mobile[:3]}-{mobile[3:7]}-{mobile[7:]}",
            f"+86{mobile}",
            f"+86-{mobile}",
            f"(+86) {mobile[:3]} {mobile[3:7]} {mobile[7:]}",
            f"{area}-{local}",
            f"({area}){local}",
            f"{area} {local[:4]} {local[4:]}",
            f"+86 {area[1:]} {local}",
            f"{area}-{local}-{draw.randrange(100, 999)}",
            f"400-{_digits(draw, 3)}-{_digits(draw, 4)}",
        ]
        if language == "zh":
            forms += [mobile.translate({48 + i: 0xFF10 + i for i in range(10)})]
        return draw.choice(forms)
    area, exchange, line = draw.choice("23456789") + _digits(draw, 2), "555", _digits(draw, 4)
    return draw.choice(
        [
            f"({area}) {exchange}-{line}",
            f"{area}-{exchange}-{line}",
            f"{area}.{exchange}.{line}",
            f"+1 {area} {exchange} {line}",
            f"1-{area}-{exchange}-{line}",
            f"({area}){exchange}-{line}",
            f"{area}-{exchange}-{line} ext. {draw.randrange(10, 9999)}",
            f"+44 7{_digits(draw, 3)} {_digits(draw, 6)}",
            f"+44 (0)20 7{_digits(draw, 3)} {_digits(draw, 4)}",
            f"0{draw.choice('12')}{_digits(draw, 2)} {_digits(draw, 3)} {_digits(draw, 4)}",
            f"+49 {draw.choice(['30', '89', '171'])} {_digits(draw, 7)}",
            f"0049-30-{_digits(draw, 7)}",
            f"+33 6 {' '.join(_digits(draw, 2) for _ in range(4))}",
            f"+91 9{_digits(draw, 4)} {_digits(draw, 5)}",
            f"+81-90-{_digits(draw, 4)}-{_digits(draw, 4)}",
        ]
    )


def _identity(draw: random.Random, language: str) -> str:
    """Draw a number of a resident identity card, with its check character."""
    born = date(1950, 1, 1) + timedelta(draw.randrange(20_000))
    region = draw.choice(["110101", "310115", "440305", "510107", "330106", "620102", "659004"])
    seventeen = f"{region}{born:%Y%m%d}{_digits(draw, 3)}"
    total = sum(int(digit) * (2 ** (17 - i) % 11) for i, digit in enumerate(seventeen))
    whole = seventeen + "10X98765432"[total % 11]
    return draw.choice(
        [
            whole,
            whole,
            whole.lower(),
            f"{whole[:6]} {whole[6:14]} {whole[14:]}",
            f"{region}{born:%y%m%d}{_digits(draw, 3)}",
        ]
    )


def _card(draw: random.Random, language: str) -> str:
    """Draw a payment card number with its check digit."""
    prefix, length = draw.choice(
        [("4", 16), ("53", 16), ("2300", 16), ("37", 15), ("6225", 16), ("6217", 19), ("3530", 16)]
    )
    body = prefix + _digits(draw, length - len(prefix) - 1)
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(body))]
    digits = body + str(-sum(n // 10 + n % 10 for n in doubled) % 10)
    if length == 15:
        return draw.choice([digits, f"{digits[:4]} {digits[4:10]} {digits[10:]}"])
    gap = draw.choice(["", " ", "-", " "])
    return gap.join(digits[i : i + 4] for i in range(0, length, 4))


def _ip(draw: random.Random, language: str) -> str:
    """Draw an address of a host."""
    if draw.random() < 0.25:
        return f"2001:db8:{draw.randrange(1, 65535):x}::{draw.randrange(1, 65535):x}"
    if draw.random() < 0.15:
        return f"fe80::{':'.join(f'{draw.randrange(1, 65535):x}' for _ in range(4))}"
    host = f"{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(1, 255)}"
    return f"{draw.choice([10, 172, 192, 203, 58, 8])}.{host}"


def _name(draw: random.Random, language: str) -> str:
    if language == "zh":
        return draw.choice(ZH_FAMILY) + draw.choice(ZH_GIVEN)
    name = f"{draw.choice(EN_GIVEN)} {draw.choice(EN_FAMILY)}"
    return draw.choice([name, name, name.upper()])


MAKERS: dict[str, Callable[[random.Random, str], str]] = {
    "email": _email,
    "phone": _phone,
    "identity_number": _identity,
    "payment_card": _card,
    "ip_address": _ip,
    "name": _name,
}


def _distractor(draw: random.Random, language: str) -> str:
    """Draw a sentence with a number or sign that is no personal data."""
    form = draw.choice(EN_DISTRACTORS if language == "en" else ZH_DISTRACTORS)
    filled = form.replace("BARCODE", _barcode(draw))
    drawn = {"#": "0123456789", "%": "123456789", "~": "0123456789abcdef"}
    return "".join(draw.choice(drawn.get(sign, sign)) for sign in filled)


def _barcode(draw: random.Random) -> str:
    """Draw an ISBN-13 with its check digit, in groups."""
    twelve = "978" + _digits(draw, 9)
    total = sum(int(d) * (1 + 2 * (i % 2)) for i, d in enumerate(twelve))
    whole = twelve + str(-total % 10)
    return draw.choice([whole, f"{whole[:3]}-{whole[3]}-{whole[4:7]}-{whole[7:12]}-{whole[12]}"])


# # stands for a digit, % for one above 0, ~ for a hexadecimal one
EN_DISTRACTORS = [
    "Your order ########### has been shipped.",
    "Order number: 13#########.",
    "Tracking no. ###-###-####, parcel 2 of 3.",
    "It is sold as ISBN BARCODE.",
    "The barcode BARCODE cannot be read.",
    "Upgrade to version 1%.2%.%.%##.",
    "libfoo #.#.#.# fixes this.",
    "It began at 202%-0%-1# 1#:2#:3#.",
    "Timestamp 16######## (############# ms).",
    "The constant is %.##############e-1#.",
    "They paid $%#,###,###.## in all.",
    "Commit ~~~~~~~~~~~~~~~~~~~~~~~~ broke it.",
    "The key is ~~~~~~~~-####-####-####-############.",
    "Seasons 19##-20## and 2003/04 were the best.",
    "See sections %.%.%.% and 4.2.",
    "doi:10.####/#######.#######",
    "The pixel buffer has ### ### ### entries.",
    "Ping @channel and @ops at 12:30, cc team@, thanks.",
    "Meter reading ########, serial ############.",
    "Account statement ################ page 1.",
    "https://shop.example/item/############?ref=##########",
    "MAC ~~:~~:~~:~~:~~:~~ is blocked.",
]
ZH_DISTRACTORS = [
    "您的订单###########已发货。",
    "订单编号：13#########。",
    "快递单号为############，请查收。",
    "书号ISBN BARCODE。",
    "条形码BARCODE扫不出来。",
    "请升级到版本1%.2%.%.%##。",
    "见第%.%.%.%节。",
    "时间为202%-0%-1# 1#:2#:3#。",
    "时间戳16########，毫秒#############。",
    "常数约为%.##############。",
    "总共支付%##########元。",
    "发票号码########，代码############。",
    "学号20########的同学请来办公室。",
    "QQ群#########欢迎加入。",
    "统一社会信用代码91######MA#######X。",
    "型号XJ-####-########已停产。",
    "合同号：###############。",
    "流水号##################，请核对。",
    "案号为(20##)京01民初#####号。",
    "人口%#######，面积####.##平方公里。",
    "双色球号码0# 1# 2# 0# 1# 2# 0#。",
    "邮编######，经度116.######，纬度39.######。",
]
