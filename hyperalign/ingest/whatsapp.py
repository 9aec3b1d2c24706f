"""WhatsApp's exported chats (``_chat.txt``), of Android and iPhones, in whatever language and order of dates.

Each message begins with its date, in brackets on iPhones and before a dash on Android; lines without one go on with the
message before. What the app itself says is told by the mark of direction that iPhones put before it, and by its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from .interface import Author, Columns, Entry, Format, PassedOver
from .source import Source
from .turns import LINKS, Message, date_order, gather, is_link, label, make_time, own_words, without_marks

__all__ = ["FORMATS", "WhatsApp"]

_MARK = "\u200e"
# Arabic and Hebrew exports have marks of direction between the numbers.
_SIGN = r"[\u200e\u200f]*[./\-{}][\u200e\u200f]* ?"
_DATE = rf"(?P<a>\d{{1,4}}){_SIGN.format('年년')}(?P<b>\d{{1,2}}){_SIGN.format('月월')}(?P<c>\d{{1,4}})[.日일]?"
_TIME = r"(?P<hour>\d{1,2})(?:[:.]|\s?h\s?)(?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?"
_WHEN = rf"{_DATE}(?P<before>[^\d\[\]]{{1,14}}?){_TIME}(?P<after>[^\d\[\]:–-]{{0,8}}?)"
_HEADERS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\[{_WHEN}\] ?(?P<rest>.*)",
        rf"{_WHEN}\s[-–]\s(?P<rest>.*)",
        # Exports of 2014 and before, and what is copied out of WhatsApp Web.
        rf"{_WHEN}: (?P<rest>.*)",
        rf"\[{_TIME}(?P<after>[^\d\[\]]{{0,8}}?),\s(?P<before>){_DATE}\] (?P<rest>.*)",
    )
)
_AFTERNOON = frozenset(("pm", "p", "م", "下午", "午後", "오후", "晚上", "μμ", "em", "du", "ös"))
_MORNING = frozenset(("am", "a", "ص", "上午", "午前", "오전", "凌晨", "πμ", "fm", "de", "öö"))
# Levels of log files, which have the form of names.
_LEVELS = frozenset(("trace", "debug", "info", "notice", "warn", "warning", "error", "critical", "fatal"))

_DELETED = re.compile(
    r"(?:this message was deleted|you deleted this message|diese nachricht wurde gelöscht|"
    r"du hast diese nachricht gelöscht|se eliminó este mensaje|eliminaste este mensaje|"
    r"este mensaje (?:fue|ha sido) eliminado|(?:mensagem|ess?ta mensagem foi|essa mensagem foi) apagada|"
    r"(?:você apagou|apagou|eliminou) esta mensagem|ce message a été supprimé|vous avez supprimé ce message|"
    r"questo messaggio è stato eliminato|hai eliminato questo messaggio|dit bericht (?:is|werd) verwijderd|"
    r"(?:je hebt|u hebt) dit bericht verwijderd|(?:данное |это )?сообщение удалено|вы удалили (?:данное|это) сообщение|"
    r"bu mesaj silindi|bu mesajı sildiniz|ta wiadomość została (?:usunięta|skasowana)|"
    r"यह (?:मैसेज|संदेश) (?:मिटाया गया|हटा दिया गया)(?: है)?|आपने यह (?:मैसेज|संदेश) (?:मिटाया|हटाया)(?: है)?|"
    r"pesan ini (?:telah )?dihapus|anda menghapus pesan ini|detta meddelande (?:togs bort|raderades)|"
    r"du raderade detta meddelande|此消息已删除|你删除了(?:这|此)条消息|(?:這|此)(?:則)?訊息已刪除|"
    r"您已刪除(?:這則|此)訊息|"
    r"このメッセージは削除されました|(?:あなたは)?このメッセージを削除しました|이 메시지는 삭제되었습니다|"
    r"הודעה זו נמחקה|(?:את[הם]? )?מחקת הודעה זו|تم حذف هذه الرسالة|(?:لقد )?حذفت هذه الرسالة|"
    r"waiting for this message\b.*|auf diese nachricht warten\b.*)"
    r"(?: by admin .*| (?:vom|von) admin .*)?[.。]?",
    re.IGNORECASE,
)
_OMITTED = re.compile(
    r"(?:(?:image|photo|video(?: note)?|audio|voice message|sticker|gif|document|contact card|media) omitted|"
    r"(?:bild|foto|video(?:nachricht)?|audio|sprachnachricht|sticker|gif|dokument|kontaktkarte) "
    r"(?:weggelassen|ausgelassen|ausgeschlossen|nicht enthalten)|"
    r"(?:imagen|video|audio|sticker|gif|documento|tarjeta de contacto|multimedia) omitid[oa]|"
    r"(?:imagem|foto|vídeo|áudio|figurinha|gif|documento|cartão d[eo] contato|mídia) "
    r"(?:ocult[oa]|ocultad[oa]|omitid[oa])|"
    r"(?:image|photo|vidéo|audio|sticker|gif|document|fiche (?:de )?contact) (?:absente?|omise?|non incluse?)|"
    r"(?:immagine|foto|video|audio|sticker|gif|documento|scheda contatto) (?:omess[oa]|non inclus[oa])|"
    r"(?:afbeelding|foto|video|audio|sticker|gif|document|contactkaart) weggelaten|"
    r"(?:изображение|фото|видео|аудио|аудиофайл|стикер|gif|документ|карточка контакта) "
    r"(?:отсутствует|опущен[оа]?|пропущен[оа]?|не добавлен[оа]?)|"
    r"(?:görüntü|resim|fotoğraf|video|ses|çıkartma|gif|belge) (?:dahil edilmedi|atlandı)|"
    r"(?:obraz|zdjęcie|film|wideo|audio|dźwięk|naklejka|gif|dokument) (?:pominięt[aeoy]|pominięto)|"
    r"(?:bild|video|ljud|klistermärke|gif|dokument) (?:utelämnad|utelämnat|utelämnades)|"
    r"(?:gambar|foto|video|audio|stiker|gif|dokumen) (?:tidak disertakan|dihilangkan)|"
    r"(?:图片|圖片|影像|视频|影片|音频|音訊|语音|贴纸|貼圖|gif|文档|文件)(?:已)?(?:省略|忽略)|(?:已)(?:忽略|省略)(?:图片|圖片|视频|影片|音频|音訊|贴纸|貼圖|文档|文件)|"
    r"(?:画像|動画|ビデオ|音声|スタンプ|文書|ドキュメント)(?:は含まれていません|は省略されました|除外)|"
    r"(?:사진|이미지|동영상|오디오|음성|스티커|문서) (?:생략됨|제외됨))[.。]?$",
    re.IGNORECASE,
)
_ATTACHED = re.compile(rf"{_MARK}?<[^<>:\n]{{2,25}}: [^<>\n]*\.\w{{2,5}}>")
_FILE = re.compile(r".*\.\w{2,5}(?: \([^()\n]+\)| <[^<>\n]+>)")
_FILE_NAME = re.compile(r".*\.\w{2,5}(?: •.*)?")
_BRACKETED = re.compile(r"<[^<>\n]{3,60}>")
_EDITED = re.compile(
    rf"\s*{_MARK}?<[^<>\n]*(?:edited|bearbeitet|edit[óo]|editad[oa]|modifi|modificat|bewerkt|изменен|отредактирован|"
    r"edytowan|düzenlen|redigera|diedit|संपादित|एडिट|编辑|編輯|編集|수정|تعديل)[^<>\n]*>\s*$",
    re.IGNORECASE,
)
_NOTICE = re.compile(
    r"(?:messages (?:and calls|you send|to this)\b.*(?:encrypted|secured)|"
    r"nachrichten (?:und anrufe|in diesem)\b.*verschlüsselt|los mensajes\b.*extremo a extremo|"
    r"as mensagens\b.*ponta a ponta|les messages\b.*bout en bout|i messaggi\b.*(?:end-to-end|crittograf)|"
    r"berichten en\b.*end-to-end|сообщения и звонки\b.*шифрован|mesajlar ve aramalar\b.*şifre|"
    r"(?:your|ihre?|deine?) (?:security code|sicherheitsnummer)\b.* (?:changed|geändert)|"
    r"(?:missed (?:group )?(?:voice|video) call|verpasster (?:sprach|video)anruf|gemiste (?:spraak|video-?)oproep|"
    r"(?:video)?llamada (?:de voz |de video )?perdida|appel (?:vocal|vidéo) manqué|"
    r"chamada de (?:voz|vídeo) perdida|(?:video)?chiamata (?:vocale )?persa)\b.{0,40}$|"
    r"(?:(?:voice|video) call|sprachanruf|videoanruf)(?:[,.] ?.{0,30})?$|"
    r"(?:live location shared|live-standort wurde geteilt)\.?$)",
    re.IGNORECASE,
)
# Said of somebody: in a line without an author, and on iPhones as if that person had said it.
_DEED = re.compile(
    r"(?:\b(?:created|changed|deleted|updated|turned on|turned off|pinned) (?:this|the|a|your|their|disappearing)\b|"
    r"\b(?:added|removed|invited) |\b(?:left|joined)\b(?: using| from| the (?:group|community))?|created group|"
    r"security code|is a contact|now an admin|"
    r"has?t .*\b(?:erstellt|geändert|hinzugefügt|entfernt|verlassen|gelöscht|angepinnt)\b|"
    r"\b(?:creó|añadió|cambió|eliminó|criou|adicionou|mudou|removeu|a créé|a ajouté|a modifié|a changé|ha creato|"
    r"ha aggiunto|ha modificato|ha cambiato)\b)",
    re.IGNORECASE,
)
_POLL = re.compile(
    rf"{_MARK}?[^\W\d_]{{3,12}}:\n(?s:.)*?^{_MARK}?[^\W\d_]{{3,12}}: .*\({_MARK}?\d+ [^()]*\)\s*$", re.MULTILINE
)
_PLACE = re.compile(r"[^\s:]{4,16}: https?://\S*(?:maps|foursquare)\S*")
_SPEAKER = re.compile(rf"(?P<name>[^\n]+?):(?:[ \u00a0\u202f](?P<body>.*)|(?P<mark>{_MARK}.*)|$)")
_LONGEST_NAME = 70


@dataclass(slots=True)
class _Line:
    """A message as the file has it: when, the line it begins on, and all that follows its date."""

    found: re.Match[str]
    number: int
    rest: str


class WhatsApp:
    """WhatsApp's exported chat."""

    name = "whatsapp"
    title = "WhatsApp export"

    def match(self, source: Source) -> int:
        """By lines that begin with a date and a name, from the first line on."""
        lines = [line for line in source.head.split("\n") if line.strip()][:300]
        headers = [found for found in map(_find_header, lines) if found]
        if not headers or any(line.startswith(("Guild: ", "Channel: ")) for line in lines[:4]):
            return 0
        speakers = [speaker for found in headers if (speaker := _split_speaker(found["rest"]))]
        names = {label(name).casefold() for name, _ in speakers}
        if not names or names <= _LEVELS:
            return 0
        if _find_header(lines[0]) and len(headers) * 5 >= len(lines):
            return 3 if len(headers) > 1 else 2
        return 2 if len(speakers) > 2 and len(headers) * 5 >= len(lines) else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """What each person wrote at a stretch, with what somebody else wrote before it."""
        lines, early = _split_messages(source.text)
        if early:
            yield PassedOver("lines before the first message", early)
        yield from gather(_read_messages(lines))


def _find_header(line: str) -> re.Match[str] | None:
    start = line.lstrip("\u200e\u200f\u202a\u202b\u202c\ufeff \t")
    if not (start[:1] == "[" or start[:1].isdigit()):
        return None
    return next((found for pattern in _HEADERS if (found := pattern.match(start))), None)


def _split_messages(text: str) -> tuple[list[_Line], int | None]:
    """The messages with the lines that go on with them, and the first line that belongs to none."""
    messages: list[_Line] = []
    going_on: list[list[str]] = []
    early = None
    for number, line in enumerate(text.split("\n"), start=1):
        if found := _find_header(line):
            messages.append(_Line(found, number, found["rest"]))
            going_on.append([found["rest"]])
        elif messages:
            going_on[-1].append(line)
        elif line.strip():
            early = early or number
    for message, parts in zip(messages, going_on, strict=True):
        message.rest = "\n".join(parts)
    return messages, early


def _split_speaker(rest: str) -> tuple[str, str] | None:
    """The name and what was written; None for what the app says."""
    found = _SPEAKER.match(rest)
    if not found or _NOTICE.match(without_marks(rest)):
        return None
    name, body = found["name"], found["body"] or found["mark"] or ""
    shown = without_marks(name)
    if len(shown) > _LONGEST_NAME or (re.search('["“„«「]', shown) and _DEED.search(shown)) or not label(shown):
        return None
    return name, body


def _read_messages(lines: list[_Line]) -> Iterator[Message]:
    parts = [_split_speaker(line.rest.split("\n", 1)[0]) for line in lines]
    authors = _find_authors(part[0] for part in parts if part)
    order = date_order([(int(line.found["a"]), int(line.found["b"]), int(line.found["c"])) for line in lines])
    group = _find_group(parts)
    for line, part in zip(lines, parts, strict=True):
        if part is None or part[0] == group:
            yield Message(None, "", "system messages", line=line.number)
            continue
        name, first = part
        _, separator, more = line.rest.partition("\n")
        text, passed_over = _read_body(first + separator + more, label(name))
        yield Message(authors[name], text, passed_over, _read_when(line.found, order), line=line.number)


def _find_group(parts: Sequence[tuple[str, str] | None]) -> str | None:
    """The name of the group on iPhones, under which the app says what happens in it; None if there is none."""
    first = next((part for part in parts if part), None)
    if first is None or not _NOTICE.match(without_marks(first[1])):
        return None
    # In a chat of two the notice stands under the name of the other, who says more.
    said = [without_marks(part[1]) for part in parts if part and part[0] == first[0]]
    return first[0] if all(_NOTICE.match(body) or _DEED.search(body) for body in said) else None


def _find_authors(names: Iterable[str]) -> dict[str, Author]:
    """People by name as it stands. Those in no address book have a tilde, and may have the name of one who is."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(name, label(name).lstrip("~").strip() or label(name))
    known = {shown.casefold() for name, shown in plain.items() if not label(name).startswith("~")}
    made: dict[str, Author] = {}
    by_name: dict[str, Author] = {}
    for name, shown in plain.items():
        is_stranger = label(name).startswith("~") and shown.casefold() in known
        full = f"~ {shown}" if is_stranger else shown
        digits = re.sub(r"\D", "", shown)
        is_number = bool(re.fullmatch(r"\+?[\d\s().\u2010-\u2015-]{6,}", shown))
        also = frozenset({digits, f"+{digits}"} if is_number else ())
        made[name] = by_name.setdefault(full, Author(full, also - {full}))
    return made


def _read_when(found: re.Match[str], order: str) -> datetime | None:
    date = (int(found["a"]), int(found["b"]), int(found["c"]))
    half = {re.sub(r"[\W_]", "", found[part]).casefold() for part in ("before", "after")}
    hour = int(found["hour"])
    if half & _AFTERNOON and hour < 12:
        hour += 12
    elif half & _MORNING and hour == 12:
        hour = 0
    return make_time(date, order, (hour, int(found["minute"]), int(found["second"] or 0)))


def _read_body(body: str, name: str) -> tuple[str, str]:
    """The own words of a message, or why there are none."""
    body = body.strip(" \n\t\u00a0")
    plain = without_marks(body).strip()
    if reason := _find_notice(body, plain, name):
        return "", reason
    attached = 0
    if "<" in body:
        body, attached = _ATTACHED.subn("", _EDITED.sub("", body))
    body, is_media = _drop_media(body.strip())
    plain = without_marks(body).strip()
    if not plain or plain == "null":
        return "", "media"
    if body.startswith(_MARK):
        return "", "media" if attached or is_media else "system messages"
    if is_link(plain) or _PLACE.fullmatch(plain):
        return "", LINKS
    if found := _find_header(plain):
        return "", "pasted messages" if _split_speaker(found["rest"]) else "system messages"
    text = own_words(plain)
    return text, "" if text else "quoted texts"


def _find_notice(body: str, plain: str, name: str) -> str:
    """Why a message is the app's own text; empty if it is not."""
    if _DELETED.fullmatch(plain):
        return "deleted messages"
    if _POLL.match(body):
        return "polls"
    first = label(plain.split("\n", 1)[0])
    is_deed = first.startswith((f"{name} ", "You ", "Du ")) and body.startswith(_MARK)
    tells_of_name = name and first.startswith(f"{name} ") and _DEED.search(first[len(name) :])
    if is_deed or tells_of_name or _NOTICE.match(first):
        return "system messages"
    return ""


def _drop_media(body: str) -> tuple[str, bool]:
    """A message without the line that stands for a picture or file; what is left is the text under it."""
    first, _, more = body.partition("\n")
    plain = without_marks(first).strip()
    if _FILE.fullmatch(plain):
        return more.strip(), True
    if _BRACKETED.fullmatch(plain):
        name_follows = "\n" not in more and _FILE_NAME.fullmatch(without_marks(more).strip())
        return "" if name_follows else more.strip(), True
    # The app's words begin a line, or stand behind its mark and the name of a file.
    found = _OMITTED.search(plain) if _MARK in first else _OMITTED.match(plain)
    if not found:
        return body, False
    before = plain[: found.start()].strip()
    caption = "" if _FILE_NAME.fullmatch(before) else before
    return "\n".join(part for part in (caption, more.strip()) if part), True


FORMATS: list[Format] = [WhatsApp()]
