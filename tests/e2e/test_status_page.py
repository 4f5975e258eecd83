#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The status page in a real headless Chromium: over made-up figures, and over a running hotdrain.

SCREENSHOTS=DIR: also leaves pictures of the page there.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import browser, lanes, lines, proc, status, tap, tool, tree  # noqa: E402
from lib.collector import Collector  # noqa: E402

suite = tap.Suite("status_page", timeout=170)
KIB, MIB = 1 << 10, 1 << 20
HOSTILE = "<img src=x onerror=alert(1)>"
UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": 1 << 30}

# What is wrong with the contrast of the texts that are to be seen: WCAG 2.1, 4.5:1 for each, whatever its size.
CONTRAST = """(() => {
	const parse = text => text.match(/[\\d.]+/g).map(Number);
	const light = c => c.slice(0, 3).map(x => x / 255).map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
		.reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = element => {
		for (; element; element = element.parentElement) {
			const c = parse(getComputedStyle(element).backgroundColor);
			if (c.length < 4 || c[3] === 1)
				return c;
		}
		return [255, 255, 255];
	};
	const found = [], judge = (text, element, colour) => {
		const [a, b] = [light(parse(colour)), light(behind(element))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5)
			found.push(`${ratio.toFixed(2)} ${text} (${colour} on ${behind(element)})`);
	};
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let judged = 0;
	while (walker.nextNode()) {
		const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
		if (!text || !element.checkVisibility() || element.closest('script, noscript, .vh'))
			continue;
		for (let e = element; e; e = e.parentElement)
			if (getComputedStyle(e).opacity !== '1' || getComputedStyle(e).filter !== 'none')
				found.push('seen through: ' + text);
		judge(text, element, getComputedStyle(element).color);
		judged++;
	}
	const input = document.querySelector('#filter');
	judge('placeholder', input, getComputedStyle(input, '::placeholder').color);
	return {found, judged};
})()"""

# What reaches beyond the right edge.
TOO_WIDE = """(() => {
	const width = document.documentElement.clientWidth;
	return [...document.querySelectorAll('body *')].filter(e => !e.closest('.vh, script') && e.checkVisibility() &&
		e.getBoundingClientRect().right > width + 0.5).map(e => e.tagName + '.' + (e.className.baseVal ?? e.className) + '#' + e.id)
		.concat(document.documentElement.scrollWidth > width ? ['scrolls: ' + document.documentElement.scrollWidth] : []);
})()"""


def page(t, url, **more):
    """A browser that shows figures."""
    why = browser.missing()
    if why:
        t.skip(why)
    b = browser.Browser(t, **more)
    b.open(url)
    b.wait("document.body.dataset.link == 'live'", "not live")
    return b


def mixed():
    return [status.Log("web-1", 3 * MIB, rotations=12), status.Log("api-7", 40 * KIB, backlog=5 * MIB, oldest_s=2.25, deadline_s=4.5, next=1),
            status.Log("batch-2", 900 * KIB, namespace="jobs", backlog=70 * KIB, oldest_s=0.2, deadline_s=190, next=2),
            *(status.Log(f"idle-{n}", namespace="quiet") for n in range(40))]


def names(b):
    """First names, in the order of the rows."""
    return b.texts(".row .who b")


def cell(b, pod, column):
    """The text of a cell of the row of that pod, without its label."""
    return b.run(f"[...document.querySelectorAll('.row')].find(tr => tr.querySelector('b').textContent === {json.dumps(pod)})"
                 f"?.querySelector('.c-{column} span').textContent")


def amount(text):
    """Bytes of "1.23 MiB/s"."""
    words = re.fullmatch(r"(?:! )?([\d.]+) (\w+)(?:/s)?", text)
    if not words:
        raise tap.Failure(f"not an amount: {text!r}")
    return float(words[1]) * UNITS[words[2]]


def near(t, text, wanted, what, part=0.15):
    t.check(abs(amount(text) - wanted) <= part * wanted, f"{what}: {text}, wanted about {wanted:.0f} bytes")


def clean(t, b, url, allowed=()):
    """Nothing on the console, nothing asked for but the page and its figures."""
    b.run("1")
    t.equal([x for x in b.console if not any(a in x for a in allowed)], [], "console")
    foreign = [r for r in b.requests if r != url and not re.fullmatch(re.escape(url) + r"status\.json\?limit=\d+", r)]
    t.equal([r for r in foreign if r != "about:blank"], [], "other requests")


def picture(b, name, **more):
    directory = os.environ.get("SCREENSHOTS")
    if directory:
        b.screenshot(os.path.join(directory, name + ".png"), **more)


# Over made-up figures

@suite.case(timeout=60)
def figures_are_differences(t):
    """Rates are what changed between two answers, sums and waiting are what the answers say."""
    with status.Replay(mixed()) as r, page(t, r.url) as b:
        b.wait("document.querySelector('#written').textContent.endsWith('/s')", "no rate")
        time.sleep(2)
        near(t, b.text("#written"), 3 * MIB + 940 * KIB, "written")
        near(t, b.text("#delivered"), 3 * MIB + 940 * KIB, "delivered")
        for pod, speed in (("web-1", 3 * MIB), ("api-7", 40 * KIB), ("batch-2", 900 * KIB)):
            near(t, cell(b, pod, "rate"), speed, pod)
        t.equal([cell(b, "api-7", c) for c in ("next", "backlog", "deadline", "oldest", "rotations", "lost")],
                ["▶ 1", "5.00 MiB", "! 4.5 s", "2.3 s", "0", "0"], "cells of api-7")
        t.equal([cell(b, "web-1", c) for c in ("next", "backlog", "deadline", "oldest", "rotations", "lost")],
                ["–", "0 B", "–", "–", "12", "0"], "cells of web-1")
        near(t, b.text("#pending"), 5 * MIB + 70 * KIB, "pending", part=0.01)
        t.equal([b.text(s) for s in ("#oldest", "#uptime", "#rung", "#order", "#proof", "#lost", "#version")],
                ["oldest unread 2.3 s", b.text("#uptime"), "fs", "order: hot", "proven", "0", "0.1.0"], "readouts")
        t.check(re.fullmatch(r"1 h 0 m", b.text("#uptime")), f"uptime {b.text('#uptime')}")
        t.equal((b.text("#latency-say"), b.text("#latency-sum").split(" · ")[0]), ("median ≤ 10 ms", "99 % ≤ 25 ms"), "latency")
        t.check("10 %" in b.text("#plate") and "3.0 %" in b.text("#plate"), f"blocked and processor: {b.text('#plate')}")
        widths = b.run("[...document.querySelectorAll('.c-rate i')].map(i => i.getBoundingClientRect().width)")
        t.check(abs(widths[1] / widths[0] - 0.3) < 0.05 and 0 < widths[2] < 0.03 * widths[0], f"bars: {widths}")
        drawn = b.run("['#flow .t-written', '#flow .t-delivered', '#wait .t-pending'].map(s => document.querySelector(s).getAttribute('d'))")
        t.check(all(d.count("L") >= 1 for d in drawn), f"traces: {drawn}")
        clean(t, b, r.url)


@suite.case(timeout=60)
def sorting_filter_folding_and_pause_by_keyboard(t):
    with status.Replay(mixed()) as r, page(t, r.url) as b:
        t.equal(names(b), ["web-1", "batch-2", "api-7"], "by write rate, busiest first; quiet ones folded")
        t.equal(b.text("#quiet"), "▸ 40 quiet logs", "how many are folded")

        def tab_to(selector):
            for _ in range(80):
                b.key("Tab")
                if b.run(f"document.activeElement === document.querySelector('{selector}')"):
                    return
            t.fail(f"Tab does not reach {selector}")

        tab_to(".c-next button")
        b.key("Enter")
        t.equal(names(b), ["api-7", "batch-2", "web-1"], "by order of draining")
        t.equal(b.run("document.querySelector('#heads .c-next').getAttribute('aria-sort')"), "ascending", "aria-sort")
        b.key("Enter")
        t.equal(names(b), ["batch-2", "api-7", "web-1"], "turned round; what waits for nothing still last")
        t.equal(b.run("document.querySelectorAll('[aria-sort]').length"), 1, "columns that are said to be sorted")
        outline = b.run("getComputedStyle(document.activeElement).outlineStyle")
        t.equal(outline, "solid", "the focus can be seen")

        tab_to(".row .who")
        b.key("Enter")
        b.wait("document.querySelector('.more')", "a row does not open")
        t.check("/var/log/pods/jobs_batch-2_uid/app" in b.text(".more"), f"opened: {b.text('.more')}")
        for turn in (((1, 2), (2, 1)), ((1, 1), (2, 2))):
            order = names(b)[:2]
            for n, place in turn:
                r.logs[n].more["next"] = place
            b.wait(f"document.querySelector('.row b').textContent === {json.dumps(order[1])}", "rows do not change places")
            t.equal(b.run("document.activeElement.querySelector('b')?.textContent"), "batch-2", "what has the focus after that")
            t.equal(b.run("document.querySelector('.more').previousSibling.querySelector('b').textContent"), "batch-2", "what is open after that")
        b.key("Enter")
        t.equal(b.run("document.querySelectorAll('.more').length"), 0, "closed again")

        tab_to("#quiet")
        b.key("Enter")
        b.wait("document.querySelectorAll('.row').length == 43", "quiet ones are not shown")
        b.key("Enter")
        b.wait("document.querySelectorAll('.row').length == 3", "they are not folded again")

        b.key("/")
        b.type("quiet -7")
        b.wait("document.querySelectorAll('.row').length == 1", "the filter does not find one")
        t.equal(names(b), ["idle-7"], "filtered by namespace and pod, quiet ones too")
        t.equal(b.text("#logs-say"), "1 of 43 match", "said so")
        t.check(proc.wait_until(lambda: r.asked[-1].endswith("limit=0"), 3), "all are asked for while one is searched")
        b.key("Escape")
        b.wait("document.querySelectorAll('.row').length == 3", "Escape does not end the filter")

        b.key("p")
        b.wait("document.body.dataset.link == 'paused'", "p does not pause")
        time.sleep(2)  # one may be under way
        asked, text = len(r.asked), b.text("#readout")
        time.sleep(2.5)
        t.equal((len(r.asked), b.text("#readout")), (asked, text), "asked and shown while paused")
        b.key("p")
        b.wait("document.body.dataset.link == 'live'", "it does not go on")
        b.wait(f"document.querySelector('#readout').innerText.trim() !== {json.dumps(text)}", "figures do not move again")
        clean(t, b, r.url)


@suite.case(timeout=60)
def lost_bytes_are_red_and_say_why(t):
    logs = [status.Log("web-1", MIB, lost={"truncated": 3 * KIB}), status.Log("old", lost={}, events={"vanished": 2}), status.Log("idle")]
    sinks = [{"name": "file:/full/disk", "batches": 1, "records": 5, "bytes": 100, "invalid_records": 2, "retries": 9, "failing": True}]
    with status.Replay(logs, sinks=sinks, proof="lower_bound", proof_why="truncations are not counted") as r, page(t, r.url) as b:
        red = b.run("(() => { const e = document.body.appendChild(document.createElement('i')); e.className = 'bad';"
                    "const c = getComputedStyle(e).color; e.remove(); return c; })()")
        hue = [int(x) for x in re.findall(r"\d+", red)]
        t.check(hue[0] > 150 and hue[0] > 2 * hue[1] and hue[0] > 2 * hue[2], f"not a red: {red}")

        def colour(selector):
            return b.run(f"getComputedStyle(document.querySelector('{selector}')).color")

        t.equal((b.text("#lost"), colour("#lost")), ("! 3.00 KiB", red), "lost in all")
        t.equal(b.text("#lost-why"), "truncated: 3.00 KiB, 1 time; vanished: 0 B, 2 times", "why")
        t.equal([cell(b, p, "lost") for p in ("web-1", "old")], ["! 3.00 KiB", "! 0 B"], "lost of each, unknown sizes too")
        t.equal(colour(".row .c-lost .bad"), red, "colour in the table")
        t.equal(names(b), ["web-1", "old"], "what has lost something is not quiet")
        t.equal((b.text("#sinks li b"), colour("#sinks li b")), ("✕ failing", red), "a failing sink")
        t.check("file:/full/disk" in b.text("#sinks") and "9 retries" in b.text("#sinks"), f"sinks: {b.text('#sinks')}")
        t.equal((b.text("#proof"), b.text("#proof-why")), ("lower bound", "truncations are not counted"), "proof")
        t.check(b.run("document.title").startswith("! "), "the title does not tell of it")
        r.logs = [status.Log("web-1", MIB)]
        b.wait("document.querySelector('#lost').textContent === '0'", "still lost")
        t.check(colour("#lost") != red, "red though nothing was lost")
        clean(t, b, r.url)


@suite.case(timeout=60)
def what_the_node_says_stays_text(t):
    """Names, paths, sinks and reasons that are HTML; the collector itself does not forbid them."""
    logs = [status.Log(HOSTILE, MIB, namespace="<b>ns</b>", container="</script><script>alert(2)</script>"),
            status.Log("", 2 * MIB, namespace="", container="", path="/logs/<iframe src=//example.com>/\"'><svg onload=alert(3)>.log"),
            status.Log("", 5, namespace="", container="", path="/")]
    sinks = [{"name": "file:<img src=//example.com/x>", "batches": 1, "records": 1, "bytes": 1, "invalid_records": 0, "retries": 0, "failing": False}]
    more = {"sinks": sinks, "proof_why": "<u>why</u>", "version": "<s>0</s>", "rung": "<i>fs</i>", "order": "&lt;"}
    with status.Replay(logs, **more) as r, page(t, r.url) as b:
        b.run("document.querySelectorAll('.who').forEach(x => x.click())")
        time.sleep(1.5)
        t.equal(sorted(names(b)), sorted([HOSTILE, "\"'><svg onload=alert(3)>.log", "/"]), "names")
        t.check(HOSTILE in b.text("#rows") and "<b>ns</b> · </script>" in b.text("#rows"), f"rows: {b.text('#rows')}")
        t.equal([b.text(s) for s in ("#sinks li span", "#proof-why", "#version", "#rung", "#order")],
                ["file:<img src=//example.com/x>", "<u>why</u>", "<s>0</s>", "<i>fs</i>", "order: &lt;"], "the rest")
        t.equal(b.run("document.querySelectorAll('img, iframe, u, s, main script, #rows svg, embed, object').length"), 0, "elements that came from it")
        clean(t, b, r.url)


@suite.case(timeout=60)
def a_lost_connection_is_said_and_mended(t):
    with status.Replay(mixed()) as r, page(t, r.url) as b:
        time.sleep(1.5)

        def says(link, text, timeout):
            b.wait(f"document.body.dataset.link === '{link}'", f"not {link}", timeout)
            t.check(text in b.text("#banner"), f"{link}: {b.text('#banner')}")
            t.check(b.run("document.body.hasAttribute('data-old')"), "old figures look new")
            t.check(b.run("document.title").startswith(("✕", "▲")), f"title: {b.run('document.title')}")

        def mended():
            b.wait("document.body.dataset.link === 'live'", "not live again", 8)
            t.equal(b.run("document.querySelector('#banner').hidden"), True, "the banner is hidden")

        r.stop()
        says("gone", "No connection to hotdrain.", 8)
        b.wait(r"/What is below is ([2-9]|1\d) s old/.test(document.querySelector('#banner').innerText)", "the age is not said")
        t.equal(b.run("document.querySelector('#alarm').getAttribute('role')"), "alert", "role")
        r.start()
        mended()
        for how, link, text in (("busy", "stuck", "HTTP status 503"), ("garbage", "strange", "not understood"), ("other", "strange", "not understood"),
                                ("frozen", "stale", "stand still"), ("hangs", "silent", "does not answer")):
            r.how = how
            says(link, text, 9)
            r.how = "ok"
            mended()
        clean(t, b, r.url, allowed=("ERR_CONNECTION_REFUSED", "503", "ERR_ABORTED"))


@suite.case(timeout=60)
def a_restarted_daemon_is_no_leap(t):
    """Counters begin anew: no rate is negative or enormous, and the page says it."""
    with status.Replay(mixed()) as r, page(t, r.url) as b:
        time.sleep(2.2)
        r.restart()
        b.wait("document.querySelector('#since').textContent.startsWith('restarted at')", "the restart is not said")
        for _ in range(12):
            text = b.text("#written")
            t.check(text == "–" or amount(text) < 5 * MIB, f"written: {text}")
            time.sleep(0.25)
        near(t, b.text("#written"), 3 * MIB + 940 * KIB, "written")
        b.wait("document.querySelector('#uptime').textContent.length < 6", "running for as long as before")


@suite.case(timeout=60)
def many_containers_are_bounded(t):
    """Thousands: as many are asked for as are shown, and all of them only while one is searched."""
    logs = [status.Log(f"busy-{n}", 1000 + n) for n in range(600)] + [status.Log(f"idle-{n}") for n in range(2400)]
    with status.Replay(logs) as r, page(t, r.url) as b:
        t.check(b.run("document.querySelectorAll('.row').length") <= 200, "more rows than were asked for")
        t.check(all(a.endswith("limit=200") for a in r.asked if "status" in a), f"asked: {r.asked[:5]}")
        b.key("/")
        b.type("busy")
        b.wait("document.querySelectorAll('.row').length == 300", "rows while 600 match")
        t.equal(b.text("#cut"), "300 more are not shown: filter to find them", "said so")
        b.type("-599")
        b.wait("document.querySelectorAll('.row').length == 1", "one is not found")
        clean(t, b, r.url)


@suite.case(timeout=60)
def readable_on_a_phone_in_light_and_dark(t):
    """At 360 and 320 pixels nothing is cut off at the right; contrast in each state and both colour schemes."""
    long = "a-deployment-with-a-name-as-long-as-they-may-be-" + "x" * 200
    logs = mixed() + [status.Log(long, MIB, namespace="n" * 63, container="c" * 63, lost={"rotated_away": 123456789, "held_cap": 5 * MIB},
                                 backlog=1000 * MIB, oldest_s=86400 * 3, deadline_s=0, next=3, rotations=123456),
                      status.Log("", 5, namespace="", container="", path="/" + "p" * 300)]
    sinks = [{"name": "file:/" + "s" * 55, "batches": 1, "records": 123456789, "bytes": 1 << 40, "invalid_records": 2, "retries": 9, "failing": n == 1}
             for n in range(2)]
    with status.Replay(logs, sinks=sinks, proof="lower_bound", proof_why="truncations were not counted on this rung, which is the last") as r, \
            page(t, r.url) as b:
        def judged(what):
            got = b.run(CONTRAST)
            t.equal(got["found"], [], f"contrast, {what}")
            t.check(got["judged"] > 80, f"only {got['judged']} texts were judged")

        b.run("document.querySelectorAll('.who').forEach(x => x.click())")
        for size, mobile in (((360, 740), True), ((320, 600), True), ((768, 1024), True), ((901, 700), False), ((1280, 800), False)):
            b.resize(*size, mobile=mobile)
            b.wait(f"innerWidth === {size[0]}", "the page is wider than the screen", 3)
            t.equal(b.run(TOO_WIDE), [], f"beyond the right edge at {size[0]}")
        roles = b.run("[...document.querySelectorAll('table, tbody, .row, .row > *')].filter(e => !e.hasAttribute('role')).length")
        t.equal(roles, 0, "parts of the table without a role of their own, which other display values take away")
        for dark in (False, True):
            b.scheme(dark)
            judged("dark" if dark else "light")
        shade = b.run("getComputedStyle(document.body).backgroundColor")
        b.scheme(False)
        t.check(shade != b.run("getComputedStyle(document.body).backgroundColor"), "dark is as light as light")
        r.stop()
        b.wait("document.body.dataset.link === 'gone'", "not gone")
        for dark in (False, True):
            b.scheme(dark)
            judged("connection lost, " + ("dark" if dark else "light"))


@suite.case(timeout=60)
def one_small_file_that_makes_no_html(t):
    with open(status.PAGE, "rb") as f:
        data = f.read()
    text = data.decode("utf-8", "strict")
    t.check(len(data) <= 40960, f"{len(data)} bytes")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "http://", "https://", "@import", "url("):
        t.check(word not in text, f"the page has {word}")
    t.equal(re.findall(r'(?:src|href)="([^"]*)"', text), ["data:,", "status.json", "metrics"], "what it refers to")


# Over a running hotdrain

def serving(t, root, *args, port=0, **more):
    """(collector, the page's address)"""
    c = Collector(t, "-r", root, "--metrics", f"127.0.0.1:{port}", *args, **more)
    if not proc.wait_until(lambda: re.search(r"127\.0\.0\.1:[1-9]", c.stderr()), 10):
        t.fail("standard error never named the address of --metrics")
    port = re.search(r"127\.0\.0\.1:([1-9]\d*)", c.stderr())[1]
    return c, f"http://127.0.0.1:{port}/"


def writers(t, root, rates):
    """{pod: (process, log)} that write so many lines of 200 bytes a second, until they are ended."""
    found = {}
    for n, (pod, lines_each_s) in enumerate(rates.items()):
        log = tree.Pod(root, name=pod, number=n).log()
        command = [tool.helper("writer"), "-t", "120", "-r", str(lines_each_s), "-l", "130", "-f", log, f"{pod}.0"]
        found[pod] = subprocess.Popen(command), log
    return found


@suite.case(timeout=60)
def live_writers_and_rotation(t):
    """The busiest is on top, figures move and agree with the files, rotations count, and a killed daemon is said to be gone."""
    if browser.missing():
        t.skip(browser.missing())
    root = t.mkdir("pods")
    tree.write_lines(tree.Pod(root, name="silent", number=99).log(), "once", 3)
    rates = {"busy": 4000, HOSTILE: 800, "calm": 100, "slow": 2}
    c, url = serving(t, root)
    with c, page(t, url) as b:
        running = writers(t, root, rates)
        b.wait("document.querySelectorAll('.row').length >= 4", "not all writers are shown")
        b.wait("document.querySelector('.row b').textContent === 'busy'", "the busiest is not on top")
        first = b.text("#written-sum")
        for k in range(3):
            time.sleep(0.9)
            process, log = running["busy"]
            os.rename(log, f"{log}.20261121-00000{k}")
            proc.kill(process.pid, signal.SIGHUP)
        t.check(b.text("#written-sum") != first, f"written stays at {first}")
        b.wait("document.querySelector('.row .c-rotations span').textContent === '3'", "three rotations are not counted")
        before, began = os.path.getsize(running["busy"][1]), time.monotonic()
        time.sleep(3.5)
        speed = (os.path.getsize(running["busy"][1]) - before) / (time.monotonic() - began)
        near(t, cell(b, "busy", "rate"), speed, "write rate of the busiest", part=0.4)
        speeds = [amount(text) for text in b.texts(".row .c-rate > span:first-child")]
        t.check(len(speeds) == 4 and all(x >= 0.85 * y for x, y in zip(speeds, speeds[1:])), f"order of the rates: {speeds}")
        t.check(any(HOSTILE in text for text in b.texts(".row .who")), f"{HOSTILE} is not among {b.texts('.row .who')}")
        t.equal(b.text("#lost"), "0", "lost")
        b.wait("document.querySelector('#latency-say').textContent.startsWith('median')", "no latency")
        t.equal(b.text("#sinks li b"), "● ok", "the sink")
        t.check("silent" not in names(b), "a quiet one is not folded")
        clean(t, b, url)
        picture(b, "live")

        c.process.kill()
        b.wait("document.body.dataset.link === 'gone'", "a killed daemon is not missed", 8)
        t.check("No connection to hotdrain." in b.text("#banner"), "the banner does not say it")
        c.process.wait()
        again, _ = serving(t, root, port=url.rstrip("/").rpartition(":")[2])
        with again:
            b.wait("document.body.dataset.link === 'live'", "not live with the next daemon", 8)
            b.wait("document.querySelector('#since').textContent.startsWith('restarted at')", "the restart is not said")
            b.wait("document.querySelector('.row b')?.textContent === 'busy'", "the busiest is not on top")
            for process, _ in running.values():
                process.terminate()
        clean(t, b, url, allowed=("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED", "503"))


@suite.case(timeout=60)
def live_loss_is_red(t):
    """A log is cut off while nothing can be delivered: what waits is shown before, what is lost once it is read on."""
    if browser.missing():
        t.skip(browser.missing())
    root = t.mkdir("pods")
    log = lines.Log(tree.Pod(root, name="cut").log())
    log.write(40000)
    c, url = serving(t, root, "--batches", "2", "--batch-bytes", "4Ki", out="stalled")
    with c, page(t, url) as b:
        b.wait("document.querySelector('.row .c-next span')?.textContent === '▶ 1'", "what waits is not next")
        t.check(amount(cell(b, "cut", "backlog")) > 100 * KIB, f"backlog {cell(b, 'cut', 'backlog')}")
        t.equal(b.text("#lost"), "0", "lost before")
        log.truncate()
        log.write(10)
        c.read_on()
        b.wait("document.querySelector('#lost').classList.contains('bad')", "the loss is not shown")
        t.check("truncated" in b.text("#lost-why"), f"why: {b.text('#lost-why')}")
        t.check(amount(b.text("#lost")) > 100 * KIB, f"lost {b.text('#lost')}")
        t.equal(cell(b, "cut", "lost"), b.text("#lost"), "lost of the log and in all")
        clean(t, b, url)
        log.close()


lanes.run(suite, 3)
