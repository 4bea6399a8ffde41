"""One vocabulary and one spelling, in the package's prose, its names and its documents."""

from __future__ import annotations

import io
import json
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Verbs that American English writes with -ize, without that ending.
STEMS = (
    "anonym|author|binar|canonical|categor|central|character|critic|custom|diagonal|discret|emphas|"
    "equal|factor|final|formal|general|harmon|hypothes|ideal|initial|item|linear|local|marginal|"
    "material|maxim|memor|minim|modern|neutral|normal|optim|organ|orthogonal|orthonormal|parallel|"
    "penal|personal|popular|priorit|quant|random|real|recogn|regular|serial|special|stabil|standard|"
    "summar|symbol|symmetr|synchron|token|util|vector|visual"
)

# In names and in prose, inside longer words too: what is wrong, and what to write.
SPELLING = {
    rf"(?:{STEMS})is(?:e|es|ed|er|ers|ing|able|ation|ations)(?![a-z])": "-ize",
    r"analys(?:e|ed|er|ing)(?![a-z])": "analyze",
    r"(?:behavi|col|fav|flav|hon|hum|lab|neighb|rum)our": "-or",
    r"centre": "center",
    r"(?<![a-z])grey": "gray",
    r"licence": "license",
    r"artefact": "artifact",
    r"judgement": "judgment",
    r"catalogue": "catalog",
    r"(?:label|model|travel)l(?:ed|ing)(?![a-z])": "-led, -ling",
    r"whilst": "while",
    r"learnt": "learned",
}

# What something was called once, as it is written in code.
OLD_NAMES = {
    r"\binitiali[sz]ers\.": "`arms`",
    r"\bmix=": "`local_weight=`",
    r"\breduce_to\b|\breduction=": "`joint_dim`",
    r"\blisten=|\bListener\b": "`progress=`, `ProgressCallback`",
    r"""\bspace=["']id["']""": '`space="free"`',
    r"\bdescribe_items\b": "the joint space",
    r"\bNeighbou?rlyRecommender\b": "the base class in `user_neighbor_base`",
    r"\bcore\.(?:clusters|gap|listen|pca|prepare|reduce|space|spectral|threads)\b": (
        "`core.inputs`, `core.steps`, `core.stream`"
    ),
    r"\bdata\.(?:cold|describe|titles)\b": "`data.hold_out`, `data.summary`",
    r"\bmodels\.saved\b": "`models.checkpoint`",
    r"\bexperiments\.(?:assignments|compare\.|gaps|starts\b)": "`comparison`, `semantic_gap`",
    r"\breport\.(?:before|beside|derived|described|finished|wording)\b": "`report.page`",
    r"\bintegrations\.(?:arrays|follow|ids|modules|needs|older|watch)\b": "`integrations.torch`",
    r"\bspark\.SGURInit": "`SparkSGURInit`, `SparkSGURInitModel`",
}

# Whole words in prose: comments, docstrings, messages, documents. Whatever the case.
WORDING = {
    r"co-us(?:e|es|ed|age)|spectral (?:columns|space|embedding)": "collaborative",
    r"(?:id|reduced) space": "free space, joint space",
    r"go(?:es|ing)? on|went on|gone on": "resume, continue",
    r"anew": "again",
    r"whole or not at all": "atomically",
    r"what c(?:ame|omes) out": "results",
    r"started (?:models?|ones?|tables?|users?|runs?|arms?|from|at)|items started": (
        "initialized from a start; a start is a noun"
    ),
    r"(?:an?|the|each|every) (?:user|item|model|table|arm|row) starts|starts? (?:them|alike)": (
        "begins, initializes; a start is a noun"
    ),
    r"(?:users|items|models|tables|arms|rows|they|nodes|who|everybody) start": (
        "begin, are initialized; a start is a noun"
    ),
    r"told|heard": "reported, received",
    r"(?:none|nothing|one|some|file|folder|that is) of ours": "written by this library",
    r"said (?:of|so|otherwise|apart)|(?:is|are|be|was) said": "reported, stated",
    r"(?<!there\s)(?<!there\scan\s)(?:is|are|was|were|be) no "
    r"(?!longer|more|less|better|worse|larger)(?:[a-z]+|(?=`))": "is not a",
    r"no word|without a word|a word (?:for|about|of|on)": "a message about, silently",
    r"for want of": "without",
    r"tr(?:y|ies|ied) on": "run on",
    r"(?:ask|leave|tell|say|know|hold)s? nothing": "does not ... anything",
    r"(?<!one\s)of (?:its|their|one's|your|our|his) own": "its own ...",
    r"(?:there|where|here)(?:of|in|to|with|upon)": "plain words",
    r"overlaid": "replaced, drawn over",
    r"whose \w+ are wanted|(?:is|are) wanted": "to compute",
    r"read by \w+(?: \w+)* alone": "only read by",
}

# Titles and names that others chose.
QUOTED = ["Spark Connect server started at"]

PYTHON = ["src", "tests", "studies/tools", "tools", "benchmarks", "docs"]
WEB = [".css", ".js"]
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "RELEASING.md",
    "SECURITY.md",
    "studies/README.md",
    "mkdocs.yml",
]


def files() -> list[Path]:
    found = [path for folder in PYTHON for path in (ROOT / folder).rglob("*.py")]
    found += [path for path in (ROOT / "src").rglob("*") if path.suffix in WEB]
    found += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    found += [ROOT / name for name in DOCUMENTS]
    return sorted(path for path in found if path.name != "test_vocabulary.py")


def prose_of_python(text: str) -> dict[int, str]:
    """Comments and strings by line; what an f-string inserts is code."""
    prose: dict[int, str] = {}
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            shown = token.string
            if re.match(r"[rb]?f", shown, re.IGNORECASE) and token.type == tokenize.STRING:
                shown = re.sub(r"\{[^{}]*\}", "{}", shown)
            for offset, part in enumerate(shown.split("\n")):
                line = token.start[0] + offset
                prose[line] = f"{prose.get(line, '')} {part}"
    return prose


def texts(path: Path) -> tuple[str, str]:
    """A file's text, and its prose alone on the same lines."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    for title in QUOTED:
        text = text.replace(title, "")
    if path.suffix != ".py":
        return text, text
    prose = prose_of_python(text)
    return text, "\n".join(prose.get(line, "") for line in range(1, text.count("\n") + 2))


def wording(pattern: str) -> re.Pattern[str]:
    """Pattern of whole words, with line ends and the signs there between them."""
    between = pattern.replace(" ", r"""(?:\s|[>#"]|\bf")+""")
    return re.compile(rf"\b(?:{between})(?!\w)", re.IGNORECASE)


TABLES = [
    *((re.compile(pattern, re.IGNORECASE), use, False) for pattern, use in SPELLING.items()),
    *((re.compile(pattern), use, False) for pattern, use in OLD_NAMES.items()),
    *((wording(pattern), use, True) for pattern, use in WORDING.items()),
]


def findings(path: Path) -> list[str]:
    """Every word outside the vocabulary, as ``file:line: word -> what to use``."""
    text, prose = texts(path)
    found = []
    for pattern, use, only_prose in TABLES:
        searched = prose if only_prose else text
        for match in pattern.finditer(searched):
            line = searched.count("\n", 0, match.start()) + 1
            found.append((line, f"{' '.join(match[0].split())} -> {use}"))
    return [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in sorted(found)]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_those_of_the_vocabulary(path):
    found = findings(path)
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("# The search goes on.", [":1: goes on -> resume, continue"]),
        ("pass\n# The search goes\n# on.", [":2: goes # on -> resume, continue"]),
        ('print(f"{told} runs")', []),
        ("class NeighbourGraph:", ["eighbour"]),
        ("renormalised = 1", ["normalised -> -ize"]),
        ('"""There is no folder. It is no folder."""', ["is no folder -> is not a"]),
        ("# No centroid, nobody surprised, otherwise precise", []),
    ],
)
def test_the_table_finds_what_it_should(code, found, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "some.py"
    path.write_text(code, encoding="utf-8")
    assert len(findings(path)) == len(found)
    assert all(part in whole for part, whole in zip(found, findings(path), strict=True))
