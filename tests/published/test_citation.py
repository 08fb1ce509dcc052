import re

import made_up
import pytest

from kdbench.catalog import entries as registered
from kdbench.published.citation import Used, _table, _text, bibliography, cited, entries, used_by_run, used_by_suite
from kdbench.spec import MethodSpec, Pair

BIB = _text("kdbench.bib")
NEEDED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "techreport": {"author", "title", "institution", "year"},
    "misc": {"author", "title"},
}
WHERE = {"eprint", "howpublished"}


def parsed(text):
    """A BibTeX file as (kind, key, fields); everything but entries and comment lines is an error."""
    found, rest = [], text
    while rest := re.sub(r"\A(%[^@\n]*\n|\s)+", "", rest):
        head = re.match(r"@([a-z]+)\{([a-z0-9]+),\n", rest)
        assert head, rest[:80]
        fields, rest = {}, rest[head.end() :]
        while not rest.startswith("}"):
            name = re.match(r"  ([a-z]+) = \{", rest)
            assert name, rest[:80]
            end = depth = name.end()
            depth = 1
            while depth:
                depth += {"{": 1, "}": -1}.get(rest[end], 0)
                assert rest[end] != "\n", rest[:80]
                end += 1
            assert name[1] not in fields, (head[2], name[1])
            fields[name[1]] = rest[name.end() : end - 1]
            assert rest[end : end + 2] == ",\n", rest[:80]
            rest = rest[end + 2 :]
        found.append((head[1], head[2], fields))
        rest = rest[1:]
    return found


@pytest.mark.parametrize("group", ["methods", "models", "datasets"])
def test_whatever_is_registered_is_cited_or_says_why_not(group):
    for name in registered(group):
        known = cited(group, name)
        assert known, f"{name} of {group} needs a line in citations.toml"
        assert isinstance(known, str) or len(known) == len(set(known)) > 0


def test_every_key_is_an_entry_and_every_entry_is_somebodys():
    used = {key for names in _table().values() for known in names.values() if isinstance(known, list) for key in known}
    assert used == set(entries())


def test_the_file_parses_and_its_keys_are_unique():
    keys = [key for _, key, _ in parsed(BIB)]
    assert len(keys) == len(set(keys)) == len(re.findall("^@", BIB, re.MULTILINE))
    assert keys == list(entries())


def test_entries_have_what_their_kind_needs():
    for kind, key, fields in parsed(BIB):
        assert NEEDED[kind] <= fields.keys(), key
        assert kind != "misc" or WHERE & fields.keys(), key
        assert ("eprint" in fields) == ("archiveprefix" in fields), key
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1503.02531")), key
        assert re.fullmatch(r"(19|20)\d\d", fields.get("year", "2015")), key
        assert all(author == author.strip() for author in fields["author"].split(" and ")), key
        assert re.fullmatch(r"(\{.*\})|([^,]+, [^,]+)", fields["author"].split(" and ")[-1]), key
        assert fields["title"] == fields["title"].strip(), key
        assert key.endswith(("executorch", "kdbench")) or fields["year"] in key, key


def test_no_paper_stands_there_twice():
    papers = [re.sub(r"\W", "", fields["title"]).lower() for _, _, fields in parsed(BIB)]
    assert len(papers) == len(set(papers))
    eprints = [fields["eprint"] for _, _, fields in parsed(BIB) if "eprint" in fields]
    assert len(eprints) == len(set(eprints))


def test_a_runs_bibliography():
    text = bibliography([used_by_run(made_up.run())])
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert comments == [
        "% run 20261124T040506Z-00ab of suite made v1: kdbench 0.1.0 (commit 0123456), torch 2.13.0, executorch 1.5.1",
        "% method scratch: nothing to cite, a control: the labels alone",
        "% method kd: hinton2015distilling",
        "% method fitnet: romero2015fitnets",
        "% model resnet8: he2016resnet",
        "% model dscnn: howard2017mobilenets, zhang2017hello",
        "% model resnet20: he2016resnet",
        "% data set digits: alpaydin1998digits, pedregosa2011sklearn",
        "% tool kdbench: kdbench",
        "% tool torch: paszke2019pytorch",
        "% tool executorch: executorch",
    ]
    assert [key for _, key, _ in parsed(text)] == [
        "hinton2015distilling", "romero2015fitnets", "he2016resnet", "howard2017mobilenets", "zhang2017hello",
        "alpaydin1998digits", "pedregosa2011sklearn", "kdbench", "paszke2019pytorch", "executorch",
    ]  # fmt: skip


def test_a_partial_run_does_not_cite_what_it_left_out():
    run = made_up.run(partial=True)
    kept = tuple(r for r in run.records if r.method == "fitnet" and r.pair == "digits:resnet8-dscnn")
    used = used_by_run(run.model_copy(update={"records": kept}))
    assert used.names["methods"] == ("fitnet",)
    assert used.names["models"] == ("resnet8", "dscnn")


def test_methods_are_cited_by_what_they_are_and_with_the_networks_they_build():
    methods = (
        MethodSpec(label="mine", use="my.py:Mine"),
        MethodSpec(label="ladder", use="takd", options={"assistant": "wrn-16-2", "more": [1], "options": {"a": 1}}),
        MethodSpec(label="theirs", use="theirs"),
    )
    pairs = (Pair(teacher="vgg13", student="mobilenetv2", data="cifar100"),)
    used = used_by_suite(made_up.suite(name="s@quick", methods=methods, pairs=pairs))
    text = bibliography([used])
    lines = text.splitlines()
    assert lines[0] == "% suite s at quick v1"
    assert "% method my.py:Mine: no entry, a file of the user's" in lines
    assert "% method takd: mirzadeh2020takd" in lines
    assert "% method theirs: no entry, from another package" in lines
    assert [key for _, key, _ in parsed(text)][:5] == [
        "mirzadeh2020takd", "simonyan2015vgg", "sandler2018mobilenetv2", "zagoruyko2016wrn", "krizhevsky2009cifar",
    ]  # fmt: skip


def test_an_entry_or_comment_that_several_share_is_there_once():
    used = used_by_suite(made_up.suite())
    assert bibliography([used, used]) == bibliography([used])
    both = bibliography([used, Used("another", used.names)])
    assert both == bibliography([used]).replace("% method scratch", "% method scratch", 1).replace(
        "% tool executorch: executorch\n", "% tool executorch: executorch\n% another\n"
    )


def test_changed_sources_are_said():
    run = made_up.run()
    dirty = run.model_copy(update={"provenance": run.provenance.model_copy(update={"dirty": True})})
    assert "kdbench 0.1.0 (commit 0123456, changed), " in used_by_run(dirty).what
    none = run.model_copy(update={"provenance": run.provenance.model_copy(update={"commit": "", "libraries": {}})})
    assert used_by_run(none).what.endswith("v1: kdbench 0.1.0")
