"""Show the notebooks on the site; as a script, run them and store their output.

python docs/tools/notebooks.py
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = "tutorials"


def on_files(files: Any, config: Any) -> Any:
    """Add a page for every notebook, next to the notebook itself."""
    # Here, since the script does not need mkdocs.
    from mkdocs.structure.files import File  # noqa: PLC0415

    for path in sorted((Path(config.docs_dir) / FOLDER).glob("*.ipynb")):
        name = f"{FOLDER}/{path.stem}.md"
        files.append(File.generated(config, name, content=page(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Link to the page of a notebook, not to the notebook file."""
    return markdown.replace(".ipynb)", ".md)")


def page(path: Path) -> str:
    """Return a notebook as Markdown: its text, its code and the output of its code."""
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
    """Return what a cell printed, or the value of its last line."""
    shown = output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
    return "".join(shown) + "\n"


def run(path: Path, folder: Path) -> Any:
    """Run a notebook in a folder and return it with its output."""
    import nbformat  # noqa: PLC0415
    from nbclient import NotebookClient  # noqa: PLC0415

    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of execution
        if cell.cell_type == "code":
            # Warnings depend on what else is installed.
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.get("outputs", ()):
            if "data" in output:
                output.data = {"text/plain": output.data["text/plain"]}
    return notebook


def main() -> None:
    """Run every notebook and store its output in it."""
    import nbformat  # noqa: PLC0415

    for path in sorted((Path(__file__).parents[1] / FOLDER).glob("*.ipynb")):
        with TemporaryDirectory() as folder:
            nbformat.write(run(path, Path(folder)), path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
