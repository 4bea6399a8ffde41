"""Notebooks: pages of the site made of them, and, as a script, their output made anew.

python docs/notebooks.py        # runs every notebook where it lies and keeps what it shows
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = "notebooks"


def on_files(files: Any, config: Any) -> Any:
    """Add a page for every notebook, beside the notebook itself."""
    # Here, since the script needs no mkdocs.
    from mkdocs.structure.files import File  # noqa: PLC0415

    for path in sorted((Path(config.docs_dir) / FOLDER).glob("*.ipynb")):
        name = f"{FOLDER}/{path.stem}.md"
        files.append(File.generated(config, name, content=page(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead to the page rather than to the notebook, which GitHub shows by itself."""
    return markdown.replace(".ipynb)", ".md)")


def page(path: Path) -> str:
    """Notebook as Markdown: text as it is, code, and below it what it printed."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        shown = "".join(_text(output) for output in cell["outputs"]).rstrip()
        if shown:
            parts.append(f"```text\n{shown}\n```")
    link = f'<a href="../{path.name}" download>Download this notebook</a>'
    return "\n\n".join([*parts, link]) + "\n"


def _text(output: dict[str, Any]) -> str:
    """What a cell printed, or the value of its last line."""
    said = output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
    return "".join(said) + "\n"


def run(path: Path, folder: Path) -> Any:
    """Run a notebook in a folder and return it with what it shows."""
    import nbformat  # noqa: PLC0415
    from nbclient import NotebookClient  # noqa: PLC0415

    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if cell.cell_type == "code":
            # What libraries warn of depends on what else is installed.
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.get("outputs", ()):
            if "data" in output:
                output.data = {"text/plain": output.data["text/plain"]}
    return notebook


def main() -> None:
    """Run every notebook and keep what it shows."""
    import nbformat  # noqa: PLC0415

    for path in sorted((Path(__file__).parent / FOLDER).glob("*.ipynb")):
        with TemporaryDirectory() as folder:
            nbformat.write(run(path, Path(folder)), path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
