"""What a file of weights may ask of this machine, looked at before anything of it is loaded.

Reading weights runs nothing that stands in the file (`weight_files`). It could still take all memory or never end:
a compressed archive that unpacks to terabytes, an object of so many bytes by a single instruction, keys that are
tuples of tuples of tuples, whose hash takes longer than anybody lives. Weights need none of these.
"""

from __future__ import annotations

import os
import pickletools
import stat
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from transferscope.core.errors import BadInput, shortened

MAX_PICKLE_BYTES = 4 * 2**20
"""Of the pickle in a file by torch.save, in which the tensors' numbers aren't; some hundred bytes a tensor."""
MAX_REPEATED_BYTES = 2**28
"""Tensors that show the same memory again and again may take so much more than there is."""
MAX_HASHED = 10_000
"""Parts of a tuple, with those of its parts."""
PICKLES_IN_A_ROW = 5
"""What torch.save wrote before it wrote archives: magic number, version, machine, content, keys."""
NOT_FOR_WEIGHTS = ("bytearray",)
"""Functions that torch would call, and by which a few bytes in a file become many."""
ENCODE = "encode"
"""The function that makes bytes of text; NumPy's numbers need it, with latin1."""
GROWING_CODECS = frozenset(
    (
        *(
            "base64",
            "bz2",
            "hex",
            "idna",
            "punycode",
            "quopri",
            "quotedprintable",
            "rot13",
            "uu",
            "zip",
            "zlib",
        ),
        *("rawunicodeescape", "unicodeescape", "utf32", "utf32be", "utf32le", "utf7", "u32", "u7"),
        *("backslashreplace", "namereplace", "xmlcharrefreplace"),
    )
)
"""Codecs and ways to treat errors by which text grows, again and again, or which take a quadratic time."""
SAVE_ALONE = "Save the state dict alone, with safetensors.torch.save_file or torch.save."


def check_file(path: Path) -> None:
    """Check that a file can be opened and is not larger than the memory.

    Raises:
        BadInput: no plain file, or too large.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror or error}.") from None
    if not stat.S_ISREG(state.st_mode):
        raise BadInput(f"{path} can't be read: it is no plain file. Give a file of weights.")
    memory = _memory_bytes()
    if state.st_size > memory:
        raise BadInput(
            f"{path} has {state.st_size / 2**30:,.1f} GiB and this machine {memory / 2**30:,.1f} GiB of memory."
        )


def is_archive(path: Path) -> bool:
    """True if a file ends as a zip archive does, damaged ones included: zipfile raises on some of them."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True


def check_archive(path: Path) -> None:
    """Check that a file written by torch.save contains no more than its size suggests.

    Raises:
        BadInput: it is compressed, which torch.save never does; its members overlap; or its pickle does what
            weights don't need. What is damaged is left to torch to say.
    """
    if not is_archive(path):
        with path.open("rb") as file:
            for _ in range(PICKLES_IN_A_ROW):
                if not _check_pickle(file, path):
                    return
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > path.stat().st_size:
                raise BadInput(
                    f"{path} is an archive that unpacks to more than itself, which torch.save writes none of. "
                    f"{SAVE_ALONE}"
                )
            for member in members:
                if member.filename.endswith(".pkl"):
                    with archive.open(member) as file:
                        _check_pickle(file, path)
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile):
        return


def check_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Check that all tensors are plain numbers in memory.

    Raises:
        BadInput: some are of another kind, or much larger than the memory they show.
    """
    strange = [name for name, tensor in tensors.items() if not _is_plain(tensor)]
    if strange:
        names = ", ".join(shortened(name) for name in strange[:5])
        raise BadInput(
            f"{path} holds tensors that aren't plain numbers in memory (sparse, nested, quantized, complex, or without "
            f"content): {names}{' and others' if len(strange) > 5 else ''}. Save dense ones."
        )
    shown = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()
    }
    if shown > sum(storages.values()) + MAX_REPEATED_BYTES:
        raise BadInput(
            f"{path} holds {sum(storages.values()):,} bytes of numbers, which its tensors show as {shown:,}. Save the "
            "tensors with .contiguous()."
        )


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.layout is torch.strided
        and not (tensor.is_meta or tensor.is_quantized or tensor.is_nested or tensor.is_complex())
        and tensor.device.type == "cpu"
    )


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_pickle(file: IO[bytes], path: Path) -> bool:
    """Returns True if there is a pickle; BadInput if it does more than weights need. Nothing in it is executed."""
    start = file.tell()
    sizes, texts = _Sizes(), _Texts()
    try:
        for opcode, argument, place in pickletools.genops(file):
            if (place or 0) - start > MAX_PICKLE_BYTES:
                raise BadInput(
                    f"{path} holds more than {MAX_PICKLE_BYTES:,} bytes beside its tensors. {SAVE_ALONE}"
                )
            if opcode.name == "GLOBAL" and str(argument).rpartition(" ")[2] in NOT_FOR_WEIGHTS:
                raise BadInput(
                    f"{path} was not loaded: it calls {argument}, which weights don't need. {SAVE_ALONE}"
                )
            if texts.follow(opcode.name, argument):
                raise BadInput(
                    f"{path} was not loaded: it encodes text in a way that weights don't need. {SAVE_ALONE}"
                )
            if sizes.follow(opcode, argument) > MAX_HASHED:
                raise BadInput(
                    f"{path} was not loaded: it holds a tuple of more than {MAX_HASHED:,} parts, which weights don't "
                    f"need. {SAVE_ALONE}"
                )
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError):
        return False
    return True


class _Texts:
    """What `ENCODE` could be called with: any text of the pickle, by any codec that it names, as often as it calls."""

    def __init__(self) -> None:
        self._encodes = False
        self._grows = False
        self._longest = 0
        self._calls = 0

    def follow(self, name: str, argument: Any) -> bool:
        """Take one instruction; returns True if all so far could make too many bytes, or take too long."""
        if name == "GLOBAL":
            self._encodes = self._encodes or str(argument).rpartition(" ")[2] == ENCODE
        elif isinstance(argument, str):
            self._longest = max(self._longest, len(argument))
            # codecs ignore all but letters and digits of their names
            letters = "".join(c for c in argument if c.isascii() and c.isalnum()).lower()
            self._grows = self._grows or letters.removesuffix("codec") in GROWING_CODECS
        self._calls += name == "REDUCE"
        return self._encodes and (self._grows or self._longest * self._calls > MAX_REPEATED_BYTES)


class _Sizes:
    """The stack of an unpickler with, instead of each value, the number of parts that its hash would visit.

    `pickletools` says what each instruction takes from the stack and puts on it. Lists, mappings and objects count as
    1: the former have no hash, and an object's is that of its address.
    """

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._marks: list[int] = []
        self._memo: dict[int, int] = {}

    def follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> int:
        """Take one instruction; returns the size of what then lies on top.

        Raises:
            IndexError: the stack, or the stack of marks, is empty.
            KeyError: nothing was stored under this number.
        """
        name = opcode.name
        if name == "MARK":
            self._marks.append(len(self._stack))
        elif name in STORES:
            self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]
        elif name in FETCHES:
            self._stack.append(self._memo[argument])
        else:
            self._stack += [self._made(opcode)] * len(opcode.stack_after)
        return self._stack[-1] if self._stack else 0

    def _made(self, opcode: pickletools.OpcodeInfo) -> int:
        """Take an instruction's values from the stack; returns the size of what it puts there."""
        before = [each.name for each in opcode.stack_before]
        is_marked = "mark" in before
        place = self._marks.pop() - before.index("mark") if is_marked else len(self._stack) - len(before)
        if not 0 <= place <= len(self._stack):
            raise IndexError(place)
        taken = self._stack[place:]
        del self._stack[place:]
        if opcode.name in HASHED_BY_PARTS:
            return 1 + sum(taken)
        return (
            1 if before[:1] == ["mark"] else max([1, *taken[:1]])
        )  # what was changed in place keeps its size


STORES = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
FETCHES = ("GET", "BINGET", "LONG_BINGET")
HASHED_BY_PARTS = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")
