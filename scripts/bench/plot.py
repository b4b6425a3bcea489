"""Bars of CPU a request, as SVG."""

import html

import peers
from goals import median

CHARTS = [
    ("gRPC 1 KiB CPU", "gRPC, 1 KiB: µs of CPU a call at saturation"),
    ("REST GET CPU", "REST GET: µs of CPU a request at saturation"),
    ("open CPU", "gRPC, 1 KiB: µs of CPU a call at 2000 calls a second"),
]
LABEL, WIDTH, BAR, GAP, HEAD = 300, 420, 16, 6, 34
OURS, OTHERS, FLOOR = "#1f6feb", "#9aa4b0", "#3b4754"


def plot(rounds):
    """The charts below each other; a bar that is much longer than the others is cut and says so."""
    drawn, top = [], 0
    for key, title in CHARTS:
        bars = [(name, value) for name in rounds[0] if (value := median(rounds, name, key))]
        if not bars:
            continue
        drawn.append(f'<text x="0" y="{top + 20}" class="title">{html.escape(title)}</text>')
        top += HEAD
        # A thousand rules of Envoy would make dots of all others.
        longest = min(max(value for _, value in bars), 4 * sorted(value for _, value in bars)[len(bars) // 2])
        for name, value in bars:
            length = min(value / longest, 1) * WIDTH
            color = OURS if name.startswith("flyte-authz") else FLOOR if name == peers.FLOOR else OTHERS
            cut = " →" if value > longest else ""
            middle = top + BAR - 4
            drawn += [
                f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{html.escape(name)}</text>',
                f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{color}"/>',
                f'<text x="{LABEL + length + 6:.1f}" y="{middle}">{value:.1f}{cut}</text>',
            ]
            top += BAR + GAP
        top += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LABEL + WIDTH + 80} {top}" font-family="sans-serif" '
        'font-size="12">\n<style>text{fill:#24292f}.title{font-weight:bold;font-size:14px}'
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>\n" + "\n".join(drawn) + "\n</svg>\n"
    )
