"""What a person can get wrong: each is one exact line and an exit code, never a traceback, and writes nothing."""

import shlex
from pathlib import Path

import pytest

from kdbench.cli.main import main

SUITE = """
version = 1
data = "digits"
seeds = [0]
targets = ["xnnpack-fp32"]
[[pairs]]
teacher = "resnet8"
student = "dscnn"
[methods]
kd = {}
[recipes.teacher]
kind = "fast"
epochs = 1
batch_size = 64
lr = 0.05
[recipes.student]
kind = "fast"
epochs = 1
batch_size = 64
lr = 0.05
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a suite, files that are no suites, runs or programs, and an empty store and results."""
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text(SUITE)
    Path("typo.toml").write_text(SUITE.replace("kd = {}", "kdd = {}"))
    Path("option.toml").write_text(SUITE.replace("kd = {}", "kd = { temperatur = 2.0 }"))
    Path("value.toml").write_text(SUITE.replace("kd = {}", "kd = { temperature = -1.0 }"))
    Path("model.toml").write_text(
        SUITE.replace('student = "dscnn"', 'student = "dscnn"\nstudent_options = { widht = 4 }')
    )
    Path("device.toml").write_text(SUITE.replace("seeds", 'devices = ["phone:1"]\nseeds'))
    Path("my suite.toml").write_text(SUITE)
    Path("good@quick.toml").write_text(SUITE)
    Path("infinite.toml").write_text(SUITE.replace("lr = 0.05", "lr = inf", 1))
    Path("label.toml").write_text(SUITE.replace("kd = {}", '"k/d" = { use = "kd" }'))
    Path("text.toml").write_text(SUITE.replace('targets = ["xnnpack-fp32"]', 'targets = "xnnpack-fp32"'))
    Path("pair.toml").write_text(SUITE.replace("[[pairs]]", "[pairs]"))
    Path("seed.toml").write_text(SUITE.replace("seeds = [0]", "seeds = [true]"))
    Path("threads.toml").write_text(SUITE + "[protocol]\nthreads = 1000000\n")
    Path("named.toml").write_text(SUITE.replace("seeds", 'devices = ["host:foo"]\nseeds'))
    Path("quits.py").write_text("raise SystemExit(0)\n")
    Path("raises.py").write_text(
        "from kdbench.methods.kd import KD\nclass Raises(KD):\n    def __init__(self):\n        raise KeyError('x')\n"
    )
    Path("exits.py").write_text(
        "from kdbench.methods.kd import KD\nclass Exits(KD):\n    def __init__(self):\n        raise SystemExit(0)\n"
    )
    Path("broken.toml").write_text("version = ")
    Path("empty.toml").write_text("")
    Path("list.toml").write_text(
        SUITE.replace("[methods]\nkd = {}", "").replace("version", 'methods = ["kd"]\nversion')
    )
    Path("empty.pte").write_bytes(b"")
    Path("noise.pte").write_bytes(bytes(range(256)) * 20)
    Path("broken.py").write_text("import nowhere_to_be_found\n")
    Path("empty.py").write_text("")
    Path("loose.py").write_text("class Loose:\n    '''No method.'''\n")
    Path("run.json").write_text("{")
    Path("old").mkdir()
    Path("old/run.json").write_text('{"schema_version": 99}')
    Path("file").write_text("")
    Path("plain.md").write_text("# no markers\n")
    Path("lab").mkdir()
    Path("lab/manifest.json").write_text("{}")
    return tmp_path


BAD = [
    # the command line
    ("", 2, "Usage: kdbench"),
    ("frobnicate", 2, "kdbench: No such command 'frobnicate' (see 'kdbench -h')"),
    ("run", 2, "kdbench: Missing argument 'SUITE' (see 'kdbench run -h')"),
    ("run good.toml --fast", 2, "kdbench: No such option '--fast'. Did you mean '--store'? (see 'kdbench run -h')"),
    (
        "run good.toml --jobs 0",
        2,
        "kdbench: Invalid value for '--jobs': 0 is not in the range x>=1 (see 'kdbench run -h')",
    ),
    (
        "run good.toml --jobs two",
        2,
        "kdbench: Invalid value for '--jobs': 'two' is not a valid integer range (see 'kdbench run -h')",
    ),
    (
        "list planets",
        2,
        "kdbench: Invalid value for 'suites|methods|models|targets|devices|datasets|tasks|measures': 'planets' is not one of 'suites', 'methods', 'models', 'targets', 'devices', 'datasets', 'tasks', 'measures' (see 'kdbench list -h')",
    ),
    # pick
    (
        "pick run.json --where accuracy",
        2,
        "kdbench: --where 'accuracy': expected METRIC>=NUMBER or METRIC<=NUMBER, such as accuracy>=0.9",
    ),
    (
        "pick run.json --minimise a --maximise b",
        2,
        "kdbench: --minimise and --maximise exclude each other; turn one of them into a --where",
    ),
    # report
    (
        "report run.json",
        2,
        "kdbench: run.json is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ),
    # suites
    ("run digit", 2, "kdbench: unknown suite 'digit'; did you mean 'digits' or 'qat-digits' or 'init'?"),
    ("run nothing.toml", 2, "kdbench: no suite file 'nothing.toml'"),
    ("run broken.toml", 2, "kdbench: broken.toml is not valid TOML: Invalid value (at end of document)"),
    ("run empty.toml", 2, "kdbench: empty.toml version: missing"),
    ("run typo.toml", 2, "kdbench: unknown method 'kdd' in typo.toml [methods]; did you mean 'kd' or 'rkd' or 'dkd'?"),
    (
        "run list.toml",
        2,
        "kdbench: list.toml methods: found ['kd'], expected a table [methods] with a line such as kd = {}",
    ),
    (
        "run device.toml",
        2,
        "kdbench: unknown device 'phone' in device.toml [devices]; known: adb, host, import, qemu, ssh",
    ),
    (
        "run option.toml",
        2,
        "kdbench: method 'kd' in option.toml [methods] has no option 'temperatur'; did you mean 'temperature'?",
    ),
    (
        "run value.toml",
        2,
        "kdbench: method 'kd' in value.toml [methods] option 'temperature': found -1.0, expected greater than 0",
    ),
    (
        "run model.toml",
        2,
        "kdbench: model 'dscnn' in suite 'model' [pairs] student_options has no option 'widht'; did you mean 'width'?",
    ),
    ("run good.toml --quick", 2, "kdbench: good.toml has no [quick] table, so it cannot run with --quick"),
    (
        "run 'my suite.toml'",
        2,
        "kdbench: my suite.toml: a suite is named by its file, in letters, digits and . _ + - (found 'my suite')",
    ),
    (
        "run good@quick.toml",
        2,
        "kdbench: good@quick.toml: a suite is named by its file, in letters, digits and . _ + - (found 'good@quick')",
    ),
    ("run infinite.toml", 2, "kdbench: infinite.toml [recipes.teacher] lr: found inf, expected a finite number"),
    (
        "run label.toml",
        2,
        "kdbench: in label.toml [methods]: a method is called 'k/d', expected letters, digits and . _ + -",
    ),
    ("run text.toml", 2, "kdbench: text.toml targets: found 'xnnpack-fp32', expected a list such as [\"...\"]"),
    ("run pair.toml", 2, "kdbench: pair.toml pairs: expected [[pairs]]"),
    ("run seed.toml", 2, "kdbench: seed.toml seeds[0]: found True, expected a valid integer"),
    (
        "run threads.toml",
        2,
        "kdbench: threads.toml [protocol] threads: found 1000000, expected less than or equal to 1024",
    ),
    (
        "run good.toml --device qemu:cortex-a76",
        2,
        "kdbench: device 'qemu:cortex-a76': expected qemu:CORE+wheelVERSION such as qemu:cortex-a76+wheel1.5.1",
    ),
    (
        "run good.toml --device phone",
        2,
        "kdbench: unknown device 'phone' of --device; known: adb, host, import, qemu, ssh",
    ),
    ("run good.toml --device ssh:", 2, "kdbench: device 'ssh:': expected ssh:HOST or ssh:USER@HOST, such as ssh:board"),
    (
        "run good.toml --device ssh:pi@10.0.0.7",
        2,
        "kdbench: device 'ssh:pi@10.0.0.7': records hold no user and no address; give it a name in ~/.ssh/config (Host board) and use ssh:board",
    ),
    ("run good.toml --device host --device host", 2, "kdbench: --device host: named twice"),
    ("run named.toml", 2, "kdbench: device 'host:foo': this machine is called host, and nothing follows"),
    # selections and variants
    ("run good.toml --seeds 0-999999999", 2, "kdbench: --seeds '0-999999999': more than 1000 seeds"),
    ("run good.toml --seeds 0-999,1000", 2, "kdbench: --seeds '0-999,1000': more than 1000 seeds"),
    ("run good.toml --method at -o use=dkd", 2, "kdbench: -o use=dkd: name the method with --method"),
    (
        "run good.toml --method at -o beta=inf",
        2,
        "kdbench: of --method at beta: found inf, expected a finite number, a text, true or false, a list of one of these, or a table of options",
    ),
    (
        "run good.toml --method at -o beta=1979-05-27",
        2,
        "kdbench: of --method at beta: found datetime.date(1979, 5, 27), expected a finite number, a text, true or false, a list of one of these, or a table of options",
    ),
    ("run good.toml --method quits.py:X", 2, "kdbench: quits.py cannot be imported: SystemExit: 0"),
    (
        "run good.toml --method raises.py:Raises",
        2,
        "kdbench: method 'raises.py:Raises' of --method cannot be made: KeyError: 'x'",
    ),
    (
        "run good.toml --method exits.py:Exits",
        2,
        "kdbench: method 'exits.py:Exits' of --method cannot be made: SystemExit: 0",
    ),
    ("run good.toml --only kd", 2, "kdbench: --only 'kd': expected AXIS=VALUE such as method=kd"),
    ("run good.toml --only methd=kd", 2, "kdbench: --only 'methd=kd': unknown axis 'methd'; did you mean 'method'?"),
    (
        "run good.toml --only method=at",
        2,
        "kdbench: --only 'method=at': this suite has no method 'at'; known: teacher, kd",
    ),
    (
        "run good.toml --only method=at --only target=xnnpack-fp32",
        2,
        "kdbench: --only 'method=at': this suite has no method 'at'; known: teacher, kd",
    ),
    ("run good.toml --seeds x", 2, "kdbench: --seeds 'x': expected seeds such as 0,1,2 or 0-9"),
    ("run good.toml -o a=1", 2, "kdbench: -o a=1: an option needs a --method to belong to"),
    ("run good.toml --method fitnets", 2, "kdbench: unknown method 'fitnets' of --method; did you mean 'fitnet'?"),
    ("run good.toml --method at -o beta", 2, "kdbench: -o 'beta': expected KEY=VALUE such as temperature=2"),
    (
        "run good.toml --method at -o bet=2",
        2,
        "kdbench: method 'at' of --method has no option 'bet'; did you mean 'beta'?",
    ),
    ("run good.toml --method nowhere.py:X", 2, "kdbench: no file 'nowhere.py' for method 'nowhere.py:X' of --method"),
    (
        "run good.toml --method broken.py:X",
        2,
        "kdbench: broken.py cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ),
    ("run good.toml --method empty.py:X", 2, "kdbench: empty.py has no 'X' (method 'empty.py:X')"),
    (
        "run good.toml --method loose.py:Loose",
        2,
        "kdbench: method 'loose.py:Loose' of --method is not a subclass of kdbench.methods.method.Method",
    ),
    # places
    (
        "run good.toml --results file",
        2,
        "kdbench: Invalid value for '--results' (env var: 'KDBENCH_RESULTS'): Directory 'file' is a file (see 'kdbench run -h')",
    ),
    (
        "run good.toml --store file",
        2,
        "kdbench: Invalid value for '--store' (env var: 'KDBENCH_STORE'): Directory 'file' is a file (see 'kdbench run -h')",
    ),
    (
        "run good.toml --results file/below",
        3,
        "kdbench: cannot write results to file/below/scratch: Not a directory; point --results or KDBENCH_RESULTS elsewhere",
    ),
    # tables and comparisons
    ("table", 2, "kdbench: Missing argument 'RUN...' (see 'kdbench table -h')"),
    (
        "table digits",
        2,
        "kdbench: no run 'digits': results holds none; --results or KDBENCH_RESULTS names another folder",
    ),
    (
        "table run.json",
        2,
        "kdbench: run.json is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ),
    ("table old", 2, "kdbench: old/run.json has schema version 99, this kdbench reads up to 1; upgrade"),
    ("table good.toml", 2, "kdbench: good.toml is not a run; expected a folder with a run.json, or that file"),
    (
        "table nowhere/",
        2,
        "kdbench: no run 'nowhere/': results holds none; --results or KDBENCH_RESULTS names another folder",
    ),
    ("compare run.json", 2, "kdbench: Missing argument 'NEW' (see 'kdbench compare -h')"),
    (
        "compare run.json old",
        2,
        "kdbench: run.json is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ),
    (
        "compare baseline digits",
        2,
        "kdbench: no run 'digits': results holds none; --results or KDBENCH_RESULTS names another folder",
    ),
    (
        "compare baseline:digits digits",
        4,
        "kdbench: no baseline results/baselines/digits; kdbench baseline save RUN makes one",
    ),
    ("compare a b --margin much", 2, "kdbench: --margin 'much': expected points of quality such as 0.5"),
    (
        "compare a b --output verdicts.pdf",
        2,
        "kdbench: --output 'verdicts.pdf': expected a name that ends in .md, .json, .xml, .txt",
    ),
    (
        "baseline save digits",
        2,
        "kdbench: no run 'digits': results holds none; --results or KDBENCH_RESULTS names another folder",
    ),
    ("baseline update digits", 2, "kdbench: Missing option '--reason' (see 'kdbench baseline update -h')"),
    (
        "baseline show digits",
        4,
        "kdbench: no baseline results/baselines/digits; kdbench baseline save RUN makes one",
    ),
    ("baseline verify ../digits", 2, "kdbench: '../digits' cannot name a folder"),
    ("history digits", 2, "kdbench: no run of suite 'digits' in results; it holds runs of none"),
    (
        "history digits --metric size_byte",
        2,
        "kdbench: unknown metric 'size_byte'; did you mean 'size_bytes' or 'rss_file_bytes' or 'runtime_bytes'?",
    ),
    (
        "bisect a b --suite good.toml --metric size_byte --case kd",
        2,
        "kdbench: --metric 'size_byte' is no exact metric; did you mean 'size_bytes' or 'arena_bytes'?",
    ),
    (
        "bisect a b --suite good.toml --metric size_bytes --case kd",
        2,
        "kdbench: --case 'kd': expected PAIR/METHOD/TARGET/sSEED/DEVICE, as tables name it",
    ),
    (
        "results keep digits",
        2,
        "kdbench: no run 'digits': results holds none; --results or KDBENCH_RESULTS names another folder",
    ),
    # bundles and what comes back
    ("bundle digits", 2, "kdbench: Missing option '--to' (see 'kdbench bundle -h')"),
    (
        "bundle digits --to out",
        2,
        "kdbench: no run 'digits': results holds none; --results or KDBENCH_RESULTS names another folder",
    ),
    ("ingest --name x", 2, "kdbench: Missing argument 'DIR|FILE...' (see 'kdbench ingest -h')"),
    ("ingest lab", 2, "kdbench: Missing option '--name' (see 'kdbench ingest -h')"),
    ("ingest nowhere.json --name x", 2, "kdbench: no file or folder nowhere.json"),
    (
        "ingest lab --name x",
        2,
        "kdbench: lab holds no results: no .json but a manifest.json, and no .log",
    ),
    (
        "ingest run.json --name x",
        2,
        "kdbench: . is no bundle: it has no manifest.json; kdbench bundle RUN --to DIR makes one",
    ),
    (
        "ingest run.json --name x --bundle lab",
        2,
        "kdbench: lab/manifest.json is not a bundle's manifest: kdbench: Field required",
    ),
    (
        "run good.toml --device import:pixel-8",
        2,
        "kdbench: device 'import:pixel-8' is not within reach: kdbench bundle RUN --to DIR hands programs out, kdbench ingest takes results in",
    ),
    # programs
    ("measure nothing.pte", 2, "kdbench: cannot read nothing.pte: No such file or directory"),
    ("measure empty.pte", 2, "kdbench: empty.pte is empty; expected an ExecuTorch program (.pte)"),
    ("measure noise.pte", 2, "kdbench: noise.pte is not an ExecuTorch program (.pte): it does not start like one"),
    (
        "export kd/xnnpack-int8/s0 --to out",
        2,
        "kdbench: no case 'kd/xnnpack-int8/s0': there are no runs in results; --results names another folder, kdbench run digits makes one",
    ),
]


@pytest.mark.parametrize(("words", "code", "line"), BAD, ids=[words or "nothing" for words, _, _ in BAD])
def test_a_mistake_is_one_line_and_a_code(folder, monkeypatch, capfd, words, code, line):
    before = snapshot(folder)
    monkeypatch.setenv("KDBENCH_STORE", "store")
    monkeypatch.setenv("KDBENCH_RESULTS", "results")
    monkeypatch.setattr("sys.argv", ["kdbench", *shlex.split(words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capfd.readouterr().err
    assert ended.value.code == code, said
    if words:
        assert said == line + "\n"
    else:
        assert said.startswith(line)  # the help
    assert "Traceback" not in said
    assert str(folder) not in said
    assert snapshot(folder) == before


def snapshot(folder):
    """Every file's size by its place; Python's own caches of imported plug-ins aside."""
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}
