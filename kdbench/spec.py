"""Typed specifications: what to distil, how to measure it, what it may cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=64)]
DataName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*(:[A-Za-z0-9][A-Za-z0-9._+-]*(@[0-9]+)?)?$", max_length=128)
]
"""``NAME``, or ``KIND:WHICH`` such as ``imagefolder:flowers@32``, or ``file.py:NAME`` in the current folder."""

Option = bool | int | float | str | list[int] | list[float] | list[str]
Options = dict[str, Option]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, le=3600)]

TEACHER = "teacher"
"""The method name of a teacher's own rows."""


class Spec(BaseModel):
    """A frozen table of a suite; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False)


class Pair(Spec):
    """Who teaches whom on which data.

    ``student_recipe`` replaces keys of the suite's recipe for the student. Of each class only ``labelled`` training
    items have their labels (0: all); methods that need no labels learn from the others too. A student may ``start``
    from the weights that ``scratch`` of the same seed ends with, instead of fresh ones.
    """

    teacher: Name
    student: Name
    data: DataName
    teacher_options: Options = {}
    student_options: Options = {}
    student_recipe: Options = {}
    labelled: Annotated[int, Field(ge=0)] = 0
    start: Literal["fresh", "scratch"] = "fresh"
    name: Name = ""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, dict) and {"teacher", "student"} <= value.keys():
            value.setdefault("name", f"{value['teacher']}-{value['student']}")
        return value

    @property
    def id(self) -> str:
        """The pair as case ids and tables show it: ``DATA:NAME``."""
        return f"{self.data}:{self.name}"


class Recipe(Spec):
    """Everything of training that decides bits. ``reference`` recipes copy the literature, ``fast`` ones are ours."""

    kind: Literal["reference", "fast"]
    epochs: Positive
    batch_size: Positive
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["multistep", "cosine", "onecycle"] = "cosine"
    milestones: tuple[Positive, ...] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    augment: tuple[Literal["crop", "flip"], ...] = ()
    crop_padding: Annotated[int, Field(ge=1)] = 4
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Positive = 1
    device: Literal["cpu", "cuda"] = "cpu"

    @model_validator(mode="after")
    def _milestones_belong_to_multistep(self) -> Recipe:
        if bool(self.milestones) != (self.schedule == "multistep"):
            raise ValueError("milestones and schedule = 'multistep' go together")
        return self


@dataclass(frozen=True)
class _Read:
    """Where something was read, which makes no two things different."""

    where: str = field(default="in [methods]", compare=False)


class Tuned(Spec):
    """How a method's options were searched: on which suite, among how many trials, and the training they cost."""

    suite: str
    trials: Positive
    seconds: Annotated[float, Field(ge=0)]

    def told(self, options: Mapping[str, Any]) -> str:
        """What a row with these options says of them."""
        chosen = " ".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in options.items()
        )
        how = f"{self.trials} trials by validation on {self.suite}, {self.seconds:.0f} s of training"
        return f"options {chosen or 'as declared'}, chosen among {how}"


class MethodSpec(Spec):
    """A method as a suite runs it: the name in tables, the class to load, its options.

    An option may be a table: the options of a network that the method builds. For the last ``qat_epochs`` of its epochs
    the student learns with its numbers rounded as 8-bit integers' (``kdbench.training.rounded``), under any
    method. ``tuned`` says that a search chose the options, and changes nothing of the training.
    """

    label: Name
    use: str
    options: dict[str, Option | Options] = {}
    qat_epochs: Annotated[int, Field(ge=0)] = 0
    tuned: Tuned | None = None
    _read: _Read = PrivateAttr(_Read())

    @property
    def where(self) -> str:
        """Where it was read, for errors; records do not hold it."""
        return self._read.where

    def read_from(self, where: str) -> Self:
        """The same method, read there."""
        copy = self.model_copy()
        copy._read = _Read(where)  # noqa: SLF001 - of its own class
        return copy


class Lowering(Spec):
    """What decides a program besides its network and target: the calibration of static quantisation."""

    calibration_items: Annotated[int, Field(ge=32)] = 256
    calibration_seed: int = 0


class Protocol(Spec):
    """How speed and memory are measured. Steady state ends at min runs AND min seconds, or at the cap.

    Processes are many and short: what differs is one from the next, and longer ones say no more of that.
    ``cold_cache``: load times are of programs whose files are not in the page cache when the process starts.
    ``energy``: what tells it, ``rapl`` or ``meter`` (``kdbench.meters``); empty: nothing is asked.
    ``every_ms``: each program is also run once in so many ms, as apps do (``kdbench.measures.paced``); ``sustained_s``:
    and back to back for so many seconds (``kdbench.measures.sustained``). None: it is not.
    """

    processes: Positive = 6
    warmup_runs: Annotated[int, Field(ge=1)] = 10
    warmup_seconds: Seconds = 0.05
    min_runs: Positive = 50
    min_seconds: Seconds = 0.25
    max_seconds: Seconds = 10.0
    block_ms: Annotated[float, Field(gt=0, le=1000)] = 4.0
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    pin: bool = True
    cold_cache: bool = False
    energy: Literal["", "rapl", "meter"] = ""
    every_ms: Annotated[float, Field(ge=0.1, le=60_000)] | None = None
    sustained_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    memory_processes: Positive = 3
    timeout_seconds: Annotated[float, Field(gt=0, le=86400)] = 300.0
    seed: int = 0


def protocol_of(suite: Mapping[str, Any]) -> Protocol:
    """The protocol of a suite as a run holds it; keys that this kdbench does not know are left out."""
    table = suite.get("protocol", {})
    return Protocol.model_validate({key: value for key, value in table.items() if key in Protocol.model_fields})


class Budget(Spec):
    """A limit that a row must keep, such as ``accuracy >= 0.85`` for every student of a target."""

    metric: str
    op: Literal["<=", ">="]
    limit: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` keeps the limit."""
        return value <= self.limit if self.op == "<=" else value >= self.limit

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.limit:g}"


class Suite(Spec):
    """A benchmark as data. ``version`` is raised when its numbers stop being comparable."""

    name: str
    version: Positive
    description: str = ""
    task: Name = "classification"
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31, strict=True)], ...] = Field(min_length=1)
    pairs: tuple[Pair, ...] = Field(min_length=1)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    targets: tuple[Name, ...] = Field(min_length=1)
    devices: tuple[str, ...] = ("host",)
    recipes: dict[Literal["teacher", "student"], Recipe]
    lowering: Lowering = Lowering()
    protocol: Protocol = Protocol()
    budgets: dict[str, tuple[Budget, ...]] = {}

    FORMAT: ClassVar[int] = 1

    def student_recipe(self, pair: Pair) -> Recipe:
        """How the students of a pair are trained: the suite's recipe with the pair's own keys.

        Raises:
            ValidationError: the two do not go together.
        """
        return Recipe.model_validate({**self.recipes["student"].model_dump(mode="json"), **pair.student_recipe})

    @field_validator("recipes")
    @classmethod
    def _both_recipes(cls, value: dict[str, Recipe]) -> dict[str, Recipe]:
        if missing := {"teacher", "student"} - value.keys():
            raise ValueError(f"needs a [recipes.{min(missing)}] table")
        return value

    @field_validator("seeds", "targets", "devices")
    @classmethod
    def _no_repeats(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        for item in value:
            if value.count(item) > 1:
                raise ValueError(f"{item!r} stands there twice")
        return value


def suite_of(table: dict[str, Any]) -> Suite:
    """The suite that a record holds (``Suite.model_dump(mode="json")``)."""
    return Suite.model_validate(table)
