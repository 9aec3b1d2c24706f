"""What mail programs write around quotes, forwards and signatures, in the languages they are made for.

``mail-parser-reply`` has attributions ("On … wrote:"), mobile signatures and disclaimers for eleven languages. What it
lacks (Portuguese, forwards, fields of other languages) or has no working rule for (Spanish, Chinese) is here.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module

__all__ = [
    "ADDRESS",
    "ANY_FIELD",
    "BEGIN_FORWARD",
    "DASHED",
    "DATE",
    "DISCLAIMER",
    "ENDS_IN_ADDRESS",
    "FIELD",
    "FOOTER_SAYS",
    "FORWARDED",
    "MESSAGE",
    "ORIGINAL",
    "STARTER",
    "TIME",
    "begins_notice",
    "is_sent_from",
    "says_wrote",
]

_VERBS = (
    r"wrote|writes|schrieb|schrieben|schreibt|a écrit|écrit|escribió|escribio|escribe|escreveu|escreve"
    r"|ha scritto|scrive|schreef|schrijft|geschreven|skrev|skriver|napsala?|napisała?|napisał\(a\)|napsal\(a\)|pisze"
    r"|написала?|написал\(а\)|пишет|kirjoitti|írta|yazdı|έγραψε|a scris|đã viết|menulis"
)
_VERB = re.compile(
    rf"(?<!\w)(?:{_VERBS})(?!\w)|写道|寫道|の?メール|書きました|書いています|님이 작성|작성했?하?였?습니다",
    re.IGNORECASE,
)
STARTER = re.compile(
    r"\W{0,3}(?:(?:On|Am|Le|El|Il|Op|Em|No dia|Den|På|Dne|Dnia|W dniu|Pe|Pada|Vào|Zitat von|Quoting|Citando"
    r"|In article|At)\b"
    r"|[在於于]|\d{1,4}[-./年 ]|\w{2,4}\.?,? \d|\w{3,}, )"
)
"""How an attribution begins, as "On", a day of the week or a date."""
TIME = re.compile(r"\d{1,2} ?[:.h時时点] ?\d{2}|\d{1,2} ?Uhr")
DATE = re.compile(r"\d{4}[-./年]|\d{1,2}[./-]\d{1,2}[./-]\d{2}|\b\d{1,2}\b.*\b\d{4}\b|\b\d{4}\b.*\b\d{1,2}\b")
ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")
ENDS_IN_ADDRESS = re.compile(r"<\s?[^\s<>@]+@[^\s<>@]+>\s*[:：]$")

DASHED = re.compile(r"\s*[-_=*─—–]{2,}\s*([^\s\-_=*][^_=*]{1,60}?)\s*[-_=*─—–]{2,}\s*[:：]?\s*$")
"""A phrase between dashes; group 1 is the phrase."""
FORWARDED = re.compile(
    r"forward|fwd|weitergeleitet|transféré|réexpédié|reenviad|inoltrat|doorgestuurd|encaminhad|转发|轉寄|轉發"
    r"|転送|vidarebefordra|videresend|przekazan|přeposlan|пересла|пересыла|전달",
    re.IGNORECASE,
)
ORIGINAL = re.compile(
    r"original|ursprünglich|ursprunglig|d'origine|d’origine|oorspronkelijk|oprindelig|opprinnelig|oryginaln|původní"
    r"|исходн|原始|原邮件|元の|元メール|원본|alkuperäinen|eredeti|reply|antwort|réponse|respuesta|risposta|resposta",
    re.IGNORECASE,
)
MESSAGE = re.compile(
    r"messag|mail|nachricht|mensaje|messaggio|bericht|mensagem|邮件|郵件|メッセージ|メール|meddeland|meddelels|melding"
    r"|wiadomo|zpráv|сообщени|письм|메시지|메일|appointment|termin|besked|viesti|üzenet",
    re.IGNORECASE,
)
BEGIN_FORWARD = re.compile(
    r"\W*(?:(?:(?:Begin|Start) (?:of )?(?:the )?)?forwarded message"
    r"|(?:Anfang|Beginn) der weitergeleiteten (?:E-?Mail|Nachricht)"
    r"|Début du (?:message|courriel|mail) (?:transféré|réexpédié)|Inicio del mensaje reenviado"
    r"|Inizio (?:del )?messaggio inoltrato|Begin doorgestuurd bericht"
    r"|Início da mensagem (?:encaminhada|reencaminhada)|开始转发(?:的)?邮件|以下是转发的邮件|開始轉寄郵件"
    r"|転送されたメッセージ|Vidarebefordrat brev|Start på videresendt besked)\s*[:：]?\W*$",
    re.IGNORECASE,
)
_NAMES = {
    "from": "From|Von|De|Da|Van|Od|Från|Fra|Lähettäjä|От|Expéditeur|Mittente|Remitente|Remetente|Absender"
    "|发件人|寄件者|寄件人|差出人|送信者|보낸 ?사람",
    "date": "Sent|Date|Gesendet|Datum|Envoyé|Envoyé le|Enviado|Enviado el|Enviado em|Enviada|Enviada em|Fecha|Data"
    "|Inviato|Verzonden|Skickat|Sendt|Wysłano|Odesláno|Отправлено|Дата|发送时间|发送日期|日期|時間|寄件日期|日付|日時"
    "|送信日時|보낸 ?날짜|날짜",
    "to": "To|Pour|An|À|A|Para|Aan|Till|Til|Do|Komu|Кому|收件人|收件者|宛先|받는 ?사람|Reply-To",
    "subject": "Subject|Betreff|Betr\\.|Objet|Sujet|Asunto|Oggetto|Onderwerp|Assunto|Ämne|Emne|Temat|Předmět|Тема|主题"
    "|主旨|主題|件名|제목",
    "cc": "Cc|CC|Kopie|Kopia|抄送|副本|참조",
}
FIELD = re.compile(
    r"[\s*_|]*(?:" + "|".join(f"(?P<{kind}>{names})" for kind, names in _NAMES.items()) + r")\s?[*_]*\s*[:：]"
)
"""A field over a quoted mail; the name of the group that matched is its kind: from, date, to, subject or cc."""
ANY_FIELD = re.compile(r"[\s*_|]*\w[\w ’'-]{0,20}[*_]*\s*[:：]\s*\S")

FOOTER_SAYS = re.compile(r"mailing list|unsubscribe|https?://|abmelden|désabonn", re.IGNORECASE)
_SENT_FROM = (
    r"sent (?:from|via|with|using) .{2,}|get outlook for .+|von meinem .{2,40} gesendet"
    r"|gesendet (?:mit|von|über|aus) .+|outlook für .{2,20} (?:beziehen|herunterladen)"
    r"|(?:diese nachricht|diese e-?mail) wurde (?:von|mit) .{2,60} gesendet.*"
    r"|envoyé (?:de|depuis|à partir|avec) .+|télécharger outlook .+|obtenez outlook .+|obtener outlook .+"
    r"|enviado (?:desde|do|pelo|a partir|con|via) .+|inviato (?:da|dal|con) .+|scarica outlook .+"
    r"|(?:verstuurd|verzonden) (?:vanaf|met|via) .+|outlook voor .{2,20} downloaden|obter (?:o )?outlook .+"
    r"|发自.{2,30}|從我的.{2,20}傳送|從 ?.{2,20}傳送|获取 ?outlook.*|.{2,30}から送信|.{2,20}에서 보냄"
    r"|skickat från .+|sendt fra .+|wysłan[eo] z .+|odesláno z .+|отправлено (?:с|из) .+|lähetetty .+"
)
_LONGEST_SENT_FROM = 100
DISCLAIMER = re.compile(
    r"(?:this|the) (?:e-?mail|message|communication|transmission)\b.{0,200}"
    r"(?:confidential|intended (?:only|solely)|privileged)"
    r"|confidentiality (?:notice|note)|the information (?:contained )?in this (?:e-?mail|message)"
    r"|if you (?:are not the intended recipient|(?:have )?received? this (?:e-?mail|message) in error)"
    r"|please consider the environment|this e-?mail (?:originated|was sent) from (?:outside|an external)"
    r"|diese (?:e-?mail|nachricht)\b.{0,160}(?:vertraulich|bestimmt|adressat)"
    r"|bitte (?:denken sie an|prüfen sie der) .{0,10}umwelt"
    r"|ce (?:message|courriel|mail)\b.{0,160}(?:confidentiel|destin[ée])"
    r"|est[ea] (?:correo|mensaje|e-?mail)\b.{0,160}confidencial"
    r"|questa e-?mail.{0,160}(?:riservat|confidenzial)|questo messaggio.{0,160}(?:riservat|confidenzial)"
    r"|(?:deze e-?mail|dit bericht)\b.{0,160}vertrouwelijk|esta mensagem.{0,160}confidencia"
    r"|(?:本|此)(?:电子)?邮件.{0,80}(?:保密|机密)|(?:本|この)(?:電子)?メール.{0,80}(?:機密|秘密|宛先)",
    re.IGNORECASE | re.DOTALL,
)
"""What a notice of confidentiality says; searched in a paragraph."""
_NOTICE_WORDS = 20


@cache
def _library() -> tuple[tuple[re.Pattern[str], ...], re.Pattern[str], re.Pattern[str]]:
    """Attributions, mobile signatures and beginnings of notices of mail-parser-reply's languages."""
    languages = import_module("mailparser_reply.constants").MAIL_LANGUAGES.values()
    attributions = tuple(
        re.compile(each["wrote_header"], re.IGNORECASE) for each in languages if each.get("wrote_header")
    )
    sent = "|".join([*(each["sent_from"] + ".*" for each in languages if each.get("sent_from")), _SENT_FROM])
    notices = "|".join(phrase for each in languages for phrase in each.get("disclaimers", ()) if phrase)
    return (
        attributions,
        re.compile(rf"\W*(?:{sent})\W*$", re.IGNORECASE),
        re.compile(rf"\s*(?:{notices})", re.IGNORECASE),
    )


def says_wrote(line: str) -> bool:
    """Whether a line says that somebody wrote something, in any language known.

    Args:
        line: one line, at most some hundred characters.
    """
    return bool(_VERB.search(line)) or any(pattern.match(line) for pattern in _library()[0])


def is_sent_from(line: str) -> bool:
    """Whether a line is one that phones and mail programs add, such as "Sent from my iPhone"."""
    return bool(line.strip()) and len(line) <= _LONGEST_SENT_FROM and bool(_library()[1].match(line))


def begins_notice(paragraph: str) -> bool:
    """Whether a paragraph begins as a notice about a mail, such as "Disclaimer: This mail …"."""
    is_long = len(paragraph.split()) >= _NOTICE_WORDS and "mail" in paragraph.lower()
    return is_long and bool(_library()[2].match(paragraph))
