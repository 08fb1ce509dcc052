"""Suite files: where they lie, and from their TOML to typed specifications, with errors that name file and key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from kdbench.catalog import find, parted, suggestion
from kdbench.errors import UsageError
from kdbench.measures.metric import METRICS
from kdbench.spec import TEACHER, Budget, Lowering, MethodSpec, Pair, Protocol, Recipe, Spec, Suite

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_BUDGET = re.compile(r"^\s*(?P<op><=|>=)\s*(?P<limit>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*$")


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
    if not _NAME.fullmatch(path.stem):
        raise UsageError(f"{path}: a suite is named by its file, in letters, digits and . _ + - (found {path.stem!r})")
    over = table.pop("quick", None)
    if quick:
        if not isinstance(over, dict):
            raise UsageError(f"{path} has no [quick] table, so it cannot run with --quick")
        table = _overlaid(table, over)
    if "name" in table:
        raise UsageError(f"{path} [name]: a suite is named by its file; remove the key")
    table["name"] = path.stem + ("@quick" if quick else "")
    return _suite(table, path)


def method_spec(label: str, table: dict[str, Any], where: str) -> MethodSpec:
    """The method of one ``[methods]`` entry: its options, and ``use`` where the name in tables is another."""
    use = table.get("use", label)
    if not isinstance(use, str):
        raise UsageError(f"{where} use: found {use!r}, expected the name of a method")
    find("methods", use, f"{where}")
    options = {key: value for key, value in table.items() if key not in ("use", "qat_epochs", "tuned")}
    qat = table.get("qat_epochs", 0)
    if type(qat) is not int or qat < 0:
        raise UsageError(f"{where} {label}: qat_epochs is {qat!r}, expected how many of the last epochs, such as 3")
    try:
        made = MethodSpec(label=label, use=use, options=options, qat_epochs=qat, tuned=table.get("tuned"))
        return made.read_from(where)
    except ValidationError as error:
        complaint = error.errors()[0]
        if complaint["loc"][0] == "label":
            raise UsageError(f"{where}: a method is called {label!r}, expected letters, digits and . _ + -") from None
        if complaint["loc"][0] == "tuned":
            raise UsageError(
                f"{where} {label} tuned: expected what kdbench tune writes, such as "
                '{ suite = "digits v1", trials = 20, seconds = 60 }'
            ) from None
        option = complaint["loc"][1]
        raise UsageError(
            f"{where} {label} {option}: found {options[str(option)]!r}, expected a finite number, a text, true or "
            "false, a list of one of these, or a table of options"
        ) from None


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
    elif methods is not None:
        raise UsageError(f"{path} methods: found {methods!r}, expected a table [methods] with a line such as kd = {{}}")
    budgets = table.get("budgets")
    if isinstance(budgets, dict):
        table["budgets"] = {
            target: _budgets(limits, f"{path} [budgets.{target!r}]") for target, limits in budgets.items()
        }
    try:
        suite = Suite.model_validate(table)
    except ValidationError as error:
        raise UsageError(_explained(_first(error), path)) from None
    _check_names(suite, path)
    return suite


def _check_names(suite: Suite, path: Path) -> None:
    find("tasks", suite.task, f"in {path} [task]")
    for pair in suite.pairs:
        find("models", pair.teacher, f"in {path} [pairs] teacher")
        find("models", pair.student, f"in {path} [pairs] student")
        find("datasets", parted(pair.data)[0], f"in {path} [pairs] data")
        try:
            suite.student_recipe(pair)
        except ValidationError as error:
            raise UsageError(_explained(error.errors()[0], path, "pairs", "student_recipe")) from None
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


def _first(error: ValidationError) -> ErrorDetails:
    """The complaint to tell: one of an unknown key, as a missing key may be that one misspelt; else the first."""
    complaints = error.errors()
    return next((each for each in complaints if each["type"] == "extra_forbidden"), complaints[0])


def _explained(error: ErrorDetails, path: Path, *within: str) -> str:
    """One pydantic complaint as file, key, what was found and what was meant."""
    location = [*within, *(part for part in error["loc"] if part != "[key]")]
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
    if error["type"] == "tuple_type":
        message = "expected [[pairs]]" if key == "pairs" else 'expected a list such as ["..."]'
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
    if tables == ["pairs", "student_recipe"]:
        return list(Recipe.model_fields)
    return list(_TABLES[tables[0]].model_fields) if tables[0] in _TABLES else []
