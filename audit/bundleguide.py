"""VERIFY.md: how a stranger checks the bundle with sha256sum, ssh-keygen, openssl and a plain shell alone.

The text is made from what the bundle discloses, so that every command in it is exact; equal bundles have equal texts.
Every block of commands runs under `sh -eu`, one after the other in one shell, and stops at what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audit.bundle import BundleInfo, root_name
from audit.bundleguideleft import check, left, source_filter, without
from audit.bundlewithheld import hides_artifact
from audit.resource import Subject
from audit.root import RootFile, parse_root
from audit.sshsig import NAMESPACE
from audit.trustroot import TrustRoot

_VERIFY = "openssl pkeyutl -verify -rawin -pubin"


@dataclass(frozen=True, slots=True)
class Guide:
    """What the text depends on. `entries` are the disclosed ones that are not void; `artifacts` those shown.

    `facts` are the bundle's, the digests of text and page aside. `registration` is an entry, None if withheld.
    """

    facts: BundleInfo
    keys: TrustRoot
    chain: Sequence[bytes]
    entries: Sequence[int]
    registration: int | None
    artifacts: Sequence[Subject]
    registered: Sequence[Subject]
    timestamps: Sequence[str]


def guide_bytes(guide: Guide) -> bytes:
    """The text, Markdown."""
    sections = [
        _introduction(guide.facts),
        _files(),
        _keys(guide),
        _signature(),
        _checkpoint(guide),
        _entries(guide),
        _artifacts(guide),
        _source(guide.facts),
        _timestamps(guide),
        _contents(guide.facts),
        left(guide.facts),
    ]
    return "\n".join(filter(None, sections)).encode()


def _introduction(facts: BundleInfo) -> str:
    return f"""\
# How to check this bundle without us

Run `{facts.run}` of the forecast `{facts.forecast}`, sealed as entry {facts.seq} of the log
`{facts.origin}`, which had {facts.size} entries when this was written.

You need the public root key, which you were given by another way than this file (ask for its fingerprint on the
telephone), and sha256sum, ssh-keygen, openssl 3 and a shell. Unpack the tar, open a shell that stops at the first
error, and go into the folder:

    tar -xf FILE.tar && cd {facts.folder} && sh -eu

Then run the blocks below in their order. Each ends with a line of `ok`; where one does not, something is wrong, and
nothing after it counts. These commands came with the bundle, so read what you run: what decides is the key that you
bring, in step 2. With this project's own tools all of it, and more, is one command:
`python -m audit verify FILE.tar --root ROOT.pem`. In a browser, offline: `verify.html`, but a copy that you have from
another way than from here, as with any program.
"""


def _files() -> str:
    return _section(
        "1. Every file is the one that is listed",
        "A file that is not listed is one too many: so the files are counted as well.",
        "sha256sum -c --strict --quiet tagmanifest-sha256.txt",
        "sha256sum -c --strict --quiet manifest-sha256.txt",
        'test "$(find data -type f | wc -l)" -eq "$(wc -l < manifest-sha256.txt)"',
        "tags=$(find . -path ./data -prune -o -type f -print | wc -l)",
        'test "$tags" -eq "$(($(wc -l < tagmanifest-sha256.txt) + 1))"',
        "echo 1 ok",
    )


def _keys(guide: Guide) -> str:
    return _section(
        "2. The root key you were given vouches for the log's key",
        "Set `ROOT` to the file you were given. Each version of the root of trust is signed by the root keys that the\n"
        "version before it names, the first by yours; the last names the key that signs the log.",
        'test -n "$ROOT" # the file with the root key',
        'id=$(openssl pkey -pubin -in "$ROOT" -outform DER | sha256sum | cut -c 1-64)',
        'echo "root key SHA256:$id"',
        'openssl pkey -pubin -in "$ROOT" | cmp - "data/openssl/$id.pem"',
        'ls data/openssl/*.root."$id".sig',
        "for key in data/openssl/*.pem; do",
        '  openssl pkey -pubin -in "$key" -outform DER | sha256sum | grep -q "^$(basename "$key" .pem) "',
        "done",
        *_root_commands([parse_root(raw, root_name(number)) for number, raw in enumerate(guide.chain, 1)]),
        *_span_commands(guide.keys, f"data/openssl/{len(guide.chain)}.root.signed"),
        "echo 2 ok",
    )


def _root_commands(chain: Sequence[RootFile]) -> Iterator[str]:
    for number, file in enumerate(chain, 1):
        signed = f"data/openssl/{number}.root.signed"
        yield f'test "$(cat {signed})" = "$(sed \'s/.*"signed":\\(.*\\)}}$/\\1/\' data/trust/{number}.root.json)"'
        for signature in file.signatures:
            key, sig = f"data/openssl/{signature.keyid}.pem", f"data/openssl/{number}.root.{signature.keyid}.sig"
            yield f"{_VERIFY} -inkey {key} -in {signed} -sigfile {sig}"
        role = file.signed.roles.root
        ids = ",".join(f'"{key_id}"' for key_id in role.keyids)
        yield f"""grep -qF '"root":{{"keyids":[{ids}],"threshold":{role.threshold}}}' {signed}"""
    log = chain[-1].log_key.key_id
    yield f"""grep -qF '"targets":{{"keyids":["{log}"],"threshold":1}}' data/openssl/{len(chain)}.root.signed"""
    yield f"log=data/openssl/{log}.pem"


def _span_commands(keys: TrustRoot, signed: str) -> Iterator[str]:
    """Each key that signed entries is one that the root of trust names, from the same tree size on."""
    yield 'raw() { openssl pkey -pubin -in "data/openssl/$1.pem" -outform DER | tail -c 32 \\'
    yield "  | od -An -v -tx1 | tr -d ' \\n'; }"
    for span in keys.spans:
        raw = f"$(raw {span.key.key_id})"
        yield f'grep -qF "\\"first\\":{span.first},\\"key\\":\\"{raw}\\"" {signed}'


def _signature() -> str:
    return _section(
        "3. The manifest is signed by the log's key",
        "ssh-keygen takes keys in a form of its own, which is made here from the key of step 2.",
        "work=$(mktemp -d)",
        "{",
        f"  printf 'bundle namespaces=\"{NAMESPACE}\" ssh-ed25519 '",
        "  { printf '\\000\\000\\000\\013ssh-ed25519\\000\\000\\000\\040'",
        '    openssl pkey -pubin -in "$log" -outform DER | tail -c 32; } | base64 -w 0',
        "  echo",
        '} > "$work/allowed_signers"',
        f'ssh-keygen -Y verify -f "$work/allowed_signers" -I bundle -n {NAMESPACE} \\',
        "  -s manifest-sha256.txt.sig < manifest-sha256.txt",
        "echo 3 ok",
    )


def _checkpoint(guide: Guide) -> str:
    origin = guide.facts.origin
    return _section(
        "4. The log's head is signed by the same key",
        "The checkpoint is the log's name, its size and the root of its tree, signed.",
        "head -n 3 data/log/checkpoint | cmp - data/openssl/checkpoint.text",
        f"sed -n 's|^\u2014 {origin} ||p' data/log/checkpoint | base64 -d | tail -c 64 \\",
        "  | cmp - data/openssl/checkpoint.sig",
        f'{_VERIFY} -inkey "$log" -in data/openssl/checkpoint.text -sigfile data/openssl/checkpoint.sig',
        f"test \"$(head -n 1 data/openssl/checkpoint.text)\" = '{origin}'",
        "echo 4 ok",
    )


def _timestamps(guide: Guide) -> str:
    if not guide.timestamps:
        return ""
    heads = [(name, name.rpartition("/")[2].partition("-")[0]) for name in guide.timestamps]
    return _section(
        "8. Since when it exists at the latest, if you trust a timestamp authority",
        "RFC 3161 tokens were given for heads of the log. Set `TSA` to a file with the authority's root certificate.",
        *(
            f'openssl ts -verify -in data/{name} -data data/log/heads/{size} -CAfile "$TSA"\n'
            f"openssl ts -reply -in data/{name} -text | grep 'Time stamp'"
            for name, size in heads
        ),
        "echo 8 ok",
    )


def _entries(guide: Guide) -> str:
    lines = [f"entry {seq} {guide.keys.span(seq + 1).key.key_id}" for seq in guide.entries]
    return _section(
        "5. Every statement is signed, and is in the log",
        "An entry of the log commits to its envelope by a digest with a salt. For each: the envelope is the one\n"
        "committed to; its signature is the log's; and the entry's hash, joined with those of its proof, gives the\n"
        "root of the tree (RFC 9162 2.1.3.2). The signed bytes are DSSE's: type and statement, each after its length.",
        "entry() { # SEQ KEY",
        '  grep -qF "\\"envelopeSha256\\":\\"$(cat "data/envelopes/$1.salt" "data/envelopes/$1.json" \\',
        '    | sha256sum | cut -c 1-64)\\"" "data/openssl/$1.leaf"',
        '  sed \'s/^{"payload":"\\([^"]*\\)".*/\\1/\' "data/envelopes/$1.json" | base64 -d > "$work/payload"',
        '  { printf \'DSSEv1 28 application/vnd.in-toto+json %s \' "$(wc -c < "$work/payload")"',
        '    cat "$work/payload"; } | cmp - "data/openssl/$1.pae"',
        f'  {_VERIFY} -inkey "data/openssl/$2.pem" \\',
        '    -in "data/openssl/$1.pae" -sigfile "data/openssl/$1.sig" > "$work/said"',
        "  at=$1 last=$(($(sed -n 2p data/openssl/checkpoint.text) - 1))",
        '  { printf \'\\000\'; cat "data/openssl/$1.leaf"; } | openssl dgst -sha256 -binary > "$work/node"',
        '  sed \'1,/^index /d;/^$/,$d\' "data/log/proofs/$1.tlog-proof" > "$work/path"',
        "  while read -r sibling; do",
        '    test "$last" -gt 0',
        '    printf %s "$sibling" | base64 -d > "$work/sibling"',
        '    if [ $((at % 2)) = 1 ] || [ "$at" = "$last" ]; then',
        '      { printf \'\\001\'; cat "$work/sibling" "$work/node"; } | openssl dgst -sha256 -binary > "$work/up"',
        '      while [ $((at % 2)) = 0 ] && [ "$at" != 0 ]; do at=$((at / 2)) last=$((last / 2)); done',
        "    else",
        '      { printf \'\\001\'; cat "$work/node" "$work/sibling"; } | openssl dgst -sha256 -binary > "$work/up"',
        "    fi",
        '    mv "$work/up" "$work/node"',
        "    at=$((at / 2)) last=$((last / 2))",
        '  done < "$work/path"',
        '  test "$last" = 0',
        '  sed -n 3p data/openssl/checkpoint.text | base64 -d | cmp - "$work/node"',
        "}",
        *lines,
        'rm -r "$work"',
        "echo 5 ok",
    )


def _artifacts(guide: Guide) -> str:
    facts = guide.facts
    registered = {subject.name for subject in guide.registered}
    lines = [
        'sealed() { grep -qF "\\"digest\\":{\\"$2\\":\\"$3\\"},\\"name\\":\\"$4\\"" "data/openssl/$1.pae"; }',
        'of() { sed -n "s|  $1\\$||p" data/expected.sha256; }',
        'dir() { sed -n "s|  $1/|  |p" data/expected.sha256 | sha256sum | cut -c 1-64; }',
    ]
    for subject in guide.artifacts:
        seq = guide.registration if subject.name in registered else facts.seq
        kind, digest = ("sha256", "of") if subject.digest.kind == "file" else ("dirHash", "dir")
        lines.append(f'sealed {seq} {kind} "$({digest} {subject.name})" {subject.name}')
    hidden = [subject.name for subject in guide.artifacts if hides_artifact(facts.withheld, subject.name)]
    if len(hidden) < len(guide.artifacts) and not facts.light:
        lines.append(f"(cd data && {check('expected.sha256', without(hidden))})")
    return _section(
        "6. The artifacts are those that were sealed",
        f"The seal, entry {facts.seq}, names each artifact with its digest: of a file SHA-256, of a folder the digest\n"
        "of what sha256sum prints for the files in it, sorted by name."
        + (" This is a light bundle: it holds the\ndigests, not the artifacts." if facts.light else "")
        + ("\nOf those that were withheld it holds the digests, not the files." if hidden else ""),
        *lines,
        "echo 6 ok",
    )


def _source(facts: BundleInfo) -> str:
    title = "7. The source is the one that was sealed"
    if "source" in facts.withheld:
        return f"## {title}\n\nThe source was withheld; there is nothing to check.\n"
    return _section(
        title,
        "Code, declarations, inputs and lock file, as they were when the run was sealed.",
        f'sealed {facts.seq} dirHash "$(sha256sum < data/source.sha256 | cut -c 1-64)" source-tree',
        f"(cd data/source && {check('../source.sha256', source_filter(facts))})",
        "echo 7 ok",
    )


def _contents(facts: BundleInfo) -> str:
    withheld = ", ".join(facts.withheld) or "nothing"
    return f"""\
## What is where

| | |
|---|---|
| inputs | `data/source/data/` |
| specification | `data/artifacts/{facts.forecast}/register/spec.json`, as registered; `data/source/params.yaml` |
| registry | `data/source/registry/` |
| frozen prompts, where the forecast has any | `data/source/registry/prompts/` |
| lock file | `data/source/requirements.lock` |
| code | the rest of `data/source/`; its files and their digests are in `data/source.sha256` |
| artifacts | `data/artifacts/{facts.forecast}/`; their files and digests are in `data/expected.sha256` |
| statements | `data/envelopes/`: in-toto statements in DSSE envelopes |
| log | `data/log/`: checkpoint, heads, C2SP tiles with every entry, proofs |
| keys | `data/trust/`: TUF root.json, every version |

Withheld on purpose: {withheld}. Envelopes of other forecasts of the same log are never here: of each the log
holds a digest with a secret salt, which tells nothing.

To run it all again from this folder's contents and compare every byte:
`python -m audit replay FILE.tar --root ROOT.pem`.
"""


def _section(title: str, text: str, *commands: str) -> str:
    lines = "\n".join(commands)
    return f"## {title}\n\n{text}\n\n```sh\n{lines}\n```\n"
