"""The frozen values that travel between the parts, made without the standard library's cost.

Its decorator writes six functions for every class and compiles them when the class is made. A command imports some two
hundred such classes and uses a part of them, and that was a third of the time of a short one. Here five of the six are
shared by all classes, and the constructor is compiled when the first value is made. What comes out is a dataclass to
everybody who asks: `replace`, `fields`, type checkers, other libraries.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool = False, slots: bool = False, kw_only: bool = False) -> Callable[[type], type]:
        """The standard library's decorator; the quick way is for values, which are frozen and have slots."""
        if frozen and slots:
            return lambda cls: _value(cls, kw_only=kw_only)
        return dataclasses.dataclass(frozen=frozen, slots=slots, kw_only=kw_only)


_NOT_GIVEN = object()


def _value(cls: type, *, kw_only: bool) -> type:
    cls.__doc__ = cls.__doc__ or cls.__name__  # it would else be made of the signature, which costs most of the rest
    plain: Any = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
    names = tuple(each.name for each in dataclasses.fields(plain))
    taken = {name for base in cls.__mro__[1:] for name in getattr(base, "__slots__", ())}
    # Slots are laid out when a class is made, so it is made once more; a default would stand in the slot's place.
    body = {name: value for name, value in vars(plain).items() if name not in (*names, "__dict__", "__weakref__")}
    methods = {"__init__": _init, "__repr__": _repr, "__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse}
    kept = {name: method for name, method in methods.items() if name not in vars(cls)}
    slots = tuple(name for name in names if name not in taken)
    return type(cls)(
        cls.__name__,
        cls.__bases__,
        {**body, "__eq__": _eq, **kept, "__slots__": slots, "__qualname__": cls.__qualname__},
    )


def _init(self: Any, *args: Any, **given: Any) -> None:
    """Stands in every class until its first value is made."""
    owner: Any = next(each for each in type(self).__mro__ if vars(each).get("__init__") is _init)
    owner.__init__ = constructor = _constructor(owner)
    constructor(self, *args, **given)


def _constructor(cls: Any) -> Callable[..., None]:
    """The constructor of a class: its source has the names of fields in it, and nothing that came from outside."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_not_given": _NOT_GIVEN}
    parameters = ["self"]
    lines = ["pass"]
    fields = sorted(dataclasses.fields(cls), key=lambda each: bool(each.kw_only))
    for each in fields:
        if each.kw_only and "*" not in parameters:
            parameters.append("*")
        value = each.name
        if each.default_factory is not dataclasses.MISSING:
            known[f"_make_{each.name}"] = each.default_factory
            value = f"_make_{each.name}() if {each.name} is _not_given else {each.name}"
            parameters.append(f"{each.name}=_not_given")
        elif each.default is not dataclasses.MISSING:
            known[f"_default_{each.name}"] = each.default
            parameters.append(f"{each.name}=_default_{each.name}")
        else:
            parameters.append(each.name)
        lines.append(f"_set(self, {each.name!r}, {value})")
    source = f"def __init__({', '.join(parameters)}):\n  " + "\n  ".join(lines)
    exec(source, known)  # noqa: S102  (as the standard library does it)
    return known["__init__"]  # type: ignore[no-any-return]


def _content(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self.__dataclass_fields__])


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> bool:
    return _content(self) == _content(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_content(self))


def _refuse(self: Any, name: str, *_: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")
