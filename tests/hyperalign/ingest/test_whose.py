"""Whose words are read: names, addresses and ids choose, nobody is taken for somebody else, and everybody is told."""

from __future__ import annotations

import gzip
import json
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import InputError, RecordError
from hyperalign.ingest import check_files, read_everyone, read_records
from hyperalign.ingest.interface import Author
from hyperalign.ingest.whose import Present, choose, group_people
from hyperalign.records import Sample

CHAT = """[01/05/2024, 10:00:00] Mira K.: The fence is mended at last, come and see it.
[01/05/2024, 10:30:00] Tom: Buy a new one today please, it is cheaper.
[01/05/2024, 11:30:00] Mira K.: I would rather keep the old one, it knows the sheep.
"""
LETTER = "I took the early ferry and watched the gulls fight over a crust."


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rows(*authors: str, **more: Any) -> str:
    return "\n".join(
        json.dumps({"user": who, "text": f"Words of {who}, number {at}.", **more}) for at, who in enumerate(authors)
    )


def words(found: Any) -> list[str]:
    return [record.text for record in found.records if isinstance(record, Sample)]


def present(*authors: Author) -> dict[str, Present]:
    group = Present("chat", files=["chat.txt"])
    for author in authors:
        group.authors[author] = Counter(texts=1)
    return {"chat": group}


@pytest.mark.parametrize("name", ["Mira K.", "mira k.", "@Mira K.", " Mira  K. "])
def test_a_name_chooses_in_whatever_case(tmp_path: Path, name: str) -> None:
    reading = read_records([write(tmp_path, "chat.txt", CHAT)], me=name, user="mira")
    assert len(words(reading)) == 2
    assert not any("Buy" in text for text in words(reading))
    assert reading.files[0].chosen == ("Mira K.",)
    assert reading.files[0].authors == {"Mira K.": {"texts": 2}, "Tom": {"texts": 1}}


def test_a_chat_without_a_choice_says_who_is_in_it(tmp_path: Path) -> None:
    path = write(tmp_path, "chat.txt", CHAT)
    for options in ({}, {"user": "mira"}, {"me": "Myra"}):
        with pytest.raises(RecordError, match=r"2 people are in it: Mira K. \(2 texts\), Tom \(1 text\)") as refused:
            read_records([path], **options)  # type: ignore[arg-type]
        assert '--me "Mira K."' in refused.value.remedy
    with pytest.raises(RecordError) as refused:
        read_records([path], me="Mira K", user="mira")
    assert "Did you mean 'Mira K.'?" in refused.value.remedy


def test_names_that_are_ids_already_choose_rows_exactly() -> None:
    given = [json.loads(line) for line in rows("Ada", "ada", "ada").splitlines()]
    assert len(words(read_records(given, user="ada"))) == 2
    assert len(words(read_records(given, user="Ada"))) == 1
    with pytest.raises(RecordError, match="'ADA' fits several: ada"):
        read_records(given, user="ADA")


def test_a_row_that_does_not_say_whose_it_is_is_nobodys_beside_those_of_others() -> None:
    given: list[dict[str, Any]] = [{"user": "tom", "text": "Words of Tom."}, {"text": "Words of nobody known."}]
    with pytest.raises(RecordError, match="nobody there is 'ada'; one person is in it: tom"):
        read_records(given, user="ada")
    reading = read_records([*given, {"user": "ada", "text": "Words of Ada."}], user="ada")
    assert words(reading) == ["Words of Ada."]
    assert len(words(read_records([{"user": "ada", "text": "Words of Ada."}, given[1]], user="ada"))) == 2
    with pytest.raises(RecordError, match="row 2: user: nothing says whose"):
        read_records([{"user": "ada", "text": "Words of Ada."}, given[1]])


def test_two_people_of_one_name_are_told_apart_by_what_only_one_has() -> None:
    toms = Author("Tom", frozenset({"tom@a.org"})), Author("Tom", frozenset({"tom@b.org"}))
    with pytest.raises(RecordError, match=r"'Tom' fits several: Tom <tom@a.org>") as refused:
        choose(present(*toms), None, ["Tom"], "chat.txt")
    assert '--me "tom@a.org"' in refused.value.remedy
    assert choose(present(*toms), "tom", ["tom@b.org"], "").authors == {"chat": {toms[1]}}
    assert choose(present(*toms), "tom", ["tom@a.org", "tom@b.org"], "").authors == {"chat": set(toms)}


def test_one_address_under_two_names_is_one_person() -> None:
    both = Author("Mira", frozenset({"mira@a.org"})), Author("Mira K.", frozenset({"mira@a.org"}))
    assert group_people({each: Counter() for each in (*both, Author("Tom"))}) == [list(both), [Author("Tom")]]
    assert choose(present(*both), None, [], "").authors == {"chat": set(both)}


def test_the_owner_of_an_export_need_not_be_named_but_another_name_is_another_person() -> None:
    owner, tom = Author("user", is_owner=True), Author("Tom")
    assert choose(present(owner, tom), "mira", [], "").authors == {"chat": {owner}}
    assert choose(present(owner, tom), "mira", ["Mira K."], "").authors == {"chat": {owner}}
    assert choose(present(owner, tom), "tom", [], "").authors == {"chat": {tom}}
    assert choose(present(owner), None, ["Mira K."], "").user == "Mira K."
    with pytest.raises(RecordError, match="nothing names whose export this is"):
        choose(present(owner, tom), None, [], "")
    with pytest.raises(RecordError, match="nobody there is 'Mira'"):
        choose(present(Author("Tom", is_owner=True)), "mira", ["Mira"], "")


def test_the_id_is_the_name_if_it_can_be_one(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", rows("mira"))
    assert read_records([path], me="mira").records[0].user == "mira"
    with pytest.raises(RecordError) as refused:
        read_records([write(tmp_path, "b.jsonl", rows("../x"))], me="../x")
    assert "--user NAME" in refused.value.remedy


def test_files_without_the_person_are_named_and_not_taken(tmp_path: Path) -> None:
    chat, letter = write(tmp_path, "chat.txt", CHAT), write(tmp_path, "a.jsonl", rows("mira"))
    reading = read_records([letter, chat], user="mira")
    assert len(reading.records) == 1
    (message,) = reading.unmatched
    assert "chat.txt: nobody in it is the person; there are Mira K. (2 texts), Tom (1 text)" in message
    both = read_records([letter, chat], user="mira", me=["mira", "Mira K."])
    assert (len(both.records), both.unmatched) == (3, [])


def test_plain_texts_go_with_the_one_who_is_chosen_elsewhere(tmp_path: Path) -> None:
    paths = [write(tmp_path, "chat.txt", CHAT), write(tmp_path, "letter.txt", LETTER)]
    assert len(read_records(paths, user="mira", me="Mira K.").records) == 3
    with pytest.raises(RecordError, match="nobody there is 'mira'"):
        read_records(paths, user="mira")


def test_a_folder_tells_of_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder, "letters/ferry.txt", LETTER)
    write(folder, "posts.csv", f"user,text\nmira,{LETTER} Twice.\n")
    write(folder, ".hidden.txt", "Not to be read at all.")
    write(folder, "settings.json", {"theme": "dark"})
    write(folder, "empty.txt", "")
    write(folder, "page.html", "<!doctype html><p>Some words of a page.</p>")
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    reading = read_records([folder], user="mira")
    assert len(reading.records) == 2
    told = {Path(file.name).name: dict(file.passed_over) for file in reading.files if not file.format}
    assert set(told) == {".hidden.txt", "settings.json", "empty.txt", "page.html", "photo.png"}
    assert told[".hidden.txt"] == {"hidden files": 1}
    assert "PNG" in next(iter(told["photo.png"]))
    bad = write(folder, "bad.jsonl", rows("mira") + "\n{broken\n")
    with pytest.raises(RecordError, match=r"bad.jsonl:2: this line is not JSON"):
        read_records([folder], user="mira")
    bad.unlink()


def test_an_archive_is_read_as_its_files_and_an_office_document_is_not(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("letters/ferry.txt", LETTER)
        archive.writestr("__MACOSX/._ferry.txt", "Not to be read at all.")
        archive.writestr("photo.png", b"\x89PNG\r\n\x1a\n\x00")
    reading = read_records([tmp_path / "export.zip"], user="mira")
    assert words(reading) == [LETTER]
    assert [Path(file.name).name for file in reading.files] == ["ferry.txt", "._ferry.txt", "photo.png"]
    with zipfile.ZipFile(tmp_path / "letter.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    with pytest.raises(RecordError, match="Office document") as refused:
        read_records([tmp_path / "letter.docx"], user="mira")
    assert "plain text" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pdf", b"%PDF-1.7 \xe2\xe3", "a PDF"),
        ("a.sqlite", b"SQLite format 3\x00", "an SQLite database"),
        ("a.gz", b"\x1f\x8b\x08\x00", "the gzip file is damaged"),
        ("a.jpg", b"\xff\xd8\xff\xe0\x00", "a JPEG picture"),
        ("a.rtf", b"{\\rtf1 some words of hers}", "an RTF document"),
        ("a.html", b"<html><p>some words of hers</p>", "a web page"),
        ("a.xml", b"<?xml version='1.0'?><smses/>", "an XML file"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
    ],
)
def test_what_is_no_text_is_refused_with_what_to_do(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordError, match=said) as refused:
        read_records([tmp_path / name], user="mira")
    assert refused.value.remedy


def test_a_gzip_file_is_read_as_the_file_in_it_and_an_archive_of_several_is_refused(tmp_path: Path) -> None:
    plain = write(tmp_path, "lines.jsonl", rows("mira", "tom"))
    packed = tmp_path / "lines.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert words(read_records([packed], user="mira")) == words(read_records([plain], user="mira"))
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(plain, "lines.jsonl")
    with pytest.raises(RecordError, match="an archive of several files"):
        read_records([tmp_path / "all.tar.gz"], user="mira")
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(RecordError, match="damaged"):
        read_records([packed], user="mira")


def test_a_format_can_be_named_and_an_unknown_one_lists_them(tmp_path: Path) -> None:
    path = write(tmp_path, "lines.txt", rows("mira"))
    assert len(read_records([path], user="mira").records) == 1
    assert words(read_records([path], user="mira", format="text"))[0].startswith('{"user"')
    with pytest.raises(InputError) as refused:
        read_records([path], user="mira", format="word")
    assert "whatsapp" in refused.value.remedy
    with pytest.raises(RecordError, match="this is no record") as columns:
        read_records([write(tmp_path, "a.json", [{"poet": "mira", "verse": LETTER}])], user="mira")
    assert '--columns "text=verse"' in columns.value.remedy


def test_everybody_is_read_one_after_the_other(tmp_path: Path) -> None:
    path = write(tmp_path, "all.jsonl", rows("tom", "mira", "tom") + "\n" + json.dumps({"text": "Words of nobody."}))
    with pytest.raises(RecordError, match=r"all.jsonl:4: user: nothing says whose"):
        list(read_everyone([path]))
    skipped: list[str] = []
    found = dict(read_everyone([path], skip_bad=True, skipped=skipped))
    assert {user: len(records) for user, records in found.items()} == {"tom": 2, "mira": 1}
    assert list(found) == ["tom", "mira"]
    assert len(skipped) == 1
    gone: list[str] = []
    assert list(read_everyone([tmp_path / "gone.txt"], skip_bad=True, skipped=gone)) == []
    assert "no such file" in gone[0]
    assert dict(read_everyone([path], unnamed="ada")).keys() == {"tom", "mira", "ada"}
    assert {record.user for records in found.values() for record in records} == {"tom", "mira"}
    chat = dict(read_everyone([write(tmp_path, "chat.txt", CHAT)], skip_bad=True))
    assert {user: len(records) for user, records in chat.items()}["Tom"] == 1


def test_a_check_says_what_a_fit_reads(tmp_path: Path) -> None:
    chat = write(tmp_path, "chat.txt", CHAT)
    for options in ({"me": "Mira K.", "user": "mira"}, {"user": "mira"}, {}):
        found = check_files([chat], **options)  # type: ignore[arg-type]
        try:
            read = read_records([chat], **options)  # type: ignore[arg-type]
        except RecordError as error:
            assert found.reading is None
            assert str(found.problem) == str(error)
            assert found.files[0].authors == {"Mira K.": {"texts": 2}, "Tom": {"texts": 1}}
            assert not found.files[0].taken
        else:
            assert found.problem is None
            assert found.reading == read
    bad = write(tmp_path, "bad.jsonl", rows("mira") + "\n{broken\n")
    found = check_files([tmp_path / "gone.txt", bad], user="mira")
    assert "gone.txt: no such file" in str(found.problem)
    assert [file.problem != "" for file in found.files] == [False, True]
    skipping = check_files([tmp_path / "gone.txt", bad], user="mira", skip_bad=True)
    assert skipping.problem is None
    assert skipping.reading is not None
    assert len(skipping.reading.skipped) == 2


def test_two_people_of_one_name_are_two_of_everybody() -> None:
    given = [{"author": "Tom", "email": f"tom@{place}.org", "text": f"Words of one in {place}."} for place in "ab"]
    given += [
        {"author": "Mira", "email": "mira@a.org", "text": "Words of Mira."},
        {"author": "Mira", "text": "And more of her."},
    ]
    found = {user: len(records) for user, records in read_everyone(given)}
    assert found == {"Tom tom@a.org": 1, "Tom tom@b.org": 1, "Mira": 2}
    assert len(read_records(given, user="Mira").records) == 2
    with pytest.raises(RecordError, match="'Tom' fits several"):
        read_records(given, user="Tom")


def test_owners_without_a_name_are_not_one_person(tmp_path: Path) -> None:
    dialog = {
        "messages": [{"role": "user", "content": LETTER}, {"role": "assistant", "content": "A fine crust, then."}]
    }
    paths = [write(tmp_path, name, dialog) for name in ("hers.json", "his.json")]
    with pytest.raises(RecordError, match="nothing says whose"):
        list(read_everyone(paths))
    with pytest.raises(RecordError, match="nothing names whose export this is"):
        read_records(paths[:1])
    assert [user for user, _ in read_everyone(paths[:1], unnamed="mira")] == ["mira"]
