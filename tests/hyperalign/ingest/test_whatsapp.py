from datetime import datetime

import pytest

from hyperalign.ingest.interface import Utterance
from hyperalign.ingest.whatsapp import WhatsApp

from .entries import answered, authors, passed_over, read, said, source

LRM, NARROW, BOM = "\u200e", "\u202f", "\ufeff"
FORM = WhatsApp()

ANDROID = """\
12/24/23, 9:05 PM - Messages and calls are end-to-end encrypted. Tap to learn more.
12/24/23, 9:05 PM - Tom created group "Boat: summer"
12/24/23, 9:06 PM - Tom changed the subject from "Boat: summer" to "Boat: again"
12/24/23, 9:06 PM - Tom added Mira K.
12/24/23, 9:07 PM - Tom: When does the ferry leave?
12/24/23, 9:08 PM - Mira K.: early: at six
so pack tonight

12/24/23, 9:09 PM - Mira K.: <Media omitted>
12/24/23, 9:09 PM - Mira K.: the red bag is yours <This message was edited>
12/24/23, 9:10 PM - Tom: This message was deleted
12/24/23, 9:11 PM - Mira K.: IMG-20231224-WA0001.jpg (file attached)
my packed bag, look
12/24/23, 9:12 PM - +49 170 1234567: who of you is this?
12/24/23, 9:12 PM - Mira K.: https://example.org/map
12/24/23, 11:12 PM - Mira K.: are you all asleep already?
12/24/23, 11:13 PM - Tom: You deleted this message
"""
IPHONE = f"""\
{LRM}[31.12.23, 21:05:09] Boot: {LRM}Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt.
[31.12.23, 21:05:09] Mira K.: Hallo ihr beiden
[31.12.23, 21:06:00] ~{NARROW}Tom: Hallo: wie geht es dir?
{LRM}[31.12.23, 21:07:00] Mira K.: {LRM}Bild weggelassen
[31.12.23, 21:08:00] Mira K.: Gut, und dir so?
[31.12.23, 21:09:00] Tom: {LRM}Diese Nachricht wurde gelöscht.
[31.12.23, 21:09:10] Tom: Ich bin der andere Tom
{LRM}[31.12.23, 21:10:00] Mira K.: Bericht.pdf • {LRM}2 Seiten {LRM}Dokument weggelassen
[31.12.23, 21:10:30] \u202a+49 170 1234567\u202c: wer bist denn du?
{LRM}[31.12.23, 21:11:00] Mira K.: {LRM}Mira K. hat Tom hinzugefügt
[31.12.23, 21:11:00] Mira K.: schau mal her {LRM}<Anhang: 0001-PHOTO.jpg>
[31.12.23, 21:12:00] Mira K.: das habe ich geändert {LRM}<Diese Nachricht wurde bearbeitet.>
{LRM}[31.12.23, 21:13:00] Tom: {LRM}UMFRAGE:
Wohin denn nun?
{LRM}OPTION: ans Meer ({LRM}2 Stimmen)
"""


def test_android_gives_what_each_wrote_at_a_stretch() -> None:
    entries = read(FORM, ANDROID)
    assert said(entries) == [
        ("Tom", "When does the ferry leave?"),
        ("Mira K.", "early: at six\nso pack tonight\nthe red bag is yours"),
        ("Mira K.", "my packed bag, look"),
        ("+49 170 1234567", "who of you is this?"),
        ("Mira K.", "are you all asleep already?"),
    ]
    assert passed_over(entries) == {"system messages": 4, "media": 1, "deleted messages": 2, "links alone": 1}


def test_prompt_is_what_somebody_else_wrote_right_before() -> None:
    assert answered(read(FORM, ANDROID)) == [
        ("When does the ferry leave?", None),
        ("early: at six\nso pack tonight\nthe red bag is yours", "When does the ferry leave?"),
        # What Tom deleted can't be known.
        ("my packed bag, look", None),
        ("who of you is this?", "my packed bag, look"),
        ("are you all asleep already?", "who of you is this?"),
    ]


def test_iphone_marks_what_the_app_says() -> None:
    entries = read(FORM, IPHONE)
    assert said(entries) == [
        ("Mira K.", "Hallo ihr beiden"),
        ("~ Tom", "Hallo: wie geht es dir?"),
        ("Mira K.", "Gut, und dir so?"),
        ("Tom", "Ich bin der andere Tom"),
        ("+49 170 1234567", "wer bist denn du?"),
        ("Mira K.", "schau mal her\ndas habe ich geändert"),
    ]
    assert passed_over(entries) == {"system messages": 2, "media": 2, "deleted messages": 1, "polls": 1}


def test_people_are_chosen_by_name_or_number() -> None:
    people = authors(read(FORM, IPHONE))
    assert people["+49 170 1234567"].is_called("+491701234567")
    assert people["~ Tom"].is_called("~\u202fTom")
    assert not people["~ Tom"].is_called("Tom")  # He is another one, in the address book.
    assert not any(person.is_owner for person in people.values())


def test_stranger_goes_by_the_name_where_no_other_has_it() -> None:
    assert set(authors(read(FORM, IPHONE.replace("] Tom:", "] Lea:")))) >= {"Tom", "Lea"}


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("12/31/23, 9:05 PM - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        (f"12/31/23, 12:05{NARROW}AM - Ana: we are here", datetime(2023, 12, 31, 0, 5)),
        ("31/12/2023, 21:05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("31.12.23, 21:05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("31-12-2023 21:05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("2023/12/31 21:05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("2023-12-31, 21:05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("28/3/2025, 9:29 p. m. - Ana: we are here", datetime(2025, 3, 28, 21, 29)),
        ("9/24/2019 11:30 a.m. - Ana: we are here", datetime(2019, 9, 24, 11, 30)),
        ("2023/12/31 下午9:05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("2023. 12. 31. 오후 9:05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("٣١/١٢/٢٠٢٣، ٩:٠٥ م - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("31\u200f/12\u200f/2023, 21:05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("2023-12-31 21 h 05 - Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("[31/12/2023, 21:05:09] Ana: we are here", datetime(2023, 12, 31, 21, 5, 9)),
        ("[31/12/2023 21:05:09] Ana: we are here", datetime(2023, 12, 31, 21, 5, 9)),
        (f"[12/31/23, 9:05:09{NARROW}PM] Ana: we are here", datetime(2023, 12, 31, 21, 5, 9)),
        ("[12.3.2022 klo 14.08.18] Ana: we are here", datetime(2022, 3, 12, 14, 8, 18)),
        (f"{BOM}{LRM}[31.12.23, 21:05:09] Ana: we are here", datetime(2023, 12, 31, 21, 5, 9)),
        ("[21:05, 31/12/2023] Ana: we are here", datetime(2023, 12, 31, 21, 5)),
        ("24/3/14, 13:59:59: Ana: we are here", datetime(2014, 3, 24, 13, 59, 59)),
    ],
)
def test_every_form_of_dates(line: str, time: datetime) -> None:
    assert FORM.match(source(line)) >= 2
    (entry,) = read(FORM, line)
    assert isinstance(entry, Utterance)
    assert (entry.author.name, entry.text, entry.time) == ("Ana", "we are here", time)


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        (["1/2/24", "1/9/24", "2/1/24"], (1, 2)),  # goes on as month, day
        (["1/2/24", "9/2/24", "1/3/24"], (2, 1)),  # as day, month
        (["1/2/24", "13/2/24"], (2, 1)),
        (["1/2/24", "2/13/24"], (1, 2)),
    ],
)
def test_order_of_dates_is_told_from_all_of_them(dates: list[str], first: tuple[int, int]) -> None:
    entry = read(FORM, "\n".join(f"{date}, 08:00 - Ana: one of many lines" for date in dates))[0]
    assert isinstance(entry, Utterance)
    assert entry.time
    assert (entry.time.month, entry.time.day) == first


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<Media omitted>", "media"),
        ("<Medien ausgeschlossen>", "media"),
        ("<Multimedia omitido>", "media"),
        ("<Без медиафайлов>", "media"),
        ("<Medien ausgeschlossen>\nReport of May.pdf", "media"),
        ("image omitted", "media"),
        (f"{LRM}sticker omitted", "media"),
        (f"{LRM}imagem ocultada", "media"),
        (f"{LRM}immagine omessa", "media"),
        (f"{LRM}<attached: 00000001-AUDIO.opus>", "media"),
        ("PTT-20250328-WA0014.opus (archivo adjunto)", "media"),
        ("null", "media"),
        ("This message was deleted", "deleted messages"),
        ("Du hast diese Nachricht gelöscht", "deleted messages"),
        ("Se eliminó este mensaje.", "deleted messages"),
        (f"{LRM}You deleted this message.", "deleted messages"),
        ("Missed voice call", "system messages"),
        (f"{LRM}Voice call, {LRM}12 sec", "system messages"),
        ("Messages and calls are end-to-end encrypted. No one outside can read them.", "system messages"),
        (f"{LRM}Something the app will say in a language of next year", "system messages"),
        ("Ana added Tom", "system messages"),
        ("location: https://maps.google.com/?q=1,2", "links alone"),
        ("https://example.org http://example.org", "links alone"),
        ("POLL:\nWhere to, all?\nOPTION: the sea (2 votes)\nOPTION: home (0 votes)", "polls"),
        ("[30.12.23, 20:00:11] Tom: what Tom said is here", "pasted messages"),
        ("> what Tom said is here", "quoted texts"),
        ("ok then", "texts of under 3 words"),
        ("😂 😂 😂 😂", "texts of under 3 words"),
    ],
)
def test_what_is_nobodys_text_is_passed_over(body: str, reason: str) -> None:
    entries = read(FORM, f"[31.12.23, 21:05:09] Ana: {body}\n[31.12.23, 21:05:10] Tom: and so I say")
    assert said(entries) == [("Tom", "and so I say")]
    assert passed_over(entries) == {reason: 1}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("I missed video games so much", "I missed video games so much"),
        ("the image omitted the best part", "the image omitted the best part"),
        ("see https://example.org for the map", "see https://example.org for the map"),
        ("IMG-1.jpg (file attached)\nour new boat here", "our new boat here"),
        (f"our new boat here {LRM}<attached: 1.jpg>", "our new boat here"),
        ("she left the key and joined us", "she left the key and joined us"),
        ("汤太淡了，我加了盐", "汤太淡了，我加了盐"),
        ("note: three things to do", "note: three things to do"),
        ("we said: home at 10:30 today", "we said: home at 10:30 today"),
        ("hello @\u2068Tom\u2069 how are you", "hello @Tom how are you"),
        ("> what Tom said is here\nI do not agree", "I do not agree"),
    ],
)
def test_what_looks_like_it_stays(body: str, text: str) -> None:
    assert said(read(FORM, f"[31.12.23, 21:05:09] Ana: {body}")) == [("Ana", text)]


def test_ten_minutes_and_a_day() -> None:
    lines = [
        "01.02.24, 08:00 - Tom: who has the key?",
        "01.02.24, 08:30 - Ana: not me",
        "01.02.24, 08:39 - Ana: or is it",
    ]
    lines += ["01.02.24, 09:00 - Ana: it was in the boat", "03.02.24, 09:00 - Tom: good morning to you"]
    assert answered(read(FORM, "\n".join(lines))) == [
        ("who has the key?", None),
        ("not me\nor is it", "who has the key?"),
        ("it was in the boat", None),
        ("good morning to you", None),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "On 12/24/23, 9:05 we left: it was cold.\nThe rest is prose, and there is more of it.",
        "[2023-12-31 21:05:09] INFO: started it now\n[2023-12-31 21:05:10] ERROR: failed it now",
        "2023-12-31 21:05:09,123 - root - INFO: started\n2023-12-31 21:05:10,123 - root - INFO: done",
        '{"user": "ada", "text": "12/24/23, 9:05 PM - Tom: hello"}',
        "date,author,text\n12/24/23,tom,hello to you",
    ],
)
def test_other_files_are_not_taken(text: str) -> None:
    assert FORM.match(source(text)) == 0


def test_group_is_nobody_where_the_marks_are_lost() -> None:
    lines = ["Boats 2024: Messages and calls are end-to-end encrypted.", "Ben: Ben created group “Boats 2024”"]
    lines += [
        "Boats 2024: Ben added you",
        "Boats 2024: You're now an admin",
        "~\u202fLea: ~\u202fLea joined from the community",
    ]
    lines += ["Ben: Ben changed this group's icon", "Ben: Lea left the oars with me"]
    entries = read(FORM, "\n".join(f"[14.08.2024, 21:00:1{at}] {line}" for at, line in enumerate(lines)))
    assert said(entries) == [("Ben", "Lea left the oars with me")]
    assert passed_over(entries) == {"system messages": 6}


def test_notice_under_the_name_of_the_other_hides_no_words() -> None:
    lines = [
        "Ben: Messages and calls are end-to-end encrypted.",
        "Ben: where are the oars?",
        "Ana: I left them with Ben",
    ]
    entries = read(FORM, "\n".join(f"[14.08.2024, 21:00:1{at}] {line}" for at, line in enumerate(lines)))
    assert said(entries) == [("Ben", "where are the oars?"), ("Ana", "I left them with Ben")]


def test_lines_before_the_first_message_are_nobodys() -> None:
    entries = read(FORM, "A note that somebody put on top\n01.02.24, 08:00 - Tom: who has the key?")
    assert said(entries) == [("Tom", "who has the key?")]
    assert passed_over(entries) == {"lines before the first message": 1}
