"""Whose words the lines of a mail or text are, as mail programs of many languages write them."""

from __future__ import annotations

import time

import pytest

from hyperalign.ingest.quotes import split_own_words

HERS = "I mended the gate before lunch.\nIt holds now."
HIS = "WHERE ARE THE FORMS?! I need them TODAY!!!"


def own(text: str, *, is_mail: bool = True) -> str:
    return split_own_words(text, is_mail=is_mail).text


ATTRIBUTIONS = [
    "On Mon, Jan 1, 2024 at 9:00 AM Tom Gray <tom@example.org> wrote:",
    "On Mon, Jan 1, 2024 at 9:00 AM Tom Gray\n<tom@example.org> wrote:",
    "On Mon, Jan 1, 2024 at 9:00 AM Tom\nwrote:",
    "On Mon, 1 Jan 2024 at 09:00, Tom Gray, whose name will not fit\n<tom.gray.of.the.long.name@example.org>\nwrote:",
    "On 1 Jan 2024, at 09:00, Tom Gray <tom@example.org> wrote:",
    "On 01/01/2024 09:00, Tom Gray wrote:",
    "Am 01.01.24 um 09:00 schrieb Tom Gray:",
    "Am Mo., 1. Jan. 2024 um 09:00 Uhr schrieb Tom Gray <tom@example.org>:",
    "Am Mo., 1. Jan. 2024 um 09:00 Uhr schrieb Tom Gray <\ntom@example.org>:",
    "Am 01.01.2024 um 09:00 schrieb tom@example.org:",
    "Le lun. 1 janv. 2024 à 09:00, Tom Gray <tom@example.org> a écrit :",
    "Le 01/01/2024 à 09:00, Tom Gray a écrit :",
    "Le lun. 1 janv. 2024 à 09:00, Tom Gray <tom@example.org> a\nécrit :",
    "El lun, 1 ene 2024 a las 9:00, Tom Gray (<tom@example.org>) escribió:",
    "El 01/01/2024 a las 09:00, Tom Gray escribió:",
    "Op ma 1 jan 2024 om 09:00 schreef Tom Gray <tom@example.org>:",
    "Op 01-01-2024 om 09:00 schreef Tom Gray:",
    "Il giorno lun 1 gen 2024 alle ore 09:00 Tom Gray <tom@example.org> ha\nscritto:",
    "Il 01/01/2024 09:00, Tom Gray ha scritto:",
    "Em seg., 1 de jan. de 2024 às 09:00, Tom Gray <tom@example.org>\nescreveu:",
    "Em 01/01/2024 09:00, Tom Gray escreveu:",
    "Tom Gray <tom@example.org> 于2024年1月1日周一 09:00写道：",
    "Tom Gray <tom@example.org> 于2024年1月1日周一\n09:00写道：",
    "在 2024/1/1 9:00, Tom Gray 写道:",
    "2024年1月1日(月) 9:00 Tom Gray <tom@example.org>:",
    "2024/01/01 9:00、Tom Gray <tom@example.org>のメール:",
    "Den mån 1 jan. 2024 kl 09:00 skrev Tom Gray <tom@example.org>:",
    "pon., 1 sty 2024 o 09:00 Tom Gray <tom@example.org> napisał(a):",
    "пн, 1 янв. 2024 г. в 09:00, Tom Gray <tom@example.org>:",
    "Zitat von Tom Gray <tom@example.org>:",
]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_a_reply_above_marked_lines(attribution: str) -> None:
    split = split_own_words(f"{HERS}\n\n{attribution}\n\n> {HIS}\n> Tom\n", is_mail=True)
    assert split.text == HERS
    assert split.answered == f"{HIS}\nTom"
    assert split.is_reply
    assert split.passed == (("quoted passages", 4),)
    # So is a text file that was a mail, and an answer below the quote.
    assert own(f"{attribution}\n> {HIS}\n\n{HERS}\n", is_mail=False) == HERS
    # Also where her last line stands right above.
    assert own(f"{HERS}\n{attribution}\n> {HIS}\n") == HERS


@pytest.mark.parametrize("attribution", [each for each in ATTRIBUTIONS if not each.startswith("Zitat")])
def test_a_reply_above_a_whole_message_without_marks(attribution: str) -> None:
    split = split_own_words(f"{HERS}\n\n{attribution}\n\n{HIS}\n\nMore of his words.\n", is_mail=True)
    assert split.text == HERS
    assert split.answered.startswith(HIS)
    assert split.answered.endswith("More of his words.")


@pytest.mark.parametrize(
    "separator",
    [
        "-----Original Message-----\nFrom: Tom Gray <tom@example.org>\nSent: Monday\nTo: Mira\nSubject: Forms",
        "-----Original Message-----",
        "-------- Original Message --------\nSubject: Forms\nDate: Mon, 1 Jan 2024 09:00:00\nFrom: Tom\nTo: Mira",
        "-----Ursprüngliche Nachricht-----\nVon: Tom Gray\nGesendet: Montag, 1. Januar 2024\nAn: Mira\nBetreff: x",
        "-------- Original-Nachricht --------\nBetreff: x\nDatum: Mo\nVon: Tom\nAn: Mira",
        "-----Message d'origine-----\nDe : Tom Gray\nEnvoyé : lundi 1 janvier 2024 09:00\nÀ : Mira\nObjet : x",
        "-----Mensaje original-----\nDe: Tom\nEnviado el: lunes\nPara: Mira\nAsunto: x",
        "-----Oorspronkelijk bericht-----\nVan: Tom\nVerzonden: maandag\nAan: Mira\nOnderwerp: x",
        "-----Messaggio originale-----\nDa: Tom\nInviato: lunedì\nA: Mira\nOggetto: x",
        "-----Mensagem original-----\nDe: Tom\nEnviada em: segunda\nPara: Mira\nAssunto: x",
        "------------------ 原始邮件 ------------------\n发件人: Tom\n发送时间: 2024年1月1日\n收件人: Mira\n主题: x",
        "________________________________\nFrom: Tom Gray <tom@example.org>\nSent: Monday, January 1, 2024 9:00 AM\n"
        "To: Mira <mira@example.org>\nSubject: Forms",
        "From: Tom Gray <tom@example.org>\nDate: Monday, 1 January 2024 at 09:00\nTo: Mira\nSubject: Forms",
        "From: Tom Gray\nSent: Monday, January 1, 2024 9:00 AM\nTo: Mira; Someone; Another; A Person of a Long Name;\n"
        "Yet Another\nSubject: Forms",
        "*From:* Tom Gray <tom@example.org>\n*Sent:* Monday\n*To:* Mira\n*Subject:* Forms",
        "Von: Tom Gray <tom@example.org>\nGesendet: Montag, 1. Januar 2024 09:00\nAn: Mira\nBetreff: x",
        "De : Tom Gray <tom@example.org>\nEnvoyé : lundi 1 janvier 2024\nÀ : Mira\nObjet : x",
        "差出人: Tom\n送信日時: 2024年1月1日\n宛先: Mira\n件名: x",
        "发件人：Tom\n发送时间：2024年1月1日\n收件人：Mira\n主题：x",
        "Από: Tom\n----- Αρχικό μήνυμα -----\nΑπό: Tom\nΠρος: Mira",
    ],
)
def test_outlook_s_way(separator: str) -> None:
    text = own(f"{HERS}\n\n{separator}\n\n{HIS}\n\nMore of his words.\n")
    assert text.removesuffix("\n\nΑπό: Tom") == HERS
    assert (
        "his words" in split_own_words(f"{HERS}\n\n{separator}\n\n{HIS}\n\nMore of his words.", is_mail=True).answered
    )


@pytest.mark.parametrize(
    "separator",
    [
        "---------- Forwarded message ---------\nFrom: Tom Gray <tom@example.org>\nDate: Mon\nSubject: x\nTo: Mira",
        "---------- Forwarded message ----------",
        "Begin forwarded message:\n\nFrom: Tom",
        "> Begin forwarded message:".removeprefix("> "),
        "---------- Weitergeleitete Nachricht ---------\nVon: Tom",
        "-------- Weitergeleitete Nachricht --------",
        "Anfang der weitergeleiteten Nachricht:",
        "---------- Message transféré ---------",
        "Début du message transféré :",
        "---------- Mensaje reenviado ---------",
        "Inicio del mensaje reenviado:",
        "---------- Messaggio inoltrato ----------",
        "---------- Doorgestuurd bericht ---------",
        "---------- Mensagem encaminhada ---------",
        "---------- 转发的邮件 ----------",
        "---------- 転送メッセージ ----------",
    ],
)
@pytest.mark.parametrize("mark", ["", "> "])
def test_what_follows_a_forward_is_not_hers(separator: str, mark: str) -> None:
    text = f"For your files.\n\n{separator}\n\n{mark}{HIS}\n{mark}\n\nMore of his words.\n"
    split = split_own_words(text, is_mail=True)
    assert split.text == "For your files."
    assert ("forwarded messages", 3) in split.passed
    assert not split.answered
    assert own(f"{separator}\n\n{HIS}\n") == ""


def test_her_words_between_quoted_lines_are_kept() -> None:
    text = """Hello Tom,

On Mon, Jan 1, 2024 at 9:00 AM Tom wrote:
> Where are the forms?

In the drawer, under the maps.

> And the fence? I walked past it yesterday evening
> and it leaned.
Mended, before lunch.
> Call me today.
No.

Mira
"""
    split = split_own_words(text, is_mail=True)
    assert split.text == "Hello Tom,\n\nIn the drawer, under the maps.\n\nMended, before lunch.\n\nNo.\n\nMira"
    assert "In the drawer" not in split.answered
    assert "Where are the forms?" in split.answered
    assert [reason for reason, _ in split.passed] == ["quoted passages"] * 3


@pytest.mark.parametrize(
    "quoted",
    [
        "> WHERE ARE THE FORMS?! I need them NOW!!! Do you even read my mail?! Never\nmind the fence!\n> Call me!!!",
        "> I have been looking for the forms since this morning, and nobody in the\noffice knows\n> where they are.",
        "> please send them to the address at the bottom of this mail, or bring them to my\ndesk.",
        "> 我从早上开始就一直在找那些表格，办公室里没有人知道它们到底放在什么地方了\n，请今天下午之前打电话\n> 给我",
        "> It is one long line of his without any marks after the first, as some programs\n"
        "send them: the second line is his, and so is the third, to the very end of the\nparagraph.\n",
    ],
)
def test_quoted_lines_that_a_program_broke_are_still_quoted(quoted: str) -> None:
    assert own(f"On Mon, Jan 1, 2024 at 9:00 AM Tom wrote:\n{quoted}\n\n{HERS}") == HERS


def test_quotes_in_quotes_are_nobody_s_prompt() -> None:
    quoted = f"> {HIS}\n> On Sun, Ann wrote:\n>> Ann's words.\n> > Hers too."
    text = f"{HERS}\n\nOn Mon, Jan 1, 2024 at 9:00 AM Tom wrote:\n{quoted}"
    split = split_own_words(text, is_mail=True)
    assert (split.text, split.answered) == (HERS, HIS)


@pytest.mark.parametrize(
    "signature",
    [
        "-- \nMira Kern\nCarpentry and gates\n+1 555 0100",
        "--\nMira Kern\nhttps://example.org",
        "Sent from my iPhone",
        "Sent from Mail for Windows",
        "Get Outlook for iOS<https://aka.ms/o0ukef>",
        "Sent from my iPhone\n\n-- \nMira",
        "Von meinem iPhone gesendet",
        "Gesendet von Outlook für Android",
        "Gesendet mit der GMX Mail App",
        "Diese Nachricht wurde von meinem Android-Gerät mit K-9 Mail gesendet.",
        "Envoyé de mon iPhone",
        "Envoyé depuis mon téléphone",
        "Enviado desde mi iPhone",
        "Enviado do meu iPhone",
        "Inviato da iPhone",
        "Verstuurd vanaf mijn iPhone",
        "Verzonden vanaf mijn iPhone",
        "发自我的iPhone",
        "iPhoneから送信",
        "Skickat från min iPhone",
        "Wysłano z iPhone'a",
    ],
)
def test_signatures_are_left_out_of_mails(signature: str) -> None:
    split = split_own_words(f"{HERS}\n\n{signature}\n", is_mail=True)
    assert split.text == HERS
    assert "signatures" in {reason for reason, _ in split.passed}
    assert own(f"{HERS}\n\n{signature}\n\nOn Mon, Jan 1, 2024 at 9:00 AM Tom wrote:\n> {HIS}\n") == HERS


@pytest.mark.parametrize(
    "notice",
    [
        "This e-mail and any attachments are confidential and intended solely for the addressee.",
        "CONFIDENTIALITY NOTICE: The contents of this email message are privileged.",
        "Please consider the environment before printing this e-mail.",
        "Diese E-Mail enthält vertrauliche Informationen. Wenn Sie nicht der richtige Adressat sind, löschen Sie sie.",
        "Ce message est confidentiel et destiné à son seul destinataire.",
        "Este correo electrónico es confidencial.",
        "Esta mensagem é confidencial.",
        "Questo messaggio contiene informazioni riservate.",
        "Deze e-mail is vertrouwelijk.",
        "本邮件及其附件含有保密信息。",
        "Disclaimer: whatever stands in this mail was written by a person of flesh and blood, and nobody at all has "
        "read, approved or paid for one single word of it.",
    ],
)
def test_disclaimers_are_left_out_of_mails(notice: str) -> None:
    split = split_own_words(f"{HERS}\n\n{notice}\n", is_mail=True)
    assert split.text == HERS
    assert split.passed == (("disclaimers", 4),)


@pytest.mark.parametrize(
    "text",
    [
        "Dear Tom,\n\nOn the whole I agree with what Ann wrote: the gate should open inwards.\n\nMira",
        "On Monday I mended the gate:\nit hung by one nail.",
        "I told him:\n\nFrom here on, we walk.",
        "To do:\n- buy nails\n- call Ann\n-- the small ones",
        "To: the sea\nSubject: nothing\nand then I slept, and wrote no more of it.",
        "Gesendet von Herzen war der Brief, und ich habe ihn lange aufgehoben.\n\nMira",
        "Thanks, I will be there.\n\nBest regards are for strangers, so: love, Mira.",
        "Best regards\nMira",
        "Liebe Grüße\nMira",
        "I use <b> and -> and a => b; 3 > 2.",
        ">:( I hated it",
        "An: yes\nA: no\nA: maybe, said the third of us.",
        "Warning: my mail will be slow next week.",
        "At 10:30 the train left.\nWe ran.",
        "---\n\nA section of mine\n\n---\n\nAnd another.",
    ],
)
@pytest.mark.parametrize("is_mail", [True, False])
def test_her_own_words_that_look_like_a_quote_are_kept(text: str, is_mail: bool) -> None:
    split = split_own_words(text, is_mail=is_mail)
    assert split.text == text
    assert not split.passed


def test_an_essay_has_its_own_rules() -> None:
    memo = "To: all\nFrom: Mira\nSubject: The gate\nDate: Monday\n\nIt holds."
    essay = f"{memo}\n\nOn 3 May 1850 he wrote:\n\nThe sea is flat."
    assert own(essay, is_mail=False) == essay
    quoting = "He said it best.\n\n> The sea is flat,\n> and so are we.\n\nI disagree.\n\n```\n> git push\n```"
    split = split_own_words(quoting, is_mail=False)
    assert split.text == "He said it best.\n\nI disagree.\n\n```\n> git push\n```"
    assert split.passed == (("quoted passages", 3),)
    assert not split.is_reply
    lazy = "> The sea is flat,\nand so are we.\n\nI disagree."
    assert split_own_words(lazy, is_mail=False, is_markdown=True).text == "I disagree."
    for block in (
        "<blockquote>\nThe sea\n\nis flat.\n</blockquote>",
        "[quote=Tom]The sea is flat.[/quote]",
        "[QUOTE]\nThe sea\n[/QUOTE]",
        "#+BEGIN_QUOTE\nThe sea\n#+END_QUOTE",
        "- > The sea",
        "1. > The sea",
        "      > The sea",
    ):
        assert own(f"He said it best.\n\n{block}\n\nI disagree.", is_mail=False) == "He said it best.\n\nI disagree."
    assert own(f"{HERS}\n\nOn Jan 1, 2024, Tom wrote:\n\n{HIS}", is_mail=False) == HERS
    # Only in mails and replies do two dashes begin a signature.
    assert own("A poem\n\n-- \nby me", is_mail=False) == "A poem\n\n--\nby me"


@pytest.mark.parametrize(
    "head",
    [
        "---- On Wed, 24 Feb 2021 14:02:50 +0530 tom@example.org wrote ----",
        "------On 12/29/1987 17:32 PM, Tom Gray wrote-----",
        "------- Original Message -------\nOn Monday, January 1st, 2024 at 9:00 AM, Tom <tom@example.org> wrote:",
        "--- Tom Gray <tom@example.org> wrote:",
        "-----Reply Message-----",
        "-------- Oprindelig besked --------\nFra: Tom\nDato: 04.07.2024\nTil: Mira\nEmne: x",
        "2014-10-17 11:28 GMT+03:00 Tom <\na.very.long.address.of.toms@mail.example.org>:",
        "Tom Gray <tom@example.org> schrieb am So., 23.\nJuni 2024, 21:08:",
        "W dniu 28 stycznia 2015 01:53 użytkownik Tom <tom@example.org>\nnapisał:",
        "Op 17-feb.-2015, om 13:18 heeft Tom <tom@example.org> het volgende geschreven:",
        "På 14 september 2015 på 02:23:18, Tom (tom@example.org) skrev:",
        "pe 20. lokakuuta 2017 klo 17.50 Tom\n<tom@example.org> kirjoitti:",
        "2026. 01. 05. 14:32 keltezéssel, Tom a következőt írta:",
        "Date: Wed, 16 May 2012 00:15:02 -0600\nTo: mira@example.org",
        "From: Human Resources\n<a.long.name.of.a.department@example.org>\nSent: Monday 4:37 PM\nTo: Mira\nSubject: x",
        'From: "Tom" <tom@example.org>\n\nDate: Sat, 22 Mar 2008 12:16:06\nTo:<mira@example.org>\n\nSubject: x',
        "Sujet :     Re: x\nDate :  Wed, 11 Nov 2015 12:31:25 +0100\nDe :    Tom <tom@example.org>\nPour :  Mira",
    ],
)
def test_heads_of_other_programs(head: str) -> None:
    assert own(f"{HERS}\n\n{head}\n\n{HIS}\nMore of his words.") == HERS
    assert own(f"{HERS}\n\n{head}\n\n> {HIS}\n> More of his words.\n\nMira") == f"{HERS}\n\nMira"


@pytest.mark.parametrize(
    "quoted",
    [
        "2011/4/7 Tom <tom@example.org>\n\n> his",
        "_____________\nFrom: tom@example.org\n\n> his",
        "On 1 Jan 2024, at 09:00, Tom wrote:\n\n\ufeff> his\n\u00a0> and his",
        "> his\n>\n (https://example.org/c/YzOTYzMmE) >\n> his",
        "> See his (https://example.org/action\n_nonce=3dd518)\n>",
        "TG> his\nTG> and his",
        "＞ 他的话\n＞ 他的话",
    ],
)
def test_marks_of_other_programs(quoted: str) -> None:
    assert own(f"{HERS}\n\n{quoted}") == HERS


def test_a_link_that_a_program_broke_begins_no_quote() -> None:
    text = "See <https://example.org/a\n> for more."
    assert own(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "On " * 20_000,
        "> " * 50_000 + "x",
        "From: a\n" * 5_000,
        "On Mon 9:00\n" * 5_000,
        "-" * 100_000,
        ("word " * 15 + "\n") * 5_000,
        "On Mon, Jan 1, 2024 at 9:00 AM Tom\n<tom@example.org>\n" * 1_500,
        "sent from " + "my " * 30_000,
        "this message " * 10_000,
        "<blockquote\n" * 2_000,
    ],
)
def test_time_grows_with_length_alone(text: str) -> None:
    began = time.process_time()
    own(text)
    assert time.process_time() - began < 8


@pytest.mark.parametrize(
    "head",
    ["On 3 Mar 2024, at 18:12, Tom <tom@example.net> wrote:", "Am 11.03.2024 um 09:12 schrieb Tom <tom@example.net>:"],
)
def test_a_quoted_attribution_hides_nothing_of_what_is_answered(head: str) -> None:
    own = split_own_words(f"Saturday is fine.\n\n> {head}\n> \n> Will you come?\n> It is early.\n", is_mail=True)
    assert (own.text, own.answered) == ("Saturday is fine.", "Will you come?\nIt is early.")
