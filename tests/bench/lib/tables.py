# SPDX-License-Identifier: Apache-2.0
"""Tables and plots from the raw figures of the runs: nothing here is measured or chosen by hand."""
import os
import shutil
import statistics
import subprocess


def number(x):
    """Three digits that mean something."""
    if x == 0:
        return "0"
    if abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}" if abs(x) >= 0.01 else f"{x:.4f}"


def figures(runs, key):
    return [r[key] for r in runs if r.get(key) is not None]


def cell(runs, key):
    """Median [range] of a figure."""
    values = figures(runs, key)
    if not values:
        return "-"
    middle, low, high = number(statistics.median(values)), number(min(values)), number(max(values))
    return middle if low == high else f"{middle} [{low}-{high}]"


def table(load, entry):
    """load: see LOADS in run. entry: {"programs": {name: {"rounds": n, "runs": [...], "failed": [...], "missing": why}}}."""
    lines = [f"**{load.name}. {load.title}**", "", load.text, "", "| | " + " | ".join(load.columns) + " |",
             "|---" * (len(load.columns) + 1) + "|"]
    notes, rounds = [], {}
    for name, result in entry["programs"].items():
        if result.get("missing"):
            notes.append(f"- {name}: left out, {result['missing']}")
            continue
        runs = result["runs"]
        lines.append(f"| {name} | " + " | ".join(cell(runs, key) for key in load.columns.values()) + " |")
        rounds.setdefault(result["rounds"], []).append(name)
        if len(runs) < result["rounds"]:
            notes.append(f"- {name}: {len(runs)} of {result['rounds']} runs count")
        notes += [f"- {name}: a run failed: {why}" for why in result["failed"]]
        if any(r.get("ended") is False for r in runs):
            notes.append(f"- {name}: did not end within 15 s of SIGTERM and was killed")
    said = [f"{n} runs" + (f" ({', '.join(names)})" if len(rounds) > 1 else "") for n, names in rounds.items()]
    lines += ["", "One run." if list(rounds) == [1] or not rounds else f"Median [range] of {' and '.join(said)}."]
    return "\n".join(lines + ([""] + notes if notes else [])) + "\n"


HEAD = """set terminal svg size 760,{height} dynamic font "sans-serif,13" background rgb "white"
set output "{path}"
set style fill solid 0.85 noborder
set grid y
set border 3
set xtics nomirror
set ytics nomirror
set key noautotitle
"""


def gnuplot(path, script, height):
    if not shutil.which("gnuplot"):
        return "gnuplot is not installed (gnuplot-nox)"
    result = subprocess.run(["gnuplot"], input=(HEAD.format(path=path, height=height) + script).encode(), capture_output=True)
    return result.stderr.decode().strip()[:300] if result.returncode else None


def bars(entry, key):
    """Rows of: index, median, least, most, name. Programs without that figure are left away."""
    rows = []
    for name, result in entry["programs"].items():
        values = figures(result.get("runs") or [], key)
        if values:
            rows.append((len(rows), statistics.median(values), min(values), max(values), name))
    return rows


def plot(path, title, panels):
    """panels: [(label, rows of bars(), log scale)]; one below the other, a program one bar with its range."""
    panels = [p for p in panels if p[1]]
    if not panels:
        return "no run has the figures"
    script = [f"set multiplot layout {len(panels)},1 title '{title}'", "set boxwidth 0.6",
              "set offsets 0.5,0.5,0,0",
              "set bmargin 3.5"]
    for label, rows, log in panels:
        tics = ", ".join('"{}" {}'.format(name.replace(" ", "\\n", 1), i) for i, *_, name in rows)
        least = 1e-3 if log else 0
        script += [f"set ylabel '{label}'", f"set xtics ({tics}) font ',11'",
                   "set logscale y\nset yrange [*:*]" if log else "unset logscale y\nset yrange [0:*]", "$rows << END",
                   *(f"{i} {max(m, least)} {max(a, least)} {b} {number(m)}" for i, m, a, b, _ in rows), "END",
                   "plot $rows using 1:2 with boxes lc rgb '#4477aa', "
                   "$rows using 1:3:(0):($4-$3) with vectors heads size graph 0.008,90 lw 2 lc rgb '#222222', "
                   "$rows using 1:2:5 with labels left offset 0.5,0.6"]
    return gnuplot(path, "\n".join(script + ["unset multiplot", ""]), 40 + 280 * len(panels))


def plots_write(directory, entries):
    """entries: {load name: entry}. Gives what could not be drawn, in words."""
    failed = []

    def draw(name, title, panels):
        why = plot(os.path.join(directory, name + ".svg"), title, panels)
        if why:
            failed.append(f"{name}.svg: {why}")

    if "A" in entries:
        draw("A", "A. back-fill", [("MB per CPU second", bars(entries["A"], "mb_per_cpu_s"), False)])
    if "B" in entries:
        draw("B", "B. steady: 1,000 files, 10 MB/s", [("CPU, % of a core", bars(entries["B"], "cpu_pct"), False),
                                                      ("p99, ms", bars(entries["B"], "all_p99_ms"), True)])
    for name, title in (("C", "C. rotation storm"), ("D", "D. bursts and a slow sink")):
        if name in entries:
            draw(name, title, [("lines lost, %", bars(entries[name], "lost_pct"), False),
                               ("p99 of quiet pods, ms", bars(entries[name], "quiet_p99_ms"), True)])
    return failed
