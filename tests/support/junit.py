"""JUnit XML as the schemas of Ant's JUnit task and of Jenkins' xUnit plugin both accept it.

Source: JUnit.xsd of Windy Road Technology, and junit-10.xsd of the plugin.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

TEXT = ".*"
TOKEN = r".*\S.*"  # xs:token that is not empty, whose white space readers collapse
COUNT = r"\d+"
SECONDS = r"\d{1,3}(,?\d{3})*\.\d*"  # xs:decimal, and the time of Surefire
DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"  # without a time zone
ATTRIBUTES = {  # by element: the pattern of each attribute that is needed, and no others
    "testsuites": {},
    "testsuite": {
        **dict.fromkeys(("name", "package", "hostname"), TOKEN),
        **dict.fromkeys(("id", "tests", "failures", "errors", "skipped"), COUNT),
        "timestamp": DATE,
        "time": SECONDS,
    },
    "properties": {},
    "property": {"name": TOKEN, "value": TEXT},
    "testcase": {"name": TOKEN, "classname": TOKEN, "time": SECONDS},
    "failure": {"message": TEXT, "type": TEXT},
    "system-out": {},
    "system-err": {},
}
CHILDREN = {  # by element: pattern of the names of its children, each with a space behind it
    "testsuites": "(testsuite )*",
    "testsuite": "properties (testcase )*system-out system-err ",
    "properties": "(property )*",
    "testcase": "(failure )?",
}


def check_junit(path: Path) -> ElementTree.Element:
    """Return the root of a file, after a look at every element against the schemas."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == "testsuites"
    for element in root.iter():
        wanted = ATTRIBUTES[element.tag]
        assert set(element.keys()) == set(wanted), element.tag
        for name, pattern in wanted.items():
            assert re.fullmatch(pattern, element.get(name), re.DOTALL), (element.tag, name)
        names = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(CHILDREN.get(element.tag, ""), names), (element.tag, names)
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases)
        names = [" ".join(case.get("name").split()) for case in cases]
        assert len(set(names)) == len(names), "build servers tell cases by their names"
        failed = [case for case in cases if case.find("failure") is not None]
        assert int(suite.get("failures")) == len(failed)
        for name, element in (("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name)) == len(suite.findall(f"*/{element}"))
    return root
