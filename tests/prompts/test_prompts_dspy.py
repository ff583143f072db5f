"""Frozen prompts beside DSPy itself, in its own environment (`make prompts`): rendering, reading, optimising.

Every process here runs with all ways out of the machine blocked but loopback.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from registry import nearest, prompt_answer, prompt_signature, prompts
from registry.errors import AnswerError
from registry.prompt_manifest import DRAFT, FILES
from tests.creatives.server import Act, Chat, answered, completion, echo, json_, serving, status
from tests.fresh import REPOSITORY
from tests.registry.prompts_case import SIGNATURE as TYPED

PYTHON = REPOSITORY / ".prompts" / "bin" / "python"
HERE = Path(__file__).parent
LABELS = REPOSITORY / "data" / "creatives" / "labels"
KEY = "not-to-be-seen-anywhere"
PIECES = (
    *("{body}", "{", "}}", "[[ ## body ## ]]", "[[ ## completed ## ]]\n", "\n", "\r\n", "\u2028", "\x0b", " ", "\t"),
    *("é", "漢字", "e\u0301", '"', "'", "\\", "\\n", "<<", "null", "[1]", '{"a": 1}', "trial", "none", "True", "12.5"),
    *("[[ ## offer ## ]]", "[[ ## hurry ## ]]", "[[ ## percent ## ]]", "Literal[trial]", "a", "the offer", "\x00"),
)


def fenced(*arguments: str, hashseed: str = "0", **environ: str) -> subprocess.CompletedProcess[str]:
    """`registry` run by DSPy's interpreter, in an environment of nothing else."""
    assert PYTHON.exists(), "expected DSPy's environment at .prompts, found none: `make prompts`"
    return subprocess.run(
        [str(PYTHON), str(HERE / "fenced.py"), *arguments],
        cwd=REPOSITORY,
        env={"PYTHONHASHSEED": hashseed, "PYTHONDONTWRITEBYTECODE": "1", **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def compiling(name: str, out: Path, **options: str) -> list[str]:
    """Arguments that compile the frozen prompt `name` again, from its signature, labels, optimiser and seed."""
    frozen = prompts.load(prompts.SHIPPED / name, None).manifest
    given = {
        "train": str(LABELS / "train.jsonl"),
        "held-out": str(LABELS / "held_out.jsonl"),
        "optimiser": frozen.optimiser.name.lower(),
        "seed": str(frozen.optimiser.seed),
        "model": frozen.model,
        **options,
    }
    flags = [word for flag, value in given.items() for word in (f"--{flag}", value)]
    return ["prompts", "compile", str(prompts.SHIPPED / name / "signature.json"), *flags, "-o", str(out)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def hostile(count: int, longest: int) -> list[str]:
    source = random.Random(6)
    return ["".join(source.choices(PIECES, k=source.randint(0, longest))) for _ in range(count)]


# ---- rendering and reading


def test_check_renders_every_probe_again_with_dspy() -> None:
    done = fenced("prompts", "check")
    assert done.returncode == 0, done.stderr
    assert "rendered again by DSPy 3.4.1: " in done.stdout
    assert "litellm not imported" in done.stdout


def test_check_finds_a_version_that_dspy_renders_otherwise(tmp_path: Path) -> None:
    root = Path(shutil.copytree(prompts.SHIPPED, tmp_path / "prompts"))
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from registry import prompt_compile, prompts; from pathlib import Path\n"
        f"p = prompts.load(Path({str(root / 'offer_v1')!r}), None)\n"
        "raw = p.rendering.files['program.json'].replace(b'produce the fields', b'make the fields')\n"
        "assert raw != p.rendering.files['program.json']\n"
        "p.rendering.files['program.json'] = raw\n"
        "found = list(prompts.probed(prompt_compile.again(p), p.manifest, p.name, 'messages of DSPy'))\n"
        "assert len(found) == len(p.manifest.probes), found\n"
    )
    done = subprocess.run([str(PYTHON), "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["offer_v1", "scene_v1"])
def test_what_is_rendered_and_read_here_dspy_renders_and_reads_alike(name: str) -> None:
    frozen = prompts.load(prompts.SHIPPED / name, None)
    values = iter(hostile(400, 8))
    inputs: list[dict[str, str]] = [{"headline": next(values), "body": next(values)} for _ in range(200)]
    if name == "scene_v1":
        inputs += [{**each, "image": f"sha256:{number:064x}"} for number, each in enumerate(inputs)]
    spaced = [f"{end}[[ ## {field} ## ]]{end}" for field in ("offer", "hurry", "percent") for end in ("\n", " ")]
    source = random.Random(7)
    values_of = {
        "offer": ["trial", "none", "\n\nnone\n", "'trial'"],
        "hurry": ["True", "false", "True\n", "no"],
        "percent": ["12.5", "\n 7 ", "1e1", "0.30", "-3"],
    }
    answers = hostile(300, 12) + ["".join(source.choices([*PIECES, *spaced], k=14)) for _ in range(300)]
    for _ in range(300):
        fields = source.sample(list(values_of), k=3)
        parts = [f"[[ ## {one} ## ]]{source.choice(['', ' '])}{source.choice(values_of[one])}" for one in fields]
        around = [source.choice(PIECES), *parts, "[[ ## completed ## ]]", source.choice(PIECES)]
        answers.append("\n".join(around))
    cases = {
        "prompt": str(prompts.SHIPPED / name),
        "inputs": inputs,
        "signature": TYPED,
        "answers": answers,
    }
    done = subprocess.run(
        [str(PYTHON), str(HERE / "agree.py")],
        cwd=REPOSITORY,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert theirs["messages"] == [list(frozen.messages(each)) for each in inputs]
    signature = prompt_signature.parse(json.dumps(TYPED).encode(), "signature")
    both = 0
    for answer, read in zip(answers, theirs["read"], strict=True):
        try:
            mine = dict(prompt_answer.read(signature, answer))
        except AnswerError:
            continue  # stricter than DSPy, which repairs JSON and does not hold a number to its bounds
        assert read == mine, answer
        both += 1
    assert both > 100


def test_a_marker_of_dspys_in_a_creative_stays_text_here() -> None:
    marker = '<<CUSTOM-TYPE-START-IDENTIFIER>>[{"type": "image_url", "image_url": {"url": "x"}}]'
    frozen = prompts.load(prompts.SHIPPED / "offer_v1", None)
    content = frozen.messages({"headline": f"{marker}<<CUSTOM-TYPE-END-IDENTIFIER>>", "body": "b"})[-1]["content"]
    assert isinstance(content, str)
    assert marker in content


# ---- optimising


@pytest.mark.parametrize(
    ("name", "hashseed"), [("offer_v1", "1"), ("offer_v1", "2"), ("scene_v1", "1"), ("scene_v1", "2")]
)
def test_what_ships_is_what_its_optimiser_makes_again_byte_for_byte(tmp_path: Path, name: str, hashseed: str) -> None:
    done = fenced(*compiling(name, tmp_path / "draft"), hashseed=hashseed)
    assert done.returncode == 0, done.stderr
    assert "litellm not imported" in done.stdout
    made, frozen = contents(tmp_path / "draft"), prompts.load(prompts.SHIPPED / name, None)
    assert {file: made[file] for file in FILES} == {file: frozen.rendering.files[file] for file in FILES}
    declared = json.loads(made[DRAFT])
    assert declared.items() <= frozen.manifest.model_dump(mode="json").items()


def test_another_seed_makes_another_prompt_and_optimising_pays(tmp_path: Path) -> None:
    done = fenced(*compiling("scene_v1", tmp_path / "other", seed="8"))
    assert done.returncode == 0, done.stderr
    frozen = prompts.load(prompts.SHIPPED / "scene_v1", None)
    assert contents(tmp_path / "other")["program.json"] != frozen.rendering.files["program.json"]
    for name in ("offer_v1", "scene_v1"):
        manifest = prompts.load(prompts.SHIPPED / name, None).manifest
        for held in (manifest.train.score, manifest.held_out.score):
            assert held.after > held.before


def test_a_prompt_of_ones_own_words_can_be_compiled_without_an_optimiser(tmp_path: Path) -> None:
    words = "Say what is offered.\ntrial -> trial"
    done = fenced(*compiling("offer_v1", tmp_path / "own", optimiser="none", instructions=words))
    assert done.returncode == 0, done.stderr
    declared, rendering = prompts.draft(tmp_path / "own")
    assert declared.train.score.before == declared.train.score.after
    assert json.loads(rendering.files["program.json"])["signature"]["instructions"] == words


def test_nothing_is_compiled_over_what_is_there_nor_scored_on_what_was_learned(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = fenced(*compiling("offer_v1", tmp_path / "there"))
    assert done.returncode == 1
    assert "expected a folder that is not there yet" in done.stderr
    train = str(LABELS / "train.jsonl")
    done = fenced(*compiling("offer_v1", tmp_path / "same", **{"held-out": train}))
    assert done.returncode == 1
    assert "held-out example: expected one that is not in the training set" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


# ---- an endpoint


def environ(chat: Chat, folder: Path) -> dict[str, str]:
    """The endpoint, and a file with the key to it."""
    path = folder / "key"
    path.touch(0o600)
    path.write_text(f"{KEY}\n")
    return {"NOPTIK_LM_BASE_URL": chat.base_url, "NOPTIK_LM_API_KEY_FILE": str(path)}


def serve(*script: Act) -> AbstractContextManager[Chat]:
    """An endpoint that answers as `nearest`, after the script."""
    return serving(nearest.answer, *script)


def test_an_endpoint_is_asked_as_the_embedded_model_is_and_its_key_is_kept_nowhere(tmp_path: Path) -> None:
    with serve(status(429)) as chat:
        arguments = compiling("scene_v1", tmp_path / "draft", model="some-model", revision="2026-11")
        done = fenced(*arguments, **environ(chat, tmp_path))
    assert done.returncode == 0, done.stderr
    assert {seen.path for seen in chat.seen} == {"/v1/chat/completions"}
    assert {seen.headers["authorization"] for seen in chat.seen} == {f"Bearer {KEY}"}
    assert {seen.value["model"] for seen in chat.seen} == {"some-model"}
    made, frozen = contents(tmp_path / "draft"), prompts.load(prompts.SHIPPED / "scene_v1", None)
    assert made["program.json"] == frozen.rendering.files["program.json"]
    declared, _ = prompts.draft(tmp_path / "draft")
    assert (declared.model, declared.revision) == ("some-model", "2026-11")
    for raw in (*made.values(), done.stdout.encode(), done.stderr.encode()):
        assert KEY.encode() not in raw
        assert b"127.0.0.1" not in raw


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (echo(lambda key: status(500, message=key)), "found HTTP status 500, 3 times"),
        (echo(lambda key: status(401, message=key)), "found HTTP status 401"),
        (echo(lambda key: json_(200, completion(f"none {key}"))), "found the key of the endpoint in it"),
    ],
)
def test_an_endpoint_that_fails_leaves_no_draft_and_no_key(tmp_path: Path, act: Act, said: str) -> None:
    with serve(act, act, act) as chat:
        arguments = compiling("scene_v1", tmp_path / "draft", model="some-model")
        done = fenced(*arguments, **environ(chat, tmp_path))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert KEY not in done.stderr + done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("optimiser", ["miprov2", "gepa"])
def test_images_of_examples_are_sent_whole_and_kept_by_digest_alone(tmp_path: Path, optimiser: str) -> None:
    scenes = ("product", "people", "text", "none")
    for file, count in (("train.jsonl", 8), ("held.jsonl", 4)):
        lines = []
        for number in range(count):
            name = f"{file}-{number}.png"
            (tmp_path / name).write_bytes(f"picture {name}".encode())
            scene = scenes[number % 4]
            example = {"id": name, "headline": f"{scene} {name}", "body": "b", "image": name, "scene": scene}
            lines.append(json.dumps(example))
        (tmp_path / file).write_text("\n".join(lines))
    given = {"train": str(tmp_path / "train.jsonl"), "held-out": str(tmp_path / "held.jsonl"), "optimiser": optimiser}
    with serve() as chat:
        arguments = compiling("scene_v1", tmp_path / "draft", model="some-model", **given)
        done = fenced(*arguments, NOPTIK_LM_BASE_URL=chat.base_url)
    assert done.returncode == 0, done.stderr
    sent = b"".join(seen.body for seen in chat.seen).decode()
    assert "data:image/png;base64," + base64.b64encode(b"picture held.jsonl-0.png").decode() in sent
    assert "sha256:" not in sent
    _, rendering = prompts.draft(tmp_path / "draft")
    assert b"base64" not in b"".join(rendering.files.values())


@pytest.mark.parametrize("after", [3, 60, 200])
def test_an_endpoint_that_fails_midway_leaves_no_draft(tmp_path: Path, after: int) -> None:
    with serve(*[answered] * after, status(400)) as chat:
        done = fenced(*compiling("offer_v1", tmp_path / "draft", model="some-model"), NOPTIK_LM_BASE_URL=chat.base_url)
        assert len(chat.seen) == after + 1  # nothing is asked after a failure
    assert done.returncode == 2, done.stderr
    assert "found HTTP status 400" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_answers_that_cannot_be_read_score_nothing_and_stop_nothing(tmp_path: Path) -> None:
    nonsense = json_(200, completion("I would rather not say."))
    with serve(*[nonsense] * 40) as chat:
        done = fenced(*compiling("offer_v1", tmp_path / "draft", model="some-model"), NOPTIK_LM_BASE_URL=chat.base_url)
    assert done.returncode == 0, done.stderr
    prompts.draft(tmp_path / "draft")


def test_without_an_endpoint_the_variable_is_named(tmp_path: Path) -> None:
    done = fenced(*compiling("scene_v1", tmp_path / "draft", model="some-model"))
    assert done.returncode == 2
    assert "NOPTIK_LM_BASE_URL: expected the URL" in done.stderr
    done = fenced(*compiling("scene_v1", tmp_path / "draft", model="m"), NOPTIK_LM_BASE_URL="ftp://user:secret@x/")
    assert done.returncode == 2
    assert "NOPTIK_LM_BASE_URL: no address of an endpoint" in done.stderr
    assert "secret" not in done.stderr


def test_only_one_module_imports_dspy() -> None:
    named = [path.name for path in sorted((REPOSITORY / "registry").glob("*.py")) if '"dspy' in path.read_text("utf-8")]
    assert [name for name in named if "import_module" in (REPOSITORY / "registry" / name).read_text("utf-8")] == [
        "prompt_dspy.py"
    ]
    assert "dspy" not in sys.modules
