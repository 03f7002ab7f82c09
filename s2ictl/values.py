"""The values that travel between the parts, made without the standard library's cost.

Its decorator describes every field of a class, writes six functions and compiles them, all when the class is made. A
command imports some two hundred such classes, makes one or two values of most and asks for the fields of a few; that
was a third of the time of a short one. Here five of the six are shared by all classes, the constructor is compiled for
those of which many values are made, and the standard library describes the fields when somebody asks for them. What
comes out is a dataclass to everybody who asks: `replace`, `fields`, type checkers, other libraries.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool = False, slots: bool = False, kw_only: bool = False) -> Callable[[type], type]:
        """The standard library's decorator; the quick way is for what is whole with its slots."""

        def made(cls: type) -> type:
            if slots and not hasattr(cls, "__post_init__"):
                return _value(cls, frozen=frozen, kw_only=kw_only)
            return dataclasses.dataclass(frozen=frozen, slots=slots, kw_only=kw_only)(cls)

        return made


_FEW = 16  # values of a class are made by hand in less time than its constructor is compiled
_NOT_GIVEN = object()
_set = object.__setattr__


def _value(cls: type, *, frozen: bool, kw_only: bool) -> type:
    cls.__doc__ = cls.__doc__ or cls.__name__  # it would else be made of the signature, which costs most of the rest
    plain = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    shape = _Shape(cls, kw_only=kw_only)
    # Slots are laid out when a class is made, so it is made once more; a default would stand in the slot's place.
    body = {name: value for name, value in plain.items() if name not in shape.names}
    taken = {name for base in cls.__mro__[1:] for name in getattr(base, "__slots__", ())}
    ours = {
        "__eq__": _eq,
        "__dataclass_fields__": _Fields(plain, kw_only=kw_only),
        "__match_args__": shape.positional,
        "__qualname__": cls.__qualname__,
        "__shape__": shape,
        "__slots__": tuple(name for name in shape.names if name not in taken),
    }
    return type(cls)(cls.__name__, cls.__bases__, {**(_FROZEN if frozen else _OPEN), **body, **ours})


class _Shape:
    """What a class and those above it say of their fields, as far as values are made of it."""

    __slots__ = ("defaults", "factories", "made", "names", "positional", "required")

    def __init__(self, cls: type, *, kw_only: bool) -> None:
        above = getattr(cls, "__shape__", None)
        self.made = 0
        self.defaults: dict[str, Any] = dict(above.defaults) if above else {}
        self.factories: dict[str, Callable[[], Any]] = dict(above.factories) if above else {}
        own = cls.__annotations__
        for name in own:
            self._begin(name, vars(cls).get(name, dataclasses.MISSING))
        self.names: dict[str, None] = dict.fromkeys((*above.names, *own) if above else own)
        self.positional = (*(above.positional if above else ()), *(() if kw_only else own))
        self.required = self.names.keys() - self.defaults.keys() - self.factories.keys()

    def _begin(self, name: str, said: Any) -> None:
        """How a field begins that is not given: as the class body says it, or as it says it through `field`."""
        is_field = isinstance(said, dataclasses.Field)
        default = said.default if is_field else said
        factory = said.default_factory if is_field else dataclasses.MISSING
        for known, value in ((self.defaults, default), (self.factories, factory)):
            known.pop(name, None)
            if value is not dataclasses.MISSING:
                known[name] = value


class _Fields:
    """Stands in every class until its fields are asked for: by then the standard library has to describe them."""

    __slots__ = ("_kw_only", "_owner", "_plain")

    def __init__(self, plain: dict[str, Any], *, kw_only: bool) -> None:
        self._plain, self._kw_only = plain, kw_only

    def __set_name__(self, owner: Any, _name: str) -> None:
        self._owner = owner

    def __get__(self, _value: object, _cls: type) -> Any:
        owner = self._owner
        plain: Any = type(owner)(owner.__name__, owner.__bases__, self._plain)
        dataclasses.dataclass(init=False, repr=False, eq=False, match_args=False, kw_only=self._kw_only)(plain)
        owner.__dataclass_params__ = plain.__dataclass_params__
        owner.__dataclass_fields__ = plain.__dataclass_fields__
        return owner.__dataclass_fields__


def _init(self: Any, *args: Any, **given: Any) -> None:
    """Stands in every class until more than a few values are made."""
    owner: Any = next(each for each in type(self).__mro__ if vars(each).get("__init__") is _init)
    shape: _Shape = owner.__shape__
    shape.made += 1
    is_whole = shape.required <= given.keys() <= shape.names.keys()
    if args or shape.made > _FEW or not is_whole:  # a compiled constructor also says best what is wrong
        owner.__init__ = constructor = _constructor(shape)
        constructor(self, *args, **given)
        return
    for name, value in (shape.defaults | given).items():
        _set(self, name, value)
    for name, make in shape.factories.items():
        if name not in given:
            _set(self, name, make())


def _constructor(shape: _Shape) -> Callable[..., None]:
    """The constructor of a class: its source has the names of fields in it, and nothing that came from outside."""
    known: dict[str, Any] = {"_set": _set, "_not_given": _NOT_GIVEN}
    parameters = ["self"]
    lines = ["pass"]
    by_name = [name for name in shape.names if name not in shape.positional]
    for name in (*shape.positional, *by_name):
        if name in by_name and "*" not in parameters:
            parameters.append("*")
        value = name
        if name in shape.factories:
            known[f"_make_{name}"] = shape.factories[name]
            value = f"_make_{name}() if {name} is _not_given else {name}"
            parameters.append(f"{name}=_not_given")
        elif name in shape.defaults:
            known[f"_default_{name}"] = shape.defaults[name]
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        lines.append(f"_set(self, {name!r}, {value})")
    source = f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines)
    exec(source, known)  # noqa: S102  (as the standard library does it)
    return known["__init__"]  # type: ignore[no-any-return]


def _content(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self.__shape__.names])


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__shape__.names)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> bool:
    return _content(self) == _content(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_content(self))


def _refuse(self: Any, name: str, *_: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")


_OPEN: dict[str, Any] = {"__init__": _init, "__repr__": _repr, "__hash__": None}
_FROZEN = {**_OPEN, "__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse}
