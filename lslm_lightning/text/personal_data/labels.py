"""Words before a number that say what it is: "phone", "order no.", 身份证, 订单号."""

import re
from typing import NamedTuple

WINDOW = 32  # characters before a number in which its label is looked for
# end of a sentence or clause, or another number: a label before it is of no concern
BARRIER = re.compile(r"[。！？；，\n!?;]|, |[^\W_]{4,}\.\s|\d{4,}")


class NumberLabel(NamedTuple):
    """Words that say what kind of number follows.

    `spaced` and `unspaced` are alternatives of a regular expression, for scripts with spaces
    between words and without. A number of a kind that is neither `kind` nor tolerated is taken for
    something else.
    """

    kind: str  # "" for numbers that are no personal data
    tolerated: tuple[str, ...]
    spaced: str
    unspaced: str


LABELS = (
    NumberLabel(
        "phone",
        (),
        r"(?:tele|cell|mobile ?)?phones?|tel|cell|mobile|fax|facsimile|calls?|called|calling|dial|"
        r"pager|whatsapp|hotline|text|ring|reach|voicemail|contact|sms|landline|home|office|work|"
        r"direct|ph|mob|(?:my|his|her|our|their|your|\w's) numbers?|telefon|handy|mobil|"
        r"téléphone|tél|móvil|teléfono",
        "电话|电話|電話|手机|手機|移动|座机|固话|传真|傳真|热线|熱線|致电|致電|拨打|撥打|来电|联系|聯繫|联络"
        "|电联|通讯|短信|号码是|打给",
    ),
    NumberLabel(
        "payment_card",
        ("phone", "iban", "identity_number"),
        r"cards?|visa|mastercard|amex|american express|credit|debit|maestro|jcb|unionpay",
        "银行卡|信用卡|储蓄卡|借记卡|卡号|刷卡|银联|付款卡|卡",
    ),
    NumberLabel(
        "iban", ("payment_card",), r"ibans?|accounts?|acct", "账号|帐号|账户|帐户|户头|汇款"
    ),
    NumberLabel(
        "identity_number",
        ("payment_card",),
        r"identity|ssn|social security|ids?|national id|passport",
        "身份证|身分证|身份證|证件|公民身份|社保",
    ),
    NumberLabel(
        "",
        (),
        r"orders?|invoices?|tracking|shipment|parcel|isbn|issn|ean|gtin|upc|barcodes?|sku|serial|"
        r"s/n|sn|case|tickets?|refs?|reference|confirmation|passcodes?|password|pin|codes?|"
        r"versions?|ver|v|builds?|releases?|firmware|driver|revision|rev|patents?|parts?|models?|"
        r"items?|products?|batch|polic(?:y|ies)|licen[cs]es?|permit|flight|booking|"
        r"reservation|deal|contracts?|transactions?|users?|members?|customers?|students?|"
        r"employees?|pages?|doi|pmid|arxiv|zip|postcode|imei|imsi|iccid|vin|populations?|totals?|"
        r"amounts?|price|cost|budget|hash|checksum|commit|timestamps?|epoch|sections?|chapter|"
        r"clause|figure|table|equation|oid|docket|meter|qq|msn|sequence|accession|"
        r"registration|charge|catalog(?:ue)?|score|isrc|rfc",
        "订单|訂單|单号|單號|运单|快递|编号|編號|货号|型号|序列号|條碼|条形码|条码|书号|刊号|工号|学号|"
        "流水|交易号|案号|批号|版本|邮编|邮政编码|密码|验证码|合同|发票|金额|总额|价格|人口|产量|时间戳|"
        "哈希|群号|微信|代码|编码|房间|门牌|序号|票号|车次|会员|专利|固件|驱动|章节|票据|凭证|资产|设备|"
        "信用代码|圆周率",
    ),
)


def _pattern() -> re.Pattern[str]:
    """Return the pattern of all labels; the group that matched is the label's number."""
    parts = []
    for number, label in enumerate(LABELS):
        words = rf"(?<![A-Za-z])(?:{label.spaced})(?![A-Za-z])"
        parts.append(f"(?P<l{number}>{words}|{label.unspaced})")
    return re.compile("|".join(parts), re.IGNORECASE)


PATTERN = _pattern()


def label_before(text: str, start: int) -> tuple[NumberLabel | None, int]:
    """Return the last label before `start`, and the number of characters between them; None if
    there is none in the same clause.
    """
    found = PATTERN.finditer(text, clause_start(text, start), start)
    last = max(found, key=re.Match.end, default=None)
    if last is None or last.lastgroup is None:
        return None, WINDOW
    return LABELS[int(last.lastgroup[1:])], start - last.end()


def clause_start(text: str, end: int) -> int:
    """Return where the clause before `end` begins, at most `WINDOW` characters before it."""
    begin = max(0, end - WINDOW)
    for barrier in BARRIER.finditer(text, begin, end):
        begin = barrier.end()
    return begin
