"""A page of sections with texts, tables and figures, as self-contained HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# Files of a user name functionals, entries and errors: everything is escaped (autoescape).
_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{{ page.title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
nav a { margin-right: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.8rem 0; }
caption { text-align: left; color: #555; padding-bottom: 0.3rem; }
th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; border-bottom: 1px solid #e4e4e4; }
th.number, td.number { text-align: right; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
figcaption { color: #555; }
pre { background: #f5f5f5; padding: 0.8rem; overflow-x: auto; font-size: 0.85rem; }
</style>
</head>
<body>
<h1>{{ page.title }}</h1>
<p>{{ page.subtitle }}</p>
<nav>{% for section in page.sections %}<a href="#{{ section.anchor }}">{{ section.title }}</a>
{% endfor %}</nav>
{% for section in page.sections %}
<section id="{{ section.anchor }}">
<h2>{{ section.title }}</h2>
{% for block in section.blocks %}
{% if block.kind == "text" %}<p>{{ block.text }}</p>
{% elif block.kind == "code" %}<pre>{{ block.text }}</pre>
{% elif block.kind == "picture" %}
<figure><img src="{{ block.uri }}" alt="{{ block.caption }}">
<figcaption>{{ block.caption }}</figcaption></figure>
{% elif block.kind == "table" %}
<div class="wide"><table>
{% if block.caption %}<caption>{{ block.caption }}</caption>{% endif %}
<thead><tr>
{% for title in block.header %}
<th scope="col"{% if loop.index > block.left %} class="number"{% endif %}>{{ title }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in block.rows %}
<tr>
{% for cell in row %}
<td{% if loop.index > block.left %} class="number"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table></div>
{% endif %}
{% endfor %}
</section>
{% endfor %}
</body>
</html>
"""


@dataclass(frozen=True)
class Text:
    """A paragraph, or preformatted lines if the kind is "code"."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first `left` columns are words, the others right-aligned numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI."""

    uri: str
    caption: str
    kind: str = "picture"

    @classmethod
    def of(cls, drawn: Any, caption: str) -> Picture:
        """Picture of a matplotlib figure or axes.

        Examples
        --------
        >>> from deepchem_xc.plotting import plot_parity
        >>> Picture.of(plot_parity([1.0], [1.1], "gap", "eV"), "gaps").uri[:22]
        'data:image/png;base64,'
        """
        figure = getattr(drawn, "figure", None) or drawn
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        code = base64.b64encode(buffer.getvalue()).decode("ascii")
        return cls(f"data:image/png;base64,{code}", caption)


@dataclass
class Section:
    """A title and what stands below it."""

    title: str
    blocks: list[Text | Table | Picture] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Name for links within the page."""
        letters = (c if c.isascii() and c.isalnum() else "-" for c in self.title.lower())
        return "".join(letters)


@dataclass(frozen=True)
class Page:
    """Title, subtitle and sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    def html(self) -> str:
        """The page as one HTML document.

        Examples
        --------
        >>> page = Page("A < B", "", [Section("Numbers", [Text("1 & 2")])])
        >>> "<h1>A &lt; B</h1>" in page.html(), "<p>1 &amp; 2</p>" in page.html()
        (True, True)
        """
        from jinja2 import Environment, StrictUndefined

        environment = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        return environment.from_string(_TEMPLATE).render(page=self)
