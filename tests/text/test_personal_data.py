"""Personal data is found with its kind and offsets, and what resembles it is not."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.text.personal_data import (
    KINDS,
    PersonalDataFinder,
    Redaction,
    placeholder_of,
)
from lslm_lightning.text.personal_data.checksums import (
    IBAN_LENGTHS,
    is_iban,
    is_resident_identity,
    passes_luhn,
)
from tests.support.planted_personal_data import listed_names, planted_texts

# one of each country. Source: SWIFT IBAN registry, release 100
IBANS = """
AD1200012030200359100100 AE070331234567890123456 AL47212110090000000235698741
AT611904300234573201 AZ21NABZ00000000137010001944 BA391290079401028494 BE68539007547034
BG80BNBG96611020345678 BH67BMAG00001299123456 BI4210000100010000332045181
BR1800360305000010009795493C1 BY13NBRB3600900000002Z00AB00 CH9300762011623852957
CR05015202001026284066 CY17002001280000001200527600 CZ6508000000192000145399
DE89370400440532013000 DJ2100010000000154000100186 DK5000400440116243
DO28BAGR00000001212453611324 EE382200221020145685 EG380019000500000000263180002
ES9121000418450200051332 FI2112345600000785 FK88SC123456789012 FO6264600001631634
FR1420041010050500013M02606 GB29NWBK60161331926819 GE29NB0000000101904917
GI75NWBK000000007099453 GL8964710001000206 GR1601101250000000012300695
GT82TRAJ01020000001210029690 HN88CABF00000000000250005469 HR1210010051863000160
HU42117730161111101800000000 IE29AIBK93115212345678 IL620108000000099999999
IQ98NBIQ850123456789012 IS140159260076545510730339 IT60X0542811101000000123456
JO94CBJO0010000000000131000302 KW81CBKU0000000000001234560101 KZ86125KZT5004100100
LB62099900000001001901229114 LC55HEMM000100010012001200023015 LI21088100002324013AA
LT121000011101001000 LU280019400644750000 LV80BANK0000435195001 LY83002048000020100120361
MC5811222000010123456789030 MD24AG000225100013104168 ME25505000012345678951
MK07250120000058984 MN121234123456789123 MR1300020001010000123456753
MT84MALT011000012345MTLCAST001S MU17BOMM0101101030300200000MUR NI45BAPR00000013000003558124
NL91ABNA0417164300 NO9386011117947 OM810180000001299123456 PK36SCBL0000001123456702
PL61109010140000071219812874 PS92PALS000000000400123456702 PT50000201231234567890154
QA58DOHB00001234567890ABCDEFG RO49AAAA1B31007593840000 RS35260005601001611379
RU0304452522540817810538091310419 SA0380000000608010167519 SC18SSCB11010000000000001497USD
SD2129010501234001 SE4550000000058398257466 SI56263300012039086 SK3112000000198742637541
SM86U0322509800000000270100 SO211000001001000100141 ST23000100010051845310146
SV62CENR00000000000000700025 TL380080012345678910157 TN5910006035183598478831
TR330006100519786457841326 UA213223130000026007233566001 VA59001123000012345678
VG96VPVG0000012345678901 XK051212012345678906 YE15CBYE0001018861234567891234
"""

# kind, text; what is to be found stands between ⟦ and ⟧
FOUND = [
    ("email", "Write to ⟦jane.doe+news@mail.example.org⟧."),
    ("email", "邮箱⟦li_ming88@example.cn⟧，欢迎来信"),
    ("email", "<⟦o'neil@example.co.uk⟧> wrote"),
    ("email", "全角：⟦ｌｉ＠ｅｘａｍｐｌｅ．ｃｎ⟧。"),
    ("email", "It is ⟦jane (at) example (dot) com⟧, no spam please"),
    ("email", "mailto:⟦jane@example.com⟧"),
    ("phone", "我的手机是⟦13800138000⟧。"),
    ("phone", "⟦138 0013 8000⟧ 或 ⟦139-0013-9000⟧"),
    ("phone", "请拨打⟦+86 138 0013 8000⟧"),
    ("phone", "联系人：李明（⟦１３８００１３８０００⟧）"),
    ("phone", "总机⟦010-62770334⟧，传真⟦(021)6277-0335⟧"),
    ("phone", "电话：⟦0755-26770000转801⟧"),
    ("phone", "电话⟦02062770334⟧"),
    ("phone", "客服热线⟦400-810-0000⟧"),
    ("phone", "座机号码是⟦62770334⟧"),
    ("phone", "Call me at ⟦(713) 555-0142⟧ or ⟦713-555-0143 x12⟧."),
    ("phone", "cell ⟦713.555.0144⟧"),
    ("phone", "My number: ⟦1-800-555-0145⟧, or ⟦+1 415 555 0146⟧"),
    ("phone", "phone ⟦713/555-0147⟧"),
    ("phone", "London ⟦+44 20 7946 0958⟧, Berlin ⟦+49 (0)30 901820⟧"),
    ("phone", "⟦020 7946 0958⟧ is the desk; ⟦07700 900123⟧ is mine"),
    ("phone", "Tel. ⟦01 23 45 67 89⟧"),
    ("phone", "call ⟦555-0142⟧ tonight"),
    ("phone", "by fax no.\n⟦(713) 555-0142⟧."),
    ("phone", "Her number is ⟦555-0142⟧."),
    ("phone", "Tokyo ⟦03-1234-5678⟧"),
    ("phone", "(⟦(713)555-0142⟧ or ⟦713-555-0143⟧/⟦713-555-0144⟧)"),
    ("identity_number", "身份证号⟦110105194912310038⟧"),
    ("identity_number", "证件 ⟦440524198001010013⟧"),
    ("identity_number", "⟦11010519491231002X⟧是他的号码"),
    ("identity_number", "⟦１１０１０５１９４９１２３１００２Ｘ⟧"),
    ("identity_number", "老身份证：⟦110105491231002⟧"),
    ("identity_number", "SSN ⟦219-09-9999⟧"),
    ("payment_card", "Visa ⟦4111 1111 1111 1111⟧ exp 12/27"),
    ("payment_card", "card number ⟦5500-0000-0000-0004⟧"),
    ("payment_card", "⟦378282246310005⟧"),
    ("payment_card", "卡号：⟦6228480402564890018⟧"),
    ("iban", "IBAN ⟦DE89 3704 0044 0532 0130 00⟧"),
    ("iban", "to ⟦GB82WEST12345698765432⟧"),
    ("ip_address", "login from ⟦203.0.113.45⟧"),
    ("ip_address", "服务器⟦192.168.10.24⟧无法访问"),
    ("ip_address", "at ⟦2001:db8::ff00:42:8329⟧ now"),
]
NOTHING = [
    "订单号：13800138000",
    "order no. 713-555-0142",
    "快递单号 138001380001234",
    "ISBN 978-7-302-51234-5, ISBN 7-302-12345-6, ISSN 1234-5679",
    "v2.10.3.1 and version 10.0.19041.1",
    "版本 1.2.3.4，见 3.1.4.1 节",
    "2003-05-12 10:30:45, 12/05/2003, 20030512103045",
    "1998-2003, 1,234,567.89, 3.14159265358979, 6.02214076e23",
    "$1800555014, 13800138000元, 10 000 000 people",
    "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "550e8400-e29b-41d4-a716-446655440000",
    "a@b, @user, user@localhost, icon@2x.png, lodash@4.17.21",
    "git@github.com:owner/name.git, Teredo 2001:0::/32",
    "std::vector, 12:34:56, 00:1A:2B:3C:4D:5E, a::b",
    "4111 1111 1111 1112",
    "110105194912310021",
    "0.13800138000 和 1.13800138000",
    "the curve manager (2.1.0.15), the networks 10.0.0.0 and 203.0.113.0",
    "会员卡09 24 06 08 16 11，服务时间0700-1620",
    "019 231 382 entries",
    "127.0.0.1, 0.0.0.0, 255.255.255.0, 1.2.3.400",
    "1700000000, 1700000000000",
    "ORCID 0000-0002-1825-0097",
    "call on 2003-05-12, text 1998-2003, call 20030512",
    "MODEL 400 800 1234567890123",
    "arXiv:1706.03762, doi:10.1145/3442188.3445922",
    "A13800138000, SN-13800138000, 13800138000.jpg",
    "圆周率 3.14159 26535 89793 23846",
    "https://example.com/item/13800138000?id=713-555-0142",
]
SEED = 20261201
FINDER = PersonalDataFinder()


def unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return the text without marks, and the spans between them."""
    spans, plain, start = [], "", 0
    for character in text:
        if character == "⟦":
            start = len(plain)
        elif character == "⟧":
            spans.append((start, len(plain)))
        else:
            plain += character
    return plain, spans


@pytest.mark.parametrize(("kind", "marked"), FOUND)
def test_it_is_found_where_it_stands(kind, marked):
    text, spans = unmarked(marked)
    found = FINDER.find(text)
    assert [(one.kind, one.start, one.end) for one in found] == [(kind, *span) for span in spans]
    assert all(one.text == text[one.start : one.end] for one in found)


@pytest.mark.parametrize("text", NOTHING)
def test_what_resembles_it_is_not_found(text):
    assert FINDER.find(text) == []


@pytest.mark.slow
def test_what_was_planted_is_found_and_little_else():
    finder = PersonalDataFinder(names=listed_names())
    n_planted = n_right = n_found = 0
    for text, planted in planted_texts(seed=SEED):
        found = [(one.kind, one.text) for one in finder.find(text)]
        n_planted += len(planted)
        n_found += len(found)
        n_right += len(set(planted) & set(found))
    assert n_planted == 200
    assert n_right / n_planted >= 0.95
    assert n_right / n_found >= 0.9


@given(st.text(st.sampled_from("0123456789 +-.()@/:aA中\n"), max_size=60))
def test_spans_are_ordered_and_apart_in_any_text(text):
    found = FINDER.find(text)
    assert all(one.start < one.end and one.text == text[one.start : one.end] for one in found)
    assert all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize("position", range(17))
def test_a_change_of_one_digit_fails_the_check(position):
    card, identity = "62284804025648900", "11010519491231002X"
    card += next(digit for digit in "0123456789" if passes_luhn(card + digit))
    for other in set("0123456789") - {card[position]}:
        assert not passes_luhn(card[:position] + other + card[position + 1 :])
    for other in set("0123456789") - {identity[position]}:
        assert not is_resident_identity(identity[:position] + other + identity[position + 1 :])


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"name"}))
def test_one_kind_alone_is_found_as_among_others(kind):
    finder = PersonalDataFinder([kind])
    for _, marked in FOUND:
        text, _ = unmarked(marked)
        assert finder.find(text) == [one for one in FINDER.find(text) if one.kind == kind]


def test_names_of_a_list_are_found_as_whole_words():
    finder = PersonalDataFinder(names=["Zhang Wei", "May", "李明", "José Díaz", "Zhang"])
    text = "zhang  wei, ZHANG\nWEI and Zhang; May may maybe MAY; 昨天李明来了; José Díaz, Díazo"
    found = [(one.kind, one.text) for one in finder.find(text)]
    assert found == [
        *(("name", name) for name in ("ZHANG\nWEI", "Zhang", "May", "MAY", "李明", "José Díaz"))
    ]
    assert PersonalDataFinder(names=["李明"], kinds=["email"]).find(text) == []


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'telephone'.*phone"):
        PersonalDataFinder(kinds=["telephone"])


def test_redaction_replaces_and_counts_what_is_found_and_nothing_else():
    redaction = Redaction(PersonalDataFinder(names=listed_names()))
    counts = Counter()
    for text, _ in planted_texts(seed=SEED):
        found = redaction.finder.find(text)
        counts.update(one.kind for one in found)
        redacted = redaction(text)
        kept = redacted
        for one in found:
            kept = kept.replace(placeholder_of(one.kind), one.text, 1)
        assert kept == text
        assert redaction.finder.find(redacted) == []
    assert redaction.counts == counts
    assert set(counts) == {*KINDS} - {"iban"}


def test_what_decides_what_is_found_is_described():
    every = PersonalDataFinder()
    assert every.description == PersonalDataFinder(reversed(KINDS)).description
    assert every.description != PersonalDataFinder(["email"]).description
    named = [PersonalDataFinder(names=names).description for names in (["A B"], ["A C"], ["A  B"])]
    assert named[0] == named[2] != named[1]
    assert "A B" not in str(named[0])


@pytest.mark.parametrize("iban", IBANS.split())
def test_the_ibans_of_the_registry_are_found(iban: str) -> None:
    for written in (iban, " ".join(iban[i : i + 4] for i in range(0, len(iban), 4))):
        [datum] = PersonalDataFinder(("iban",)).find(f"to {written}, please")
        assert (datum.kind, datum.text) == ("iban", written)
    assert not is_iban(f"{iban}0")
    assert not is_iban(iban[:-1] + ("1" if iban[-1] != "1" else "2"))


def test_the_registry_names_each_country_once() -> None:
    assert sorted(IBAN_LENGTHS) == sorted(iban[:2] for iban in IBANS.split())
