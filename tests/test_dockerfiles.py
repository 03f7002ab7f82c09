"""A build as a Dockerfile: what stands in it, what never does, and what lies beside it."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.archives import Entry, file_entry, tar_stream
from s2ictl.archives import directory_entry as directory
from s2ictl.dockerfiles import ground, write
from s2ictl.dockerfiles.ground import Copy
from s2ictl.dockerfiles.recipe import Copies, render
from s2ictl.dockerfiles.words import comment, quoted
from s2ictl.errors import InvalidUsage
from s2ictl.events import Emit, Event, Notice
from s2ictl.models import (
    Assembly,
    BuildSecret,
    Cache,
    Confinement,
    ImageConfig,
    Injection,
    Member,
    Reference,
    Runtime,
    RuntimeArtifact,
    Salvage,
    Secret,
    Volume,
)

CONFIG = ImageConfig(
    command=("/usr/libexec/s2i/run",),
    entrypoint=(),
    user="1001",
    workdir="/opt/app",
    env=(("PATH", "/bin"), ("GREETING", "hi")),
    labels={"b": "2", "a": "1"},
    exposed=("8080/tcp",),
)
DIGEST = f"sha256:{'d' * 64}"


def file(path: str, content: bytes = b"", mode: int = 0o644, mtime: int = 0) -> Entry:
    return file_entry(path, content, mode=mode, mtime=mtime)


def link(path: str, target: str) -> Entry:
    return Member(path=path, kind="link", mode=0o777, target=target), lambda _: b""


def source() -> Iterator[Entry]:
    yield directory("tmp/scripts")
    yield file("tmp/scripts/run", b"#!/bin/sh\n", 0o755)
    yield directory("tmp/src")
    yield file("tmp/src/app.py", b"print()\n", mtime=1_700_000_000)


ASSEMBLY = Assembly(
    image="registry.example.com/python:3",
    image_id="sha256:1",
    digest=DIGEST,
    owner="build",
    command=("/usr/libexec/s2i/assemble",),
    programs=(),
    user="1001",
    upload=lambda uid, gid: tar_stream(source(), uid=uid, gid=gid),
    workspace="/tmp/.s2ictl",
    leftovers=("/tmp/src", "/tmp/artifacts"),
    env=(("GREETING", "hi"),),
    build_env=(),
    ca_bundle=b"",
    timeout=60.0,
    metadata="/tmp/.s2i/image_metadata.json",
    config=lambda _: CONFIG,
    names=(Reference.parse("shop:1"),),
)
COPIES = Copies(
    build=(Copy(source="upload/scripts", target="/tmp/scripts"), Copy(source="upload/src", target="/tmp/src"))
)


def rendered(assembly: Assembly, copies: Copies = COPIES) -> str:
    return render(assembly, copies, file="Dockerfile")


def instructions(text: str) -> list[str]:
    """The lines that are no comments, continued ones joined."""
    lines = re.sub(r" \\\n +", " ", text).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


# ---------------------------------------------------------------------------------------------------- what stands in it


def test_a_build_is_a_page_that_reads_from_top_to_bottom() -> None:
    script = '\\"$@\\" || exit\\ncd /\\nrm -rf -- /tmp/src /tmp/artifacts\\nexit 0'
    assert (
        rendered(ASSEMBLY)
        == f"""\
# Written by s2ictl build --as-dockerfile
# upload/ lies beside it, and is what it copies. Here it is built with
#
#     docker build --file Dockerfile \\
#         --tag shop:1 \\
#         .
#
# The labels that assemble asks for in /tmp/.s2i/image_metadata.json are not set: a Dockerfile cannot read that file.

# registry.example.com/python:3, as it was when this was written
FROM registry.example.com/python@{DIGEST}
ENV GREETING="hi"
COPY --chown=1001:0 ["upload/scripts", "/tmp/scripts"]
COPY --chown=1001:0 ["upload/src", "/tmp/src"]
USER 1001
RUN ["/bin/sh", "-c", "{script}", "s2ictl", "/usr/libexec/s2i/assemble"]
LABEL "a"="1" \\
    "b"="2"
WORKDIR /opt/app
EXPOSE 8080/tcp
USER 1001
ENTRYPOINT []
CMD ["/usr/libexec/s2i/run"]
"""
    )


def test_a_builder_that_came_from_no_registry_is_named_as_it_is_called_here() -> None:
    assert "\nFROM s2ictl/python:3.13\n" in rendered(replace(ASSEMBLY, image="s2ictl/python:3.13", digest=""))


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ("", "0:0"),
        ("root", "0:0"),
        ("0:0", "0:0"),
        ("1001", "1001:0"),
        ("1001:5", "1001:5"),
        ("jboss", "jboss:0"),
        ("jboss:www", "jboss:www"),
    ],
)
def test_what_is_copied_belongs_to_the_user_and_without_a_group_to_root_s(user: str, owner: str) -> None:
    assert f"\nCOPY --chown={owner} [" in rendered(replace(ASSEMBLY, user=user))


def test_directories_that_copy_would_make_for_root_are_made_for_who_assembles() -> None:
    copies = Copies(build=(Copy(source="upload/src", target="/opt/s2i/deep/src"),))
    lines = instructions(rendered(ASSEMBLY, copies))
    assert lines[2] == "USER 0"
    assert lines[3].endswith(', "1001:0", "/opt/s2i", "/opt/s2i/deep"]')  # its workdir is below /opt
    assert "USER 0" not in instructions(rendered(replace(ASSEMBLY, user="root"), copies))


@pytest.mark.parametrize(
    ("assembling", "running", "users"),
    [("", "", []), ("0", "", ["0", "0"]), ("0", "1001", ["0", "1001"]), ("1001", "", ["1001", "0"])],
)
def test_the_image_s_own_user_comes_back_after_assemble(assembling: str, running: str, users: list[str]) -> None:
    assembly = replace(ASSEMBLY, user=assembling, config=lambda _: replace(CONFIG, user=running))
    assert [line.split()[1] for line in instructions(rendered(assembly)) if line.startswith("USER")] == users


def test_what_a_build_was_to_have_and_no_dockerfile_can_say_is_named_as_flags() -> None:
    confinement = Confinement(
        volumes=(Volume(source="/a b", target="/c", read_only=True, relabel="z"),),
        network="none",
        hosts=("forge:10.0.0.1",),
        cap_drop=("KILL",),
        memory=1 << 20,
        cpus=0.5,
    )
    assert (
        "# docker build some: --volume '/a b:/c:ro,z' --network none --add-host forge:10.0.0.1 --cap-drop KILL"
        " --memory 1048576 --cpu-period 100000 --cpu-quota 50000\n"
    ) in rendered(replace(ASSEMBLY, confinement=confinement))


# ------------------------------------------------------------------------------------------------- what never does

HANDED = replace(
    ASSEMBLY,
    build_env=(("PIP_INDEX_URL", Secret("canary-1")),),
    ca_bundle=b"canary-2",
    secrets=(BuildSecret(id="npmrc", content=Secret("canary-3")),),
    injections=(Injection(source=Path("/home/me/a b.pem"), target="/opt/app/a b.pem"),),
)


def test_what_is_handed_on_becomes_mounts_and_its_values_are_nowhere() -> None:
    text = rendered(HANDED)
    assert "canary" not in text
    assert text.startswith("# syntax=docker/dockerfile:1\n# Written by s2ictl build --as-dockerfile\n")
    (run,) = [line for line in instructions(text) if line.startswith("RUN")]
    assert run.split(" [")[0].split(" --mount=")[1:] == [
        "type=secret,id=ca-bundle,target=/run/secrets/ca-bundle,uid=1001,mode=0400",
        "type=secret,id=env-PIP_INDEX_URL,target=/run/secrets/env-PIP_INDEX_URL,uid=1001,mode=0400",
        "type=secret,id=npmrc,target=/run/secrets/npmrc,uid=1001,mode=0400,required=true",
        'type=secret,id=inject-1,target="/opt/app/a b.pem",uid=1001,mode=0400,required=true',
    ]


def test_it_is_said_on_top_how_each_is_handed_over() -> None:
    assert [line for line in rendered(HANDED).splitlines() if "--secret" in line] == [
        "#         --secret id=ca-bundle,src=FILE \\",
        "#         --secret id=env-PIP_INDEX_URL,env=PIP_INDEX_URL \\",
        "#         --secret id=npmrc,src=FILE \\",
        "#         --secret 'id=inject-1,src=/home/me/a b.pem' \\",
    ]


def test_variables_are_made_of_the_files_that_are_there_the_user_s_own_last() -> None:
    (run,) = [line for line in instructions(rendered(HANDED)) if line.startswith("RUN")]
    script = json.loads(run[run.index(' ["/bin/sh"') :])[2]
    first, second, command, *_ = script.splitlines()
    assert first.startswith("[ ! -e /run/secrets/ca-bundle ] || export SSL_CERT_FILE=/run/secrets/ca-bundle ")
    path = "/run/secrets/env-PIP_INDEX_URL"
    assert second == f'[ ! -e {path} ] || export PIP_INDEX_URL="$(cat {path})"'
    assert command == '"$@" || exit'


@pytest.mark.parametrize(("user", "mode"), [("", "mode=0400"), ("0", "uid=0,mode=0400"), ("jboss", "mode=0444")])
def test_a_user_without_a_number_reads_what_all_in_the_container_may(user: str, mode: str) -> None:
    assert f"target=/run/secrets/npmrc,{mode},required=true" in rendered(replace(HANDED, user=user))


@pytest.mark.parametrize(("user", "owner"), [("1001", ",uid=1001,gid=0,mode=0775"), ("", ""), ("jboss", ",mode=0777")])
def test_a_cache_is_a_mount_that_the_user_may_write_to(user: str, owner: str) -> None:
    cache = Cache(app="shop", builder="python:3", target="/opt/app/.cache", name="s2ictl-cache-1")
    text = rendered(replace(ASSEMBLY, caches=(cache,), user=user))
    assert f"RUN --mount=type=cache,id=s2ictl-cache-1,target=/opt/app/.cache{owner} \\\n" in text
    assert text.startswith("# syntax=docker/dockerfile:1\n")


def test_the_time_of_the_source_is_said_to_the_command_alone() -> None:
    text = rendered(replace(ASSEMBLY, exports=(("SOURCE_DATE_EPOCH", "1700000000"),)))
    assert 'RUN ["/bin/sh", "-c", "export SOURCE_DATE_EPOCH=1700000000\\n' in text
    assert "ENV SOURCE_DATE_EPOCH" not in text


def test_a_secret_that_is_called_as_one_of_ours_is_refused() -> None:
    secrets = (BuildSecret(id="inject-1", content=Secret("")),)
    with pytest.raises(InvalidUsage, match="has another secret that it calls inject-1"):
        rendered(replace(HANDED, secrets=secrets))


# --------------------------------------------------------------------------------------------------------- stages


def test_an_earlier_image_saves_in_a_stage_of_its_own() -> None:
    salvage = Salvage(
        image="shop:1",
        image_id="sha256:2",
        command=("/tmp/scripts/save-artifacts",),
        user="1001",
        upload=ASSEMBLY.upload,
        target="/tmp/artifacts",
    )
    copies = replace(COPIES, saved=(Copy(source="upload/previous/scripts", target="/tmp/scripts"),))
    lines = instructions(rendered(replace(ASSEMBLY, salvage=salvage), copies))
    assert lines[:3] == [
        "FROM shop:1 AS saved",
        'COPY --chown=1001:0 ["upload/previous/scripts", "/tmp/scripts"]',
        "USER 1001",
    ]
    assert lines[3].endswith(', "s2ictl", "/tmp/.s2ictl/saved/artifacts", "/tmp/scripts/save-artifacts"]')
    assert lines[6] == 'COPY --from=saved --chown=1001:0 ["/tmp/.s2ictl/saved/", "/tmp/"]'


def test_a_runtime_image_takes_artifacts_from_the_build() -> None:
    last = replace(ASSEMBLY, image="slim:1", digest="", command=(), env=(("A", "1"),), user="1002", upload=source)  # type: ignore[arg-type]
    runtime = Runtime(
        assembly=last, artifacts=(RuntimeArtifact(source="/opt/a b/*.jar", target="lib"),), root="/opt/app"
    )
    lines = instructions(rendered(replace(ASSEMBLY, runtime=runtime)))
    assert lines[0] == f"FROM registry.example.com/python@{DIGEST} AS build"
    picked = lines.index("FROM build AS artifacts")
    script = json.loads(lines[picked + 2].removeprefix("RUN "))[2]
    assert script.splitlines()[-1] == "pick /tmp/.s2ictl/artifacts/0 '/opt/a b/'*.jar '/opt/a b/.'[!.]*.jar"
    assert lines[picked + 3 : picked + 7] == [
        "FROM slim:1",
        'ENV A="1"',
        'COPY --from=artifacts --chown=1002:0 ["/tmp/.s2ictl/artifacts/0/", "/opt/app/lib/"]',
        'LABEL "a"="1" "b"="2"',
    ]


# --------------------------------------------------------------------------------------------------------- values


def read_back(text: str) -> str:
    """A value in double quotes as docker's lexer reads it, variables and all."""
    assert text[0] == text[-1] == '"'
    return re.sub(r'\\([\\"$])|(\$)|(")', lambda m: m[1] or pytest.fail(f"{m[0]} in {text}"), text[1:-1])


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")))
def test_any_value_on_one_line_is_read_as_it_was_written(value: str) -> None:
    assert read_back(quoted(value)) == value


def test_a_variable_of_several_lines_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidUsage, match="KEY has a value of several lines") as refused:
        rendered(replace(ASSEMBLY, env=(("KEY", "a\nb"),)))
    assert "--build-env" in refused.value.hint


@given(st.text())
def test_no_text_ends_the_comment_that_it_stands_in(text: str) -> None:
    assert len(comment(text).splitlines()) == 1


# ------------------------------------------------------------------------------------------------ what lies beside


def seen(directory: Path) -> dict[str, object]:
    return {
        path.relative_to(directory).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def written(directory: Path, emit: Emit, assembly: Assembly = ASSEMBLY) -> dict[str, object]:
    write(assembly, directory / "Dockerfile", emit=emit)
    return {name: content for name, content in seen(directory).items() if name.startswith("upload/s")}


def uploading(*entries: Entry) -> Assembly:
    return replace(ASSEMBLY, upload=lambda uid, gid: tar_stream(iter(entries), uid=uid, gid=gid))


def test_everything_lies_beside_it_with_mode_and_time(tmp_path: Path, emit: Emit) -> None:
    assert write(ASSEMBLY, tmp_path / "new" / "Recipe", emit=emit) == tmp_path / "new" / "Recipe"
    text = render(ASSEMBLY, COPIES, file="Recipe")
    assert seen(tmp_path / "new") == {
        "Recipe": text.encode(),
        "Recipe.dockerignore": b"# Written by s2ictl build --as-dockerfile\n*\n!upload\n",
        "upload/.s2ictl": b"",
        "upload/scripts/run": b"#!/bin/sh\n",
        "upload/src/app.py": b"print()\n",
    }
    upload = tmp_path / "new" / "upload"
    assert (upload / "scripts" / "run").stat().st_mode & 0o7777 == 0o755
    assert (upload / "src" / "app.py").stat().st_mode & 0o7777 == 0o644
    assert (upload / "src" / "app.py").stat().st_mtime == 1_700_000_000


def test_a_directory_gets_a_dockerfile(tmp_path: Path, emit: Emit) -> None:
    assert write(ASSEMBLY, tmp_path, emit=emit) == tmp_path / "Dockerfile"


def test_what_was_written_here_is_replaced_as_a_whole(tmp_path: Path, emit: Emit) -> None:
    written(tmp_path, emit, uploading(directory("tmp/src"), file("tmp/src/old", mode=0), directory("tmp/src/none")))
    assert written(tmp_path, emit) == {"upload/scripts/run": b"#!/bin/sh\n", "upload/src/app.py": b"print()\n"}
    assert {path.name for path in tmp_path.iterdir()} == {"Dockerfile", "Dockerfile.dockerignore", "upload"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Dockerfile", "file"),
        ("Dockerfile", "broken link"),
        *itertools.product(("Dockerfile.dockerignore", "upload"), ("file", "directory", "link", "broken link")),
    ],
)
def test_what_somebody_else_put_there_stays(name: str, kind: str, tmp_path: Path, emit: Emit) -> None:
    place, other = tmp_path / "here" / name, tmp_path / "other"
    place.parent.mkdir()
    other.mkdir()
    match kind:
        case "file":
            place.write_text("FROM mine\n")
        case "directory":
            place.mkdir()
        case "link":
            place.symlink_to(other)
        case _:
            place.symlink_to("nowhere")
    before = (seen(tmp_path), sorted(tmp_path.rglob("*")))
    with pytest.raises(InvalidUsage, match="is there already, and was not written by --as-dockerfile"):
        write(ASSEMBLY, tmp_path / "here" / "Dockerfile", emit=emit)
    assert (seen(tmp_path), sorted(tmp_path.rglob("*"))) == before


def test_links_are_laid_down_as_links_and_hard_links_as_one_file(tmp_path: Path, emit: Emit) -> None:
    twin = Member(path="tmp/src/b/twin", kind="hardlink", mode=0o644, target="tmp/src/a/file"), lambda _: b""
    files = written(
        tmp_path,
        emit,
        uploading(directory("tmp/src"), file("tmp/src/a/file", b"x"), twin, link("tmp/src/out", "../../../etc/passwd")),
    )
    assert files == {"upload/src/a/file": b"x", "upload/src/b/twin": b"x", "upload/src/out": "../../../etc/passwd"}
    src = tmp_path / "upload" / "src"
    assert (src / "a" / "file").stat().st_ino == (src / "b" / "twin").stat().st_ino


def test_nothing_is_laid_down_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / "place"
    place.mkdir()
    (place / "src").symlink_to(outside)
    tar = tar_stream(iter([file("tmp/src/app.py", b"x")]), uid=0, gid=0)
    with pytest.raises(NotADirectoryError):
        ground.lay(tar, place, name="upload", strip="/tmp")
    assert list(outside.iterdir()) == []


def test_a_name_that_was_no_text_comes_out_as_the_same_bytes(tmp_path: Path, emit: Emit) -> None:
    name = os.fsdecode(b"tmp/src/\xff\xfe")
    written(tmp_path, emit, uploading(directory("tmp/src"), file(name)))
    assert [os.fsencode(path.name) for path in (tmp_path / "upload" / "src").iterdir()] == [b"\xff\xfe"]


def test_the_later_of_two_files_of_one_name_counts(tmp_path: Path, emit: Emit) -> None:
    twice = uploading(directory("tmp/src"), file("tmp/src/a", b"1"), link("tmp/src/b", "a"), file("tmp/src/a", b"2"))
    assert written(tmp_path, emit, twice) == {"upload/src/a": b"2", "upload/src/b": "a"}


def test_a_destination_anywhere_gives_the_same_upload(tmp_path: Path, emit: Emit) -> None:
    deep = replace(uploading(directory("opt/s2i/src"), file("opt/s2i/src/a")), workspace="/opt/s2i/.s2ictl")
    write(deep, tmp_path, emit=emit)
    assert 'COPY --chown=1001:0 ["upload/src", "/opt/s2i/src"]' in (tmp_path / "Dockerfile").read_text()
    assert (tmp_path / "upload" / "src" / "a").is_file()


def test_a_build_that_breaks_off_leaves_what_was_there(tmp_path: Path, emit: Emit) -> None:
    def broken(uid: int, gid: int) -> Iterator[bytes]:
        yield from tar_stream(source(), uid=uid, gid=gid)
        raise KeyboardInterrupt

    written(tmp_path, emit)
    before = seen(tmp_path)
    with pytest.raises(InvalidUsage):
        write(replace(ASSEMBLY, env=(("A", "1\n2"),)), tmp_path, emit=emit)
    with pytest.raises(KeyboardInterrupt):
        write(replace(ASSEMBLY, upload=broken), tmp_path, emit=emit)
    assert seen(tmp_path) == before


def test_a_place_that_cannot_be_written_is_a_wrong_usage(tmp_path: Path, emit: Emit) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidUsage, match="could not write") as refused:
        write(ASSEMBLY, tmp_path / "file" / "Dockerfile", emit=emit)
    assert refused.value.detail == f"File exists: {tmp_path}/file"


def test_an_injected_directory_is_a_secret_for_each_file_in_it(tmp_path: Path, emit: Emit) -> None:
    keys = tmp_path / "keys"
    (keys / "sub").mkdir(parents=True)
    (keys / "a").write_text("canary-1")
    (keys / "sub" / "b").write_text("canary-2")
    (keys / "link").symlink_to("sub")
    one = (Injection(source=keys / "a", target=target) for target in ("/etc/app", "/etc/app/", "."))
    injections = (Injection(source=keys, target="conf"), *one)
    text = write(replace(ASSEMBLY, injections=injections), tmp_path / "out", emit=emit).read_text()
    assert re.findall(r"id=(inject-\d),target=([^,]+)", text) == [
        ("inject-1", "/opt/app/conf/a"),
        ("inject-2", "/opt/app/conf/sub/b"),
        ("inject-3", "/etc/app"),
        ("inject-4", "/etc/app/a"),
        ("inject-5", "/opt/app/a"),
    ]
    assert not [name for name, content in seen(tmp_path / "out").items() if b"canary" in bytes(str(content), "utf-8")]


def test_a_label_of_several_lines_is_told(tmp_path: Path, emit: Emit, events: list[Event]) -> None:
    labelled = replace(ASSEMBLY, config=lambda _: replace(CONFIG, labels={"note": "a\r\nb"}))
    assert 'LABEL "note"="a b"\n' in write(labelled, tmp_path, emit=emit).read_text()
    text = "the label note has several lines; a Dockerfile can only say one"
    assert events == [Notice(text=text, level="warning")]


def test_a_dockerignore_that_is_there_is_told(tmp_path: Path, emit: Emit, events: list[Event]) -> None:
    (tmp_path / ".dockerignore").write_text("**/*.log\n")
    write(ASSEMBLY, tmp_path, emit=emit)
    text = f"{tmp_path}/.dockerignore counts too where Dockerfile.dockerignore is not known"
    assert events == [Notice(text=text, level="warning")]


@pytest.mark.parametrize("target", ["nowhere", "../outside"])
def test_a_link_that_leads_out_of_what_is_injected_is_refused(target: str, tmp_path: Path, emit: Emit) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "key").symlink_to(f"../{target}")
    with pytest.raises(InvalidUsage, match="key cannot be injected: the link leads out of the directory"):
        write(replace(ASSEMBLY, injections=(Injection(source=keys, target="x"),)), tmp_path / "out", emit=emit)


def test_artifacts_at_any_depth_are_nothing_that_a_shell_knows() -> None:
    runtime = Runtime(
        assembly=ASSEMBLY, artifacts=(RuntimeArtifact(source="/opt/**/a.jar", target=""),), root="/opt/app"
    )
    with pytest.raises(InvalidUsage, match=r"a Dockerfile cannot say /opt/\*\*/a.jar"):
        rendered(replace(ASSEMBLY, runtime=runtime))
