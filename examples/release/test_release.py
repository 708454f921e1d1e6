"""What the release script may execute, how often, and in which order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import release

from pytest_execprobe import ANY, ExecProbe, subtree


def test_tagging_is_two_gits_and_no_more(execprobe: ExecProbe, repository: Path) -> None:
    release.tag(repository, "v1.0")
    execprobe.assert_sequence("argv:git status", ["git", "tag", ANY, ANY, "Version v1.0", "v1.0"])


def test_nothing_is_tagged_while_changes_are_uncommitted(execprobe: ExecProbe, repository: Path) -> None:
    (repository / "hello.txt").write_text("Hello, world\n")
    with pytest.raises(release.ReleaseError):
        release.tag(repository, "v1.0")
    execprobe.assert_ran("argv:git status", times=1)
    execprobe.assert_not_ran("argv:git tag")


def test_the_tarball_is_made_by_git_and_gzip_in_a_shell(
    execprobe: ExecProbe, repository: Path, downloads: Path
) -> None:
    release.build(repository, "HEAD", downloads)
    # All that this process itself started was a shell ...
    assert execprobe.direct.programs == ["sh"]
    # ... and the two ends of its pipe start at once, so either may be the first.
    execprobe.assert_sequence("sh", frozenset({"git", "gzip"}))


def test_verifying_is_a_single_sha256sum(execprobe: ExecProbe, repository: Path, downloads: Path) -> None:
    release.build(repository, "HEAD", downloads)
    release.write_checksums(downloads)
    with execprobe.watch(at_most=1, allow=["sha256sum"]) as log:  # a narrower window
        release.verify(downloads)
    assert log.records[0].argv == ("sha256sum", "--check", "--quiet", "SHA256SUMS")


def test_gzip_stands_in_where_there_is_no_zopfli(
    execprobe: ExecProbe, repository: Path, downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = release.build(repository, "HEAD", downloads)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gzip").symlink_to(shutil.which("gzip") or "gzip")
    monkeypatch.setenv("PATH", str(programs))
    with execprobe.watch() as log:
        release.recompress(tarball)
    assert log.programs == ["gzip", "gzip"]


def test_a_release_stays_within_its_budget(execprobe: ExecProbe, repository: Path, downloads: Path) -> None:
    release.release(repository, "v1.0", downloads)
    execprobe.assert_order("argv:git tag", "argv:git archive", "argv:sha256sum --check")
    execprobe.assert_only_ran("git", subtree("sh"), subtree("tar"), "sha256sum")
    execprobe.assert_not_ran("curl", "wget", "ssh")
    execprobe.assert_at_most(11)
    assert execprobe.counts == {"git": 3, "sh": 2, "gzip": 2, "sha256sum": 2, "tar": 1, "sort": 1}
