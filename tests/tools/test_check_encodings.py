"""tools/check_encodings.py finds what it is there to find: one assembled snippet a hazard."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the snippets are x86-64 assembly"),
    pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("objdump")), reason="needs gcc and objdump"),
]


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_encodings", ROOT / "tools" / "check_encodings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


Check = Callable[[str, str], list[str]]


@pytest.fixture
def check(checker: ModuleType, tmp_path: Path) -> Check:
    """check(source name, assembly): the findings of the assembled object."""

    def run(source: str, assembly: str) -> list[str]:
        path = tmp_path / "snippet.o"
        subprocess.run(["gcc", "-x", "assembler", "-c", "-o", path, "-"], input=assembly, text=True, check=True)
        return list(checker.check_object(path, source, checker.read_flags(ROOT / "cmake" / "isa.cmake")))

    return run


FOREIGN = [
    ("portable.cc", "vaddps %xmm0, %xmm1, %xmm2", "avx2"),
    ("portable.cc", "vpxord %zmm0, %zmm1, %zmm2", "avx512f"),
    ("portable.cc", "pshufb %xmm0, %xmm1", "sse4.2"),
    ("portable.cc", "popcnt %rax, %rbx", "sse4.2"),
    ("portable.cc", "shlx %rax, %rbx, %rcx", "bmi2"),
    ("x86_avx2.cc", "vmovups %ymm16, %ymm1", "avx512f"),
    ("x86_avx2.cc", "vpternlogd $1, %ymm0, %ymm1, %ymm2", "avx512f"),
    ("x86_avx2.cc", "kmovw %eax, %k1", "avx512f"),
    ("x86_avx2.cc", "{vex} vpdpbusd %ymm0, %ymm1, %ymm2", "avxvnni"),
    ("x86_avx2.cc", "lzcnt %rax, %rbx", "lzcnt"),
    ("x86_avxvnni.cc", "{evex} vpdpbusd %ymm0, %ymm1, %ymm2", "avx512vnni"),
    ("x86_avx512.cc", "vpdpbusd %zmm0, %zmm1, %zmm2", "avx512vnni"),
    ("x86_avx512vnni.cc", "vpermb %zmm0, %zmm1, %zmm2", "avx512vbmi"),
    ("x86_avx512vnni.cc", "vpermi2b %zmm0, %zmm1, %zmm2", "avx512vbmi"),
    ("x86_avx512vnni.cc", "vpmultishiftqb %zmm0, %zmm1, %zmm2", "avx512vbmi"),
    ("x86_avx512vnni.cc", "vpcompressb %zmm0, %zmm1{%k1}", "avx512vbmi2"),
    ("x86_avx512vnni.cc", "vpexpandw %zmm0, %zmm1{%k1}", "avx512vbmi2"),
    ("x86_avx512vnni.cc", "vdpbf16ps %zmm0, %zmm1, %zmm2", "avx512bf16"),
    ("x86_avx512vbmi.cc", "tilezero %tmm0", "amx-tile"),
    ("x86_avx512vbmi.cc", "vpopcntb %zmm0, %zmm1", "avx512bitalg"),
    ("x86_amx.cc", "vaddph %zmm0, %zmm1, %zmm2", "avx512fp16"),
]


@pytest.mark.parametrize(("source", "instruction", "feature"), FOREIGN)
def test_foreign_instructions_are_found(check: Check, source: str, instruction: str, feature: str) -> None:
    (finding,) = check(f"csrc/kernels/{source}", f"work:\n{instruction}\n")
    assert f"in work needs {feature}," in finding


OWN = [
    (
        "portable.cc",
        "addps %xmm0, %xmm1\nimul %rax, %rbx\nrep bsf %rax, %rbx\n.byte 0xf3, 0x0f, 0x1e, 0xfa\nlock xadd %rax, (%rdi)",
    ),
    (
        "x86_avx2.cc",
        "vfmadd231ps %ymm0, %ymm1, %ymm2\nvcvtph2ps %xmm0, %ymm1\nvpmaddubsw %ymm0, %ymm1, %ymm2\nandn %eax, %ebx, "
        "%ecx",
    ),
    ("x86_avxvnni.cc", "{vex} vpdpbusd %ymm0, %ymm1, %ymm2"),
    (
        "x86_avx512.cc",
        "vcvtps2ph $0, %zmm0, %ymm1\nvpcompressd %zmm0, %zmm1{%k1}\nkmovq %rax, %k2\nvpermw %zmm0, %zmm1, %zmm2",
    ),
    ("x86_avx512vnni.cc", "vpdpbusd %zmm0, %zmm1, %zmm2\nvmovups (%rax), %zmm31{%k1}{z}"),
    (
        "gemm/u8s8_x86_amx.cc",
        "tdpbusd %tmm0, %tmm1, %tmm2\ntdpbf16ps %tmm0, %tmm1, %tmm2\nldtilecfg (%rax)\nvpermb %zmm0, %zmm1, %zmm2",
    ),
]


@pytest.mark.parametrize(("source", "instructions"), OWN, ids=[source for source, _ in OWN])
def test_own_instructions_pass(check: Check, source: str, instructions: str) -> None:
    assert check(f"csrc/kernels/{source}", f"work:\n{instructions}\n") == []


def test_a_guarded_use_is_allowed_in_its_own_file_only(check: Check) -> None:
    assert check("csrc/base/memory.cc", "crc32q %rax, %rbx\n") == []
    assert len(check("csrc/base/check.cc", "crc32q %rax, %rbx\n")) == 1


def test_weak_symbols_of_an_instruction_set_are_found(check: Check) -> None:
    assembly = ".weak _ZSt3maxIlERKT_S2_S2_\n_ZSt3maxIlERKT_S2_S2_:\nret\n"
    (finding,) = check("csrc/kernels/x86_avx2.cc", assembly)
    assert "weak symbol" in finding
    assert check("csrc/kernels/portable.cc", assembly) == []


@pytest.mark.parametrize(("symbol", "allowed"), [("TileAvx2", True), ("TileAvx512Vnni", True), ("TileScalar", False)])
def test_external_symbols_tell_their_instruction_set(check: Check, symbol: str, allowed: bool) -> None:
    source = "x86_avx512vnni.cc" if symbol == "TileAvx512Vnni" else "x86_avx2.cc"
    findings = check(f"csrc/kernels/{source}", f".globl {symbol}\n{symbol}:\nret\n")
    assert ["external symbol" in f for f in findings] == ([] if allowed else [True])


def test_a_longer_instruction_set_is_another_one(check: Check) -> None:
    (finding,) = check("csrc/kernels/x86_avx512.cc", ".globl TileAvx512Vnni\nTileAvx512Vnni:\nret\n")
    assert "does not tell avx512," in finding


def test_dynamic_initialisers_are_found(check: Check) -> None:
    assembly = '.section .init_array,"aw"\n.quad 0\n'
    (finding,) = check("csrc/kernels/x86_avx512.cc", assembly)
    assert "dynamic initialiser" in finding
    assert check("csrc/kernels/portable.cc", assembly) == []


def test_an_empty_build_is_not_a_pass(checker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["check_encodings.py", str(tmp_path)])
    assert checker.main() == 2
