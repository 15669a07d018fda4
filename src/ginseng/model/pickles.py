"""Read pickles of fitted classifiers without executing them.

`pickle.load` calls whatever the file names. Here the opcodes are interpreted instead: the classes of fitted classifiers
become inert records, numbers and arrays are built from their bytes, and anything else is an error. Nothing is imported,
no callable named in the file is called, and the work per opcode is bounded by its size in bytes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ginseng.model.pickle_values import (
    CALLS,
    NAMES,
    RECORDS,
    Array,
    Name,
    PickleError,
    Record,
    Type,
    filled,
    kind_of,
    set_order,
)

#: Maximum file size in bytes; CellTypist's largest model has about 40 million.
MAX_BYTES = 2**30
#: Maximum number of opcodes, objects on the stack (pickle writes lists in batches of 1000) and open marks.
MAX_OPCODES, MAX_STACK, MAX_MARKS = 2_000_000, 4_000, 64
MAX_PROTOCOL = 5
#: Maximum bytes of an integer.
MAX_INTEGER = 16


def is_pickle(path: Path) -> bool:
    """Whether a file starts like a pickle of protocol 2 or later, or has the suffix of a pickle."""
    with path.open("rb") as file:
        head = file.read(2)
    return path.suffix in (".pkl", ".pickle") or (head[:1] == b"\x80" and head[1:] in (b"\2", b"\3", b"\4", b"\5"))


def read_pickle(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return the contents of a pickle: strings, numbers, containers, arrays, and one :class:`Record` per object.

    Raises
    ------
    PickleError
        If the file is damaged, larger than `max_bytes`, or holds anything else.
    """
    if (size := path.stat().st_size) > max_bytes:
        msg = f"{path} has {size:,} bytes, but at most {max_bytes:,} are read; `max_bytes=` sets the limit."
        raise PickleError(msg)
    content = path.read_bytes()
    try:
        return _Machine(content).run()
    except PickleError as error:
        msg = f"{path} is refused: {error}"
        raise PickleError(msg) from None
    except (ValueError, TypeError, OverflowError, LookupError, RecursionError, MemoryError) as error:
        msg = f"{path} is not a readable pickle: {error}"
        raise PickleError(msg) from error


class _Machine:
    """The stack, the memo and the opcodes of one pickle."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        last = ""
        for i, (code, argument, position) in enumerate(pickletools.genops(self.content)):
            name = code.name
            if i >= MAX_OPCODES:
                self._refuse(f"it has over {MAX_OPCODES:,} opcodes")
            if name == "STOP":
                if len(self.stack) != 1 or self.marks:
                    self._refuse("it is incomplete")
                if (position or 0) + 1 != len(self.content):
                    self._refuse("data follow its end")
                return self._checked(self.stack[0])
            if (act := _ACTS.get(name)) is None:
                self._refuse(f"it has the opcode {name}, which no fitted classifier needs")
            if name in _PUTS and last in _PUTS:
                self._refuse("it memoises one object several times")
            act(self, argument, position or 0)
            if len(self.stack) > MAX_STACK:
                self._refuse(f"it puts over {MAX_STACK:,} objects on the stack")
            last = name
        self._refuse("it has no STOP opcode")

    @staticmethod
    def _refuse(what: str) -> NoReturn:
        raise PickleError(what)

    # the stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            self._refuse("it pops from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def mark(self) -> None:
        if len(self.marks) >= MAX_MARKS:
            self._refuse(f"it has over {MAX_MARKS} open marks")
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        if not self.marks:
            self._refuse("a mark is missing")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    # containers

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            self._refuse(f"it appends to {kind_of(target)}")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if type(target) is not dict:
            self._refuse(f"it sets items of {kind_of(target)}")
        target.update(self._pairs(values))

    def _pairs(self, values: list[Any]) -> dict[str, Any]:
        if len(values) % 2 or any(type(key) is not str for key in values[::2]):
            self._refuse("it has a dict with keys other than strings")
        return dict(zip(values[::2], values[1::2], strict=True))

    # the memo

    def put(self, number: int) -> None:
        if number < 0 or number > len(self.memo) + 1:  # numbered in sequence: from 0 by Python, from 1 by others
            self._refuse(f"it memoises an object as number {number} after {len(self.memo)} others")
        self.memo[number] = self.top()

    def get(self, number: int) -> None:
        if number not in self.memo:
            self._refuse(f"it reads memo {number}, which is empty")
        self.push(self.memo[number])

    # objects

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            self._refuse("it refers to a name that is not a string")
        if module not in NAMES.get(name, ()):
            shown = f"{module}.{name}"[:100]
            self._refuse(f"it refers to {shown!r}; only fitted classifiers and arrays are accepted")
        self.push(Name(module, name))

    def new(self, cls: Any, arguments: Any) -> None:
        """Create an instance, like `cls.__new__(cls, *arguments)`."""
        if not isinstance(cls, Name) or cls.name not in RECORDS:
            self._refuse(f"it creates an instance of {kind_of(cls)}")
        if arguments != ():
            self._refuse(f"it creates a {cls} with arguments")
        self.push(Record(cls))

    def reduce(self, called: Any, arguments: Any) -> None:
        """Replace the call of a known function."""
        if not isinstance(called, Name) or (make := CALLS.get(called.name)) is None:
            self._refuse(f"it calls {kind_of(called)}")
        if type(arguments) is not tuple:
            self._refuse(f"it calls {called} with {kind_of(arguments)}")
        self.push(make(*arguments))

    def build(self, state: Any) -> None:
        """Set the state of an object."""
        target = self.top()
        if isinstance(target, Record):
            if type(state) is not dict or target.attributes:
                self._refuse(f"it sets the state of {target.name} to {kind_of(state)}, or sets it twice")
            target.attributes = dict(state)
        elif isinstance(target, Type):
            set_order(target, state)
        elif isinstance(target, Array):
            if target.values is not None:
                self._refuse("it sets the contents of an array twice")
            target.values = filled(state)
        else:
            self._refuse(f"it sets the state of {kind_of(target)}")

    def protocol(self, number: int) -> None:
        if number > MAX_PROTOCOL:
            self._refuse(f"its protocol is {number}, but the latest supported one is {MAX_PROTOCOL}")

    def frame(self, length: int, position: int) -> None:
        if length > len(self.content) - position - 9:
            self._refuse(f"it has fewer than the {length:,} bytes of its frame")

    # the result

    def _checked(self, value: Any) -> Any:
        """Replace the placeholders of arrays; each object is visited once, however often it is referred to."""
        seen: set[int] = set()
        waiting = [value]
        while waiting:
            found = waiting.pop()
            inside = found.attributes if isinstance(found, Record) else found
            if type(inside) not in (dict, list) or id(inside) in seen:
                continue
            seen.add(id(inside))
            for key, item in list(inside.items() if isinstance(inside, dict) else enumerate(inside)):
                inside[key] = item = item.values if isinstance(item, Array) else item
                waiting.append(item)
        return value.values if isinstance(value, Array) else value


_PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_LITERALS = ["FLOAT", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE",
             "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"]  # fmt: skip


def _integer(machine: _Machine, argument: Any, _: int) -> None:
    if not isinstance(argument, bool) and argument.bit_length() > 8 * MAX_INTEGER:
        machine._refuse(f"it has an integer of over {MAX_INTEGER} bytes")
    machine.push(argument)


def _reduce(machine: _Machine, *_: Any) -> None:
    arguments = machine.pop()
    machine.reduce(machine.pop(), arguments)


def _new(machine: _Machine, *_: Any) -> None:
    arguments = machine.pop()
    machine.new(machine.pop(), arguments)


def _stack_global(machine: _Machine, *_: Any) -> None:
    name = machine.pop()
    machine.name(machine.pop(), name)


def _set_item(machine: _Machine, *_: Any) -> None:
    value = machine.pop()
    machine.set_items([machine.pop(), value])


def _tuple(n: int) -> Callable[..., None]:
    return lambda machine, *_: machine.push(tuple([machine.pop() for _ in range(n)][::-1]))


#: Action per opcode; all other opcodes are refused.
_ACTS: dict[str, Callable[[_Machine, Any, int], None]] = {
    "PROTO": lambda machine, number, _: machine.protocol(number),
    "FRAME": lambda machine, length, position: machine.frame(length, position),
    "MARK": lambda machine, *_: machine.mark(),
    **dict.fromkeys(["INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"], _integer),
    **dict.fromkeys(_LITERALS, lambda machine, argument, _: machine.push(argument)),
    "BYTEARRAY8": lambda machine, argument, _: machine.push(bytes(argument)),
    "NONE": lambda machine, *_: machine.push(None),
    "NEWTRUE": lambda machine, *_: machine.push(True),
    "NEWFALSE": lambda machine, *_: machine.push(False),
    "EMPTY_LIST": lambda machine, *_: machine.push([]),
    "EMPTY_DICT": lambda machine, *_: machine.push({}),
    "EMPTY_TUPLE": lambda machine, *_: machine.push(()),
    "LIST": lambda machine, *_: machine.push(machine.since_mark()),
    "DICT": lambda machine, *_: machine.push(machine._pairs(machine.since_mark())),
    "TUPLE": lambda machine, *_: machine.push(tuple(machine.since_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": lambda machine, *_: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, *_: machine.extend(machine.since_mark()),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, *_: machine.set_items(machine.since_mark()),
    **dict.fromkeys(["PUT", "BINPUT", "LONG_BINPUT"], lambda machine, number, _: machine.put(number)),
    "MEMOIZE": lambda machine, *_: machine.put(len(machine.memo)),
    **dict.fromkeys(["GET", "BINGET", "LONG_BINGET"], lambda machine, number, _: machine.get(number)),
    "GLOBAL": lambda machine, argument, _: machine.name(*argument.split(" ", 1)),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _new,
    "BUILD": lambda machine, *_: machine.build(machine.pop()),
}
