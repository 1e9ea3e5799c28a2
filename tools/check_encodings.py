"""Checks that no object file of the build can hurt a processor without its instruction set.

    python tools/check_encodings.py BUILD_FOLDER

One library serves every processor, so each object file may hold only the instructions of the instruction set that its
name declares (`x86_avx2.cc`, `u8_arm64_neondot.cc`; any other name is portable code), by the table cmake/isa.cmake.
Besides, an object of an instruction set

* defines no weak symbol: the linker keeps one of several equal templates or inline functions for everybody, and that
  one may have been compiled here;
* defines external symbols only under names that contain its instruction set (`TileF32Avx2`): those the registry calls
  after asking the processor;
* has no dynamic initialiser, which would run before anybody asked.

Prints one line a finding; exits with 1 if there are any, with 2 if there was nothing to check.
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
X86, ARM64 = 0x3E, 0xB7  # e_machine of the ELF header
TOOL_PREFIXES = {X86: ("x86_64-linux-gnu-", ""), ARM64: ("aarch64-linux-gnu-", "")}

# The compiler flag (without -m, or the +feature of -march) that an instruction needs: the first row that matches its
# encoding and mnemonic decides. Instructions that no flag of ours enables have rows too: they are foreign everywhere.
X86_RULES: tuple[tuple[str, str, str], ...] = (
    ("amx-int8", "vex", r"tdpb(ss|su|us|uu)d"),
    ("amx-bf16", "vex", r"tdpbf16ps"),
    ("amx-tile", "vex", r"tile\w+|ldtilecfg|sttilecfg|tdp\w+"),
    ("avxvnni", "vex", r"vpdp(busd|busds|wssd|wssds)"),
    ("avxvnniint8", "vex", r"vpdp\w+"),
    ("fma", "vex", r"vfn?m(add|sub|addsub|subadd)\w+"),
    ("f16c", "vex", r"vcvtph2ps|vcvtps2ph"),
    ("bmi2", "vex", r"bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx"),
    ("bmi", "vex", r"andn|bextr|bls(i|r|msk)"),
    ("vaes", "vex|evex", r"vaes\w+"),
    ("vpclmulqdq", "vex|evex", r"vpclmul\w+"),
    ("gfni", "vex|evex", r"vgf2p8\w+"),
    ("avx512f", "vex", r"k(add|and|andn|mov|not|or|ortest|shiftl|shiftr|test|unpck\w\w|xnor|xor)[bwdq]"),
    ("avx2", "vex", r".*"),
    ("avx512vnni", "evex", r"vpdp(busd|busds|wssd|wssds)"),
    ("avx512bf16", "evex", r"vcvtne2?ps2bf16|vdpbf16ps"),
    ("avx512vbmi2", "evex", r"vp(compress|expand)[bw]|vpsh[lr]dv?[wdq]"),
    ("avx512vbmi", "evex", r"vperm(b|i2b|t2b)|vpmultishiftqb"),
    ("avx512bitalg", "evex", r"vpopcnt[bw]|vpshufbitqmb"),
    ("avx512vpopcntdq", "evex", r"vpopcnt[dq]"),
    ("avx512ifma", "evex", r"vpmadd52\w+"),
    ("avx512fp16", "evex", r"v(?!cvtph2ps|cvtps2ph)\w+(ph|sh)"),
    ("avx512f", "evex", r".*"),
    ("lzcnt", "legacy", r"lzcnt"),
    ("sse4.2", "legacy", r"popcnt|crc32\w*|pcmp(gtq|estri|estrm|istri|istrm)"),
    ("sse4.2", "sse4", r".*"),
)
ARM64_RULES: tuple[tuple[str, str, str], ...] = (
    ("i8mm", "arm", r"[su]mmla|usmmla|usdot|sudot"),
    ("dotprod", "arm", r"[su]dot"),
    ("bf16", "arm", r"bf(dot|mmla|mlal[bt])"),
    ("sve", "arm", r"ptrue|whilelo|ld1[bhwd]"),
)
X86_IMPLIED = {"avx2": "sse4.2"}  # what a flag brings with it

# Portable functions that ask the processor themselves before they use an instruction: (source, feature).
GUARDED = {("csrc/base/memory.cc", "sse4.2")}


@dataclass(frozen=True)
class Isa:
    """What the name of a source declares: `name` (empty: portable) and the features its flags enable."""

    name: str
    features: frozenset[str]


def read_flags(table: Path) -> dict[str, frozenset[str]]:
    """cmake/isa.cmake as a mapping from `x86_avx2` to the features {'avx2', 'fma', ...} that its flags enable."""
    flags: dict[str, list[str]] = {}
    for key, value in re.findall(r"set\(PLANISH_FLAGS_(\w+)\s+([^)]*)\)", table.read_text()):
        expanded = re.sub(r"\$\{PLANISH_FLAGS_(\w+)\}", lambda m: " ".join(flags[m[1]]), value)
        flags[key] = expanded.split()
    return {key: frozenset(features_of(words)) for key, words in flags.items()}


def features_of(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word.startswith("-march="):
            yield from word.split("+")[1:]
        elif word.startswith("-m"):
            feature = word[2:]
            yield feature
            if feature in X86_IMPLIED:
                yield X86_IMPLIED[feature]


def isa_of(source: str, flags: dict[str, frozenset[str]]) -> Isa:
    """The instruction set of a source or object file, by the ending of its name."""
    match = re.search(r"(?:^|[/_])((x86|arm64)_([a-z0-9]+))\.cc", source)
    return Isa(match[3], flags[match[1]]) if match else Isa("", frozenset())


def machine_of(path: Path) -> int:
    with path.open("rb") as file:
        header = file.read(20)
    return int(struct.unpack_from("<H", header, 18)[0]) if header[:4] == b"\x7fELF" else 0


def output_of(tool: str, machine: int, *arguments: str) -> str:
    """What a tool of binutils prints, that of the object's architecture where there is one."""
    for prefix in TOOL_PREFIXES[machine]:
        try:
            return subprocess.run([prefix + tool, *arguments], capture_output=True, text=True, check=True).stdout
        except FileNotFoundError:
            continue
    raise SystemExit(f"check_encodings: {tool} is not installed; install binutils")


def encoding_of(code: bytes) -> str:
    """`vex`, `evex`, `sse4` (legacy prefixes, opcode maps 0F38 and 0F3A) or `legacy` of one x86-64 instruction."""
    prefixes = b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3"
    at = 0
    while at < len(code) - 1 and code[at] in prefixes:
        at += 1
    if code[at] in (0xC4, 0xC5):
        return "vex"
    if code[at] == 0x62:
        return "evex"
    if code[at] & 0xF0 == 0x40:  # REX
        at += 1
    return "sse4" if code[at : at + 2] in (b"\x0f\x38", b"\x0f\x3a") else "legacy"


def instructions(machine: int, listing: str) -> Iterator[tuple[str, str, str]]:
    """(function, encoding, mnemonic) of every line of `objdump -d -w`."""
    function = ""
    for line in listing.splitlines():
        if line.endswith(">:"):
            function = line[line.index("<") + 1 : -2]
            continue
        columns = line.split("\t")
        if len(columns) < 3:
            continue
        words = [w for w in columns[2].split() if not w.startswith("{")]
        while len(words) > 1 and words[0] in ("rep", "repz", "repnz", "lock", "data16", "notrack", "bnd", "addr32"):
            del words[0]
        if words:
            encoding = encoding_of(bytes.fromhex(columns[1])) if machine == X86 else "arm"
            yield function, encoding, words[0]


def needed(machine: int, encoding: str, mnemonic: str) -> str | None:
    """The feature an instruction needs beyond the architecture's baseline, or None."""
    for feature, encodings, pattern in X86_RULES if machine == X86 else ARM64_RULES:
        if encoding in encodings.split("|") and re.fullmatch(pattern, mnemonic):
            return feature
    return None


def check_instructions(path: Path, source: str, isa: Isa, machine: int) -> Iterator[str]:
    """One finding a foreign feature and function."""
    known: dict[tuple[str, str], str | None] = {}
    found: set[tuple[str, str]] = set()
    listing = output_of("objdump", machine, "-d", "-w", str(path))
    for function, encoding, mnemonic in instructions(machine, listing):
        key = (encoding, mnemonic)
        if key not in known:
            known[key] = needed(machine, *key)
        feature = known[key]
        if feature is None or feature in isa.features or (source, feature) in GUARDED or (feature, function) in found:
            continue
        found.add((feature, function))
        yield f"{source}: {mnemonic} in {function} needs {feature}, which {isa.name or 'portable code'} does not have"


def named_isa(symbol: str, isas: Iterable[str]) -> str:
    """The longest name of an instruction set in the last component of a demangled symbol, or an empty string."""
    plain = re.sub(r"[(\[].*", "", symbol).rsplit("::", 1)[-1].lower().replace("_", "")
    return max((isa for isa in isas if isa in plain), key=len, default="")


def check_symbols(path: Path, source: str, isa: Isa, machine: int, isas: Iterable[str]) -> Iterator[str]:
    """Weak and unexpected external symbols of an object of an instruction set."""
    for line in output_of("nm", machine, "--defined-only", "-C", "-P", str(path)).splitlines():
        match = re.fullmatch(r"(.+?) ([A-Za-z]) [0-9a-f]+ ?[0-9a-f]*", line)
        if not match:
            continue
        name, kind = match[1], match[2]
        if kind in "WVu":
            yield f"{source}: weak symbol {name}; the linker may keep this copy for every processor, make it static"
        elif kind in "TDBRGSC" and named_isa(name, isas) != isa.name:
            yield f"{source}: external symbol {name}; its name does not tell {isa.name}, make it static"


def check_initialisers(path: Path, source: str, machine: int) -> Iterator[str]:
    for line in output_of("objdump", machine, "-h", str(path)).splitlines():
        if re.search(r"\s\.(init_array|ctors)\S*\s", line):
            yield f"{source}: has a dynamic initialiser, which runs before the processor is asked; make it constant"


def check_object(path: Path, source: str, flags: dict[str, frozenset[str]]) -> Iterator[str]:
    """All findings of one object file; `source` is its source's path from the root, as far as the build tells."""
    machine = machine_of(path)
    if machine not in TOOL_PREFIXES:
        yield f"{source}: not an ELF object for x86-64 or aarch64"
        return
    isa = isa_of(source, flags)
    yield from check_instructions(path, source, isa, machine)
    if isa.name:
        yield from check_symbols(path, source, isa, machine, [key.split("_")[1] for key in flags])
        yield from check_initialisers(path, source, machine)


def source_of(path: Path) -> str:
    """`csrc/base/isa.cc` of `…/csrc/CMakeFiles/planish_native.dir/base/isa.cc.o`."""
    return re.sub(r"^.*/csrc/CMakeFiles/[^/]+\.dir/", "csrc/", str(path)).removesuffix(".o")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="a folder in which CMake has built planish")
    build: Path = parser.parse_args().build
    flags = read_flags(ROOT / "cmake" / "isa.cmake")
    objects = sorted(p for p in build.rglob("csrc/CMakeFiles/*.dir/**/*.cc.o") if "tests" not in p.parts)
    if not objects:
        print(f"check_encodings: no object files below {build}; build first", file=sys.stderr)
        return 2
    findings = [f for path in objects for f in check_object(path, source_of(path), flags)]
    for finding in findings:
        print(finding)
    names = sorted({isa_of(source_of(p), flags).name or "portable" for p in objects})
    print(f"check_encodings: {len(objects)} objects ({', '.join(names)}), {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
