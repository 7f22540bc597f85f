"""The page at `/`: plain links to what the admin listener has, for people who opened it in a
browser.
"""

from __future__ import annotations

from html import escape
from string import Template
from typing import Final
from urllib.parse import quote

MODELS_SHOWN: Final = 200

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tiltyard</title>
</head>
<body>
<h1>Tiltyard $version</h1>
<p>Configuration in force: <code>$config_id</code></p>
<h2>Models</h2>
<ul>
$models
</ul>
<h2>The gateway</h2>
<ul>
<li><a href="/readyz">Readiness</a>: processes, last reload, unreachable backends</li>
<li><a href="/metrics">Metrics</a></li>
<li><a href="/api/models">Models</a></li>
<li><a href="/api/config">Configuration</a></li>
<li><a href="/api/openapi.json">OpenAPI document</a></li>
</ul>
</body>
</html>
""")


def page(version: str, config_id: str, models: list[str]) -> str:
    """The page as HTML; of very many models only the first are listed."""
    items = [
        f'<li>{escape(model)}: <a href="/api/models/{quote(model, safe="")}/report">report</a></li>'
        for model in models[:MODELS_SHOWN]
    ]
    if len(models) > MODELS_SHOWN:
        items.append(f'<li>and {len(models) - MODELS_SHOWN} more: <a href="/api/models">all</a></li>')
    return _PAGE.substitute(version=escape(version), config_id=escape(config_id), models="\n".join(items))
