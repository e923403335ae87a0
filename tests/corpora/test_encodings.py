"""What bytes are that are not UTF-8: named where they say it, and never advised what would turn
them into rubbish.
"""

import bz2
import gzip
import io
import json
import lzma
import re
import subprocess
import zipfile

import pyarrow
import pytest

from lslm_lightning.corpora.encodings import detect, not_utf8
from lslm_lightning.corpora.readers import READERS

RUSSIAN = "Привет, как дела? Сегодня хорошая погода, и мы идём гулять в парк с собакой.\n"
CHINESE = "你好，今天天气很好，我们去公园散步。\n猫坐在窗台上看着外面的鸟。\n"
TAIWAN = "你好，今天天氣很好，我們去公園散步。\n貓坐在窗台上看著外面的鳥。\n"
JAPANESE = "こんにちは、今日は天気がいいので公園へ散歩に行きます。\n猫が窓辺に座っています。\n"
KOREAN = (
    "안녕하세요, 오늘은 날씨가 좋아서 공원에 산책하러 갑니다.\n고양이가 창가에 앉아 있습니다.\n"
)
GERMAN = "Grüße aus München! Die Kinder spielen draußen, und die Tür ist geöffnet.\n"
FRENCH = "L'été dernier, nous avons mangé des crêpes à la plage près de la forêt.\n"
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy.\nDnes je krásný den.\n"
HUNGARIAN = "Az őszi erdőben szép virágok nyílnak. Jó napot kívánok!\n"
HEBREW = "אתמול הלכנו למוזיאון.\nמחר יהיה מזג אוויר טוב.\n" * 3
TEXTS = [
    ("cp1251", "Windows-1251", RUSSIAN),
    ("koi8_r", "KOI8-R", RUSSIAN),
    ("iso8859_5", "ISO 8859-5", RUSSIAN),
    ("cp866", "DOS 866", RUSSIAN),
    ("koi8_r", "KOI8-R", f"Москва. {RUSSIAN}"),
    (
        "koi8_u",
        "KOI8-U",
        "Привіт, як справи? Сьогодні гарна погода, і ми йдемо гуляти до їхнього ґанку.\n",
    ),
    ("iso8859_6", "ISO 8859-6", "مرحبا، الطقس جميل اليوم ونحن ذاهبون للمشي في الحديقة.\n"),
    ("cp1251", "Windows-1251", "Привіт, як справи? Сьогодні гарна погода, і ми йдемо гуляти.\n"),
    ("gb18030", "GB 18030", CHINESE),
    ("gbk", "GB 18030", CHINESE),
    ("big5", "Big5", TAIWAN),
    ("shift_jis", "Shift-JIS", JAPANESE),
    ("euc_jp", "EUC-JP", JAPANESE),
    ("euc_kr", "EUC-KR", KOREAN),
    ("cp1252", "Windows-1252", GERMAN),
    ("cp1252", "Windows-1252", FRENCH),
    ("cp1252", "Windows-1252", "“Smart quotes” and it’s fine\n"),
    ("cp1252", "Windows-1252", "El niño pequeño corrió por la montaña.\n¿Dónde está mi corazón?\n"),
    ("cp1250", "Windows-1250", "Zażółć gęślą jaźń. Dziś jest piękny dzień, idziemy do parku.\n"),
    ("iso8859_2", "ISO 8859-2", "Zażółć gęślą jaźń. Dziś jest piękny dzień, idziemy do parku.\n"),
    ("cp1250", "Windows-1250", CZECH),
    ("iso8859_2", "ISO 8859-2", CZECH),
    ("cp1253", "Windows-1253", "Καλημέρα, σήμερα ο καιρός είναι ωραίος και πάμε βόλτα.\n"),
    ("cp1254", "Windows-1254", "Bugün hava çok güzel, parkta yürüyüşe çıkıyoruz. Işık ve gölge.\n"),
    ("cp1255", "Windows-1255", "שלום, היום מזג האוויר יפה ואנחנו הולכים לטייל בפארק.\n"),
    ("cp1256", "Windows-1256", "مرحبا، الطقس جميل اليوم ونحن ذاهبون للمشي في الحديقة.\n"),
    ("cp1257", "Windows-1257", "Šiandien graži diena, mes einame į parką. Ąžuolas žaliuoja.\n"),
    ("cp874", "Windows-874", "สวัสดีครับ วันนี้อากาศดี เราจะไปเดินเล่นในสวน\n"),
]
WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


def message(data: bytes, form: str = "lines") -> str:
    with pytest.raises(ValueError, match=r"^f: ") as error:
        list(READERS[form]("f", data, True))
    return str(error.value)


def converted(said: str, data: bytes) -> str:
    """The text that the advice leads to."""
    command = re.search(r"iconv -f (\S+) -t UTF-8 FILE > NEW_FILE$", said)
    return subprocess.run(
        ["iconv", "-f", command[1], "-t", "UTF-8"], input=data, capture_output=True, check=True
    ).stdout.decode()


@pytest.mark.parametrize("n", [1, 30])
@pytest.mark.parametrize(("encoding", "name", "text"), TEXTS)
def test_encodings_are_named_and_the_advice_gives_the_text(encoding, name, text, n):
    said = message((text * n).encode(encoding))
    assert f"the file reads as {name}, " in said
    assert "if that is right, convert it" in said
    assert converted(said, (text * n).encode(encoding)) == text * n


def test_what_two_encodings_may_be_is_not_converted():
    said = message(f"Москва является столицей. {RUSSIAN}".encode("mac_cyrillic"))
    assert "cannot be told" in said
    assert "Mac Cyrillic ('Москва явля" in said
    assert "iconv" not in said


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize(
    "text", ["en,de\nHi,Hallo\nred,rot\n", f"text\n{RUSSIAN}", f"text\n{CHINESE}", f"a\r\n{GERMAN}"]
)
@pytest.mark.parametrize("form", ["lines", "csv", "tsv", "jsonl", "json", "text", "tagged"])
def test_wide_encodings_are_named_with_and_without_their_mark(encoding, text, form):
    said = message(text.encode(encoding), form)
    assert f"the file is {encoding[:6].upper()}; convert it: iconv" in said
    assert converted(said, text.encode(encoding)).removeprefix("\ufeff") == text


def test_other_encodings_that_name_themselves():
    data = JAPANESE.encode("iso2022_jp")
    said = message(data)
    assert "ISO-2022-JP" in said
    assert converted(said, data) == JAPANESE
    data = ("\ufeff" + CHINESE).encode("gb18030")
    assert converted(message(data), data).removeprefix("\ufeff") == CHINESE


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"t\xe9\n", "e9 0a; it may be Windows-1252 ('t\xe9')"),
        ("你好".encode("gbk"), "c4 e3 ba c3; it may be "),
        ("Ёлка".encode("cp1251"), "a8 eb ea e0; it may be "),
        (b"\x80\x81\x82\xff\xfe\x01", "80 81 82 ff fe 01: find out"),
        (bytes(range(128, 256)), "80 81 82 83 84 85 86 87: find out"),
        (HUNGARIAN.encode("cp1250"), "Windows-1250 ('Az őszi erdő')"),
        (HEBREW.encode("cp1255"), "or Windows-1255 ('אתמול הלכנו ')"),  # KOI8-R has capitals there
        (("แมวนอนบนหลังคา\n" * 3).encode("cp874"), "or Windows-874 ('แมวนอนบนหลัง')"),
        (("Kočka spí na střeše.\n" * 3).encode("cp852"), "9f 6b 61"),  # ¡ stands before letters
    ],
)
def test_what_cannot_be_told_is_not_guessed(data, shown):
    said = message(data)
    assert "its encoding cannot be told from the bytes " in said
    assert shown in said
    assert "iconv" not in said
    assert "find out how the file was written" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        (RUSSIAN, "cp1251 koi8_r iso8859_5 cp866"),
        (CHINESE, "gb18030"),
        (TAIWAN, "big5 gb18030"),
        (JAPANESE, "shift_jis euc_jp"),
        (KOREAN, "cp949"),
        (CZECH, "cp1250 iso8859_2"),
        (FRENCH, "cp1252"),
    ],
)
def test_however_short_the_text_no_advice_lies(text, encodings):
    for encoding in [*encodings.split(), *WIDE]:
        for n in range(1, len(text)):
            data = text[:n].encode(encoding)
            try:
                data.decode()
            except UnicodeDecodeError as error:
                said = not_utf8("f", data, error.start)
                if "iconv" in said:
                    assert converted(said, data).removeprefix("\ufeff") == data.decode(
                        encoding
                    ).removeprefix("\ufeff"), (encoding, n)


def test_damage_in_the_middle_of_utf8_is_no_encoding():
    lines = [f"Zeile {i}: schöne Grüße\n".encode() for i in range(50)]
    lines[30] = "Zeile 30: schöne Grüße\n".encode("cp1252")
    said = message(b"".join(lines))
    assert said.startswith(
        "f: line 31: byte 783 (0xf6) is not UTF-8, though the text around it is: bytes f6 6e 65 20"
    )
    assert "iconv" not in said
    assert "though the text around it is" in message(b"".join(lines[30:]))
    assert "half of a surrogate pair" in message("a \ud83d b".encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "form", ["lines", "csv", "tsv", "jsonl", "json", "text", "tagged", "subject", "squad"]
)
def test_nul_is_no_text(form):
    assert re.match(
        r"f: line 2: byte 10 \(0x00\) is NUL, which no text has", message(b'{"a": 1}\na\0b\n', form)
    )


@pytest.mark.parametrize("form", ["lines", "csv", "jsonl", "json", "text"])
def test_files_under_a_wrong_name_are_named(form):
    """As in "'utf-8' codec can't decode byte 0x8b in position 1", which is a gzip file."""
    text = b"a,b\nc,d\n" * 300
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.csv", text)
    packed = {
        "gzip": gzip.compress(text),
        "bzip2": bz2.compress(text),
        "xz": lzma.compress(text),
        "zip": zipped.getvalue(),
    }
    packed["Zstandard"] = pyarrow.compress(text, codec="zstd", asbytes=True)
    for kind, data in packed.items():
        assert re.match(
            rf"f: line \d+: byte \d+ \(0x..\) is no part of a text: the file is an? {kind} ",
            message(data, form),
        )


@pytest.mark.parametrize(
    "form", ["lines", "csv", "tsv", "jsonl", "json", "text", "parquet", "arrow", "squad", "tagged"]
)
def test_a_pointer_of_git_lfs_is_no_data(form):
    data = b"version https://git-lfs.github.com/spec/v1\noid sha256:df219b\nsize 175385569\n"
    assert (
        message(data, form)
        == "f: is a pointer of Git LFS, not the file itself; `git lfs pull` in its folder "
        "downloads the file"
    )
    with pytest.raises(ValueError, match="is a pointer of Git LFS"):
        list(READERS[form]("f", io.BytesIO(data), True))


def test_bytes_are_counted_from_the_begin_of_the_file():
    assert message(b"\xef\xbb\xbfone\r\nt\xe9").startswith("f: line 2: byte 9 (0xe9)")


@pytest.mark.parametrize(
    ("encoding", "name", "text"),
    [("gb18030", "GB 18030", CHINESE), ("shift_jis", "Shift-JIS", JAPANESE)],
)
def test_no_character_is_cut_where_a_file_is_one_long_line(encoding, name, text):
    texts = [text[: 5 + i % 20] for i in range(20_000)]
    data = json.dumps(texts, ensure_ascii=False).encode(encoding)
    assert f"the file reads as {name}, " in message(data, "json")


def test_a_single_reading_is_not_yet_a_sure_one():
    assert [reading.encoding for reading in detect("naïve".encode("cp1252"))[0]].count(
        "cp1252"
    ) == 1
    assert not detect("naïve".encode("cp1252"))[1]
