"""Typed specifications, read from a suite's TOML: what to distil, how to measure it, what it may cost."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kdbench.catalog import find, parted, suggestion
from kdbench.errors import UsageError
from kdbench.measures.metric import METRICS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=64)]
DataName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*(:[A-Za-z0-9][A-Za-z0-9._+-]*(@[0-9]+)?)?$", max_length=128)
]
"""``NAME``, or ``KIND:WHICH`` such as ``imagefolder:flowers@32``, or ``file.py:NAME`` in the current folder."""

Options = dict[str, bool | int | float | str | list[int] | list[float] | list[str]]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, le=3600)]

TEACHER = "teacher"
"""The method name of a teacher's own rows."""


class Spec(BaseModel):
    """A frozen table of a suite; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Pair(Spec):
    """Who teaches whom on which data."""

    teacher: Name
    student: Name
    data: DataName
    teacher_options: Options = {}
    student_options: Options = {}
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


class MethodSpec(Spec):
    """A method as a suite runs it: the name in tables, the class to load, its options."""

    label: Name
    use: str
    options: Options = {}


class Lowering(Spec):
    """What decides a program besides its network and target: the calibration of static quantisation."""

    calibration_items: Annotated[int, Field(ge=32)] = 256
    calibration_seed: int = 0


class Protocol(Spec):
    """How speed and memory are measured. Steady state ends at min runs AND min seconds, or at the cap."""

    processes: Positive = 3
    warmup_runs: Annotated[int, Field(ge=1)] = 10
    warmup_seconds: Seconds = 0.05
    min_runs: Positive = 100
    min_seconds: Seconds = 0.5
    max_seconds: Seconds = 10.0
    block_ms: Annotated[float, Field(gt=0, le=1000)] = 4.0
    threads: Positive = 1
    pin: bool = True
    memory_processes: Positive = 3
    timeout_seconds: Annotated[float, Field(gt=0, le=86400)] = 300.0
    seed: int = 0


_BUDGET = re.compile(r"^\s*(?P<op><=|>=)\s*(?P<limit>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*$")


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
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(min_length=1)
    pairs: tuple[Pair, ...] = Field(min_length=1)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    targets: tuple[Name, ...] = Field(min_length=1)
    devices: tuple[str, ...] = ("host",)
    recipes: dict[Literal["teacher", "student"], Recipe]
    lowering: Lowering = Lowering()
    protocol: Protocol = Protocol()
    budgets: dict[str, tuple[Budget, ...]] = {}

    FORMAT: ClassVar[int] = 1

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


def suite_path(name: str) -> Path:
    """The file of a suite: ``name`` itself if it ends in .toml, else ``suites/NAME.toml`` here or in kdbench's own.

    Raises:
        UsageError: there is none.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"no suite file {name!r}")
        return path
    for folder in suite_folders():
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    raise UsageError(f"unknown suite {name!r}; {suggestion(name, [path.stem for path in suite_files()])}")


def suite_folders() -> list[Path]:
    """Where suites are looked for: ./suites, a source checkout's suites/, the installed package's."""
    package = Path(__file__).parent
    return [folder for folder in (Path("suites"), package.parent / "suites", package / "suites") if folder.is_dir()]


def suite_files() -> list[Path]:
    """The suites that have names, the nearest folder first."""
    found: dict[str, Path] = {}
    for folder in suite_folders():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return list(found.values())


def read_suite(path: Path, *, quick: bool = False) -> Suite:
    """The suite in a TOML file; with ``quick`` its ``[quick]`` table is laid over it and it is named ``NAME@quick``.

    Raises:
        UsageError: one line that names the file, the key, what was found and what was meant.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    over = table.pop("quick", None)
    if quick:
        if not isinstance(over, dict):
            raise UsageError(f"{path} has no [quick] table, so it cannot run with --quick")
        table = _overlaid(table, over)
    if "name" in table:
        raise UsageError(f"{path} [name]: a suite is named by its file; remove the key")
    table["name"] = path.stem + ("@quick" if quick else "")
    return _suite(table, path)


def suite_of(table: dict[str, Any]) -> Suite:
    """The suite that a record holds (``Suite.model_dump(mode="json")``)."""
    return Suite.model_validate(table)


def method_spec(label: str, table: dict[str, Any], where: str) -> MethodSpec:
    """The method of one ``[methods]`` entry: its options, and ``use`` where the name in tables is another."""
    use = table.get("use", label)
    if not isinstance(use, str):
        raise UsageError(f"{where} use: found {use!r}, expected the name of a method")
    find("methods", use, f"{where}")
    options = {key: value for key, value in table.items() if key != "use"}
    return MethodSpec(label=label, use=use, options=options)


def _suite(table: dict[str, Any], path: Path) -> Suite:
    data = table.pop("data", None)
    pairs = table.get("pairs")
    if isinstance(pairs, list):
        table["pairs"] = [{"data": data, **pair} if data and isinstance(pair, dict) else pair for pair in pairs]
    methods = table.get("methods")
    if isinstance(methods, dict):
        for label, options in methods.items():
            if not isinstance(options, dict):
                raise UsageError(
                    f"{path} [methods] {label}: found {options!r}, expected a table of options such as {{}}"
                )
            if label == TEACHER:
                raise UsageError(f"{path} [methods]: {TEACHER!r} is the name of the teacher's own rows; choose another")
        table["methods"] = [method_spec(label, options, f"in {path} [methods]") for label, options in methods.items()]
    budgets = table.get("budgets")
    if isinstance(budgets, dict):
        table["budgets"] = {
            target: _budgets(limits, f"{path} [budgets.{target!r}]") for target, limits in budgets.items()
        }
    try:
        suite = Suite.model_validate(table)
    except ValidationError as error:
        raise UsageError(_explained(error.errors()[0], path)) from None
    _check_names(suite, path)
    return suite


def _check_names(suite: Suite, path: Path) -> None:
    find("tasks", suite.task, f"in {path} [task]")
    for pair in suite.pairs:
        find("models", pair.teacher, f"in {path} [pairs] teacher")
        find("models", pair.student, f"in {path} [pairs] student")
        find("datasets", parted(pair.data)[0], f"in {path} [pairs] data")
    ids = [pair.id for pair in suite.pairs]
    for twice in (name for name in ids if ids.count(name) > 1):
        raise UsageError(f"{path} [pairs]: two pairs are called {twice!r}; give one a name")
    for target in suite.targets:
        find("targets", target, f"in {path} [targets]")
    for device in suite.devices:
        find("devices", device.partition(":")[0], f"in {path} [devices]")
    for target in suite.budgets:
        if target not in suite.targets:
            known = suggestion(target, list(suite.targets))
            raise UsageError(f"{path} [budgets]: {target!r} is not a target of this suite; {known}")


def _budgets(limits: Any, where: str) -> tuple[Budget, ...]:
    if not isinstance(limits, dict):
        raise UsageError(f'{where}: found {limits!r}, expected limits such as accuracy = ">= 0.85"')
    budgets = []
    for metric, text in limits.items():
        if metric not in METRICS:
            raise UsageError(f"{where}: unknown metric {metric!r}; {suggestion(metric, list(METRICS))}")
        match = _BUDGET.match(text) if isinstance(text, str) else None
        if match is None:
            raise UsageError(f'{where} {metric}: found {text!r}, expected a limit such as "<= 120000"')
        budgets.append(Budget(metric=metric, op=match["op"], limit=float(match["limit"])))
    return tuple(budgets)


def _overlaid(table: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``table`` with the values of ``over``: tables are merged key by key, everything else is replaced."""
    merged = dict(table)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _explained(error: ErrorDetails, path: Path) -> str:
    """One pydantic complaint as file, key, what was found and what was meant."""
    location = [part for part in error["loc"] if part != "[key]"]
    key, tables = str(location[-1]), [str(part) for part in location[:-1]]
    if isinstance(location[-1], int):
        key, tables = f"{tables[-1]}[{key}]", tables[:-1]
    place = f"{path} [{'.'.join(tables)}] {key}" if tables else f"{path} {key}"
    if error["type"] == "missing":
        return f"{place}: missing"
    if error["type"] == "extra_forbidden" or "[key]" in error["loc"]:
        return f"{place}: unknown key; {suggestion(key, _keys(tables))}"
    found = error["input"]
    shown = f"found {found!r}, " if isinstance(found, str | int | float | bool) or found is None else ""
    message = error["msg"].removeprefix("Value error, ")
    if message.startswith("Input should "):
        message = "expected " + message.removeprefix("Input should ").removeprefix("be ")
    return f"{place}: {shown}{message[:1].lower()}{message[1:]}"


_TABLES: dict[str, type[Spec]] = {"pairs": Pair, "recipes": Recipe, "lowering": Lowering, "protocol": Protocol}


def _keys(tables: list[str]) -> list[str]:
    """The keys that the table at ``tables`` may have."""
    if not tables:
        return [*(key for key in Suite.model_fields if key != "name"), "data", "quick"]
    if tables == ["recipes"]:
        return ["teacher", "student"]
    return list(_TABLES[tables[0]].model_fields) if tables[0] in _TABLES else []
