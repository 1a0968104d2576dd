// Drives the system's Chromium over the pages of a folder: page.mjs CHROMIUM FOLDER TEMPORARY. A line of JSON for each check.
import { chromium } from "playwright-core";
import { mkdtempSync, readdirSync, readFileSync, existsSync } from "node:fs";
import { join } from "node:path";

const [executablePath, folder, temporary] = process.argv.slice(2);
const check = (ok, name, got) => process.stdout.write(JSON.stringify({ ok: Boolean(ok), name, got }) + "\n");

const context = await chromium.launchPersistentContext(mkdtempSync(join(temporary, "browser-")), {
    executablePath, headless: true, chromiumSandbox: false, viewport: { width: 1280, height: 900 }, offline: false,
    args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let complaints = [], requests = [];
context.on("request", (request) => requests.push(request.url()));
context.on("weberror", (error) => complaints.push(String(error.error())));
const page = context.pages()[0] ?? await context.newPage();
page.on("console", (message) => { if (["error", "warning"].includes(message.type())) complaints.push(message.text()); });
page.on("dialog", (dialog) => { complaints.push("dialog " + dialog.message()); dialog.dismiss(); });

// The contrast of each text with what it stands on, as WCAG 2 computes it; the worst ones below what AA asks for.
const contrasts = () => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const colour = rgb(getComputedStyle(e).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return [255, 255, 255, 255];
    };
    const bad = [];
    let seen = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || ["SCRIPT", "STYLE", "title", "desc"].includes(element.tagName) || !element.checkVisibility()) continue;
        if (element.closest(".skip")) continue;
        ++seen;
        const style = getComputedStyle(element);
        const front = luminance(rgb(element instanceof SVGElement ? style.fill : style.color)), back = luminance(ground(element));
        const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
        if (ratio < (large ? 3 : 4.5)) bad.push([walker.currentNode.textContent.slice(0, 40), ratio.toFixed(2)]);
    }
    return { seen, bad: bad.slice(0, 5) };
};

// Marks and bars against the times they carry: in order of time, within the picture, at one scale between the gaps.
const geometry = () => {
    const svg = document.querySelector("svg.timeline");
    const box = svg.viewBox.baseVal;
    const gaps = [...svg.querySelectorAll(".gap")].map((g) => [Number(g.dataset.from), Number(g.dataset.to)]);
    const points = [], outside = [];
    for (const mark of svg.querySelectorAll(".mark")) {
        const b = [...mark.children].find((c) => c.tagName !== "title").getBBox();
        const bar = mark.querySelector("rect");
        const from = Number(mark.dataset.from), to = Number(mark.dataset.to);
        points.push([from, bar ? bar.x.baseVal.value : b.x + b.width / 2]);
        if (bar && bar.width.baseVal.value > 2.5) points.push([to, bar.x.baseVal.value + bar.width.baseVal.value]);
        if (b.x < 150 || b.x + b.width > box.width || b.y < 0 || b.y + b.height > box.height) outside.push(mark.querySelector("title").textContent);
    }
    points.sort((a, b) => a[0] - b[0]);
    const disorder = points.filter((p, i) => i > 0 && p[1] < points[i - 1][1] - 2);
    // the scale: pixels per microsecond of pairs with no gap between them
    const scales = [];
    for (let i = 0; i < points.length; ++i)
        for (let j = i + 1; j < points.length && j < i + 50; ++j)
            if (points[j][1] - points[i][1] > 60 && !gaps.some(([from, to]) => points[i][0] < to && points[j][0] > from))
                scales.push((points[j][1] - points[i][1]) / (points[j][0] - points[i][0]));
    const spread = scales.length ? Math.max(...scales) / Math.min(...scales) : 1;
    const sizes = [...svg.querySelectorAll("text")].filter((t) => { const b = t.getBBox(); return b.x < -1 || b.x + b.width > box.width + 1; }).map((t) => t.textContent);
    // a line stands at the mark that it is about
    const lines = [...svg.querySelectorAll(".failure")];
    const apart = lines.filter((line) => ![...svg.querySelectorAll(".mark:not(.neutral)")].some((mark) => mark.dataset.to === line.dataset.at)).length;
    const forms = { rect: "▬", circle: "●", "path.stroke": "✕", "path:not(.stroke)": "◆", text: "?" };
    const key = [...document.querySelectorAll(".key li")].map((li) => li.textContent);
    const drawn = Object.entries(forms).filter(([form]) => svg.querySelector(".mark " + (form === "circle" ? "circle:not(.ring)" : form))).map(([, sign]) => sign);
    if (svg.querySelector(".mark .ring")) drawn.push("○");
    if (gaps.length) drawn.push("s");
    return { apart, empty: [...svg.querySelectorAll(".lane")].filter((lane) => !lane.querySelector(".mark")).length, tones: lines.map((line) => line.classList[1]),
        unlisted: [...drawn].sort().join("") === key.map((text) => text[0]).sort().join("") ? "" : [drawn, key], marks: points.length, outside, disorder: disorder.length, spread, sizes, lanes: [...svg.querySelectorAll(".lane")].map((l) => l.dataset.lane),
        bad: svg.querySelectorAll(".mark.bad, .mark.open").length, lines: svg.querySelectorAll(".failure").length, title: svg.querySelector("title").textContent };
};

for (const file of readdirSync(folder).filter((name) => name.endsWith(".html")).sort()) {
    const name = file.replace(".html", "");
    complaints = [];
    requests = [];
    await page.emulateMedia({ colorScheme: "light", media: "screen" });
    await page.goto("file://" + join(folder, file));
    const json = existsSync(join(folder, name + ".json")) ? readFileSync(join(folder, name + ".json"), "utf8") : null;
    const report = json && JSON.parse(json);
    check(await page.evaluate(() => window.hostile === undefined), `${name}: no script of the rows has run`);
    if (report) {
        const text = (selector) => page.locator(selector).innerText();
        const shown = (s) => s.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => "⟨U+" + c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩").replace(/\s+/g, " ").trim();
        const same = async (selector, wanted) => { const got = shown(await text(selector)); check(got === shown(wanted), `${name}: ${selector} reads as the row says`, { got, wanted: shown(wanted) }); };
        await same("#run-id", report.run.id);
        await same("#root-cause", report.finding.root_cause);
        await same("#failure-point", report.summary.failure_point);
        await same("#side-effects", report.summary.side_effects);
        await same("#next-action", report.finding.next_action);
        if (report.finding.command) await same("#command", report.finding.command);
        const box = await page.locator("#next-action").boundingBox();
        check(name === "hostile" || box.y < 900, `${name}: what to do next is on the first screen`, box);
    }
    const headings = await page.evaluate(() => [...document.querySelectorAll("h1,h2,h3")].map((h) => Number(h.tagName[1])));
    check(headings.filter((h) => h === 1).length === 1 && headings.every((h, i) => i === 0 || h - headings[i - 1] <= 1), `${name}: one first heading, no level left out`, headings);
    check(await page.evaluate(() => document.documentElement.lang === "en" && document.querySelectorAll("main").length === 1 && document.querySelectorAll("header, footer").length === 2 &&
        [...document.querySelectorAll("th")].every((th) => th.scope === "col") && [...document.querySelectorAll("table")].every((t) => t.caption) &&
        [...document.querySelectorAll("input, button")].every((i) => i.labels?.length || i.textContent.trim()) &&
        new Set([...document.querySelectorAll("[id]")].map((e) => e.id)).size === document.querySelectorAll("[id]").length &&
        [...document.querySelectorAll('a[href^="#"]')].every((a) => document.getElementById(a.getAttribute("href").slice(1)))), `${name}: landmarks, headers, captions, labels, ids and links`);
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    check(width[0] <= width[1], `${name}: no sideways scrolling`, width);
    const picture = await page.evaluate(geometry);
    check(picture.marks > 0 && !picture.outside.length && !picture.disorder && picture.spread < 1.1 && !picture.sizes.length, `${name}: the marks stand where their times say`, picture);
    check(!picture.empty && !picture.unlisted, `${name}: no empty lane; the key lists the signs of the picture and no other`, [picture.empty, picture.unlisted]);
    if (report) {
        const document_tone = await page.evaluate(() => document.body.className);
        check(["run", "turns", ...(report.tool_calls.length ? [report.tool_calls.some((c) => c.tool !== "claim") ? "tool calls" : "claims and items"] : [])].every((lane) => picture.lanes.includes(lane)) &&
            picture.lanes.length >= 2 + Math.min(report.outbox.length, 1), `${name}: lanes`, picture.lanes);
        if (!["success", "stale", "cancelled"].includes(name)) check(picture.bad > 0, `${name}: failures are marked`, picture.bad);
        check(picture.lines === (name === "success" ? 0 : 1) && !picture.apart, `${name}: a line where it failed, at its mark`, picture);
        check(picture.tones.every((tone) => tone === (document_tone ?? "")), `${name}: the line has the page's colour`, [picture.tones, document_tone]);
        check(picture.title.includes(report.run.id), `${name}: the picture has a name`);
    }
    for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        const { seen, bad } = await page.evaluate(contrasts);
        check(seen > 30 && !bad.length, `${name}: contrast, ${colorScheme}`, { seen, bad });
    }
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.locator("#theme").click();
    check(await page.evaluate(() => getComputedStyle(document.body).backgroundColor) !== dark, `${name}: the colours can be chosen`);

    // by keyboard alone: the first stop skips to the answers; search and boxes filter
    await page.reload();
    await page.keyboard.press("Tab");
    check(await page.evaluate(() => document.activeElement.className === "skip" && document.activeElement.getBoundingClientRect().left >= 0), `${name}: the first stop is the skip link, and it shows`);
    const stops = new Set();
    for (let i = 0; i < 300 && !stops.has("search"); ++i) {
        await page.keyboard.press("Tab");
        const stop = await page.evaluate(() => { const e = document.activeElement, s = getComputedStyle(e); return { id: e.id || e.getAttribute("aria-label") || e.className || e.tagName, outline: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 }; });
        if (!stop.outline) check(false, `${name}: the focus shows on ${stop.id}`);
        stops.add(stop.id);
    }
    check(["theme", "only-bad", "search"].every((s) => stops.has(s)), `${name}: every control is a stop`, [...stops]);
    await page.keyboard.type("no such event anywhere");
    check(await page.locator("#count").innerText().then((t) => t.startsWith("0 of ")), `${name}: the search filters, and says how many are left`);
    await page.locator("#search").fill("");
    await page.locator("#only-bad").check();
    const rows = await page.evaluate(() => [...document.querySelectorAll("#events tbody tr")].filter((r) => !r.hidden).map((r) => r.dataset.bad));
    check(rows.every((bad) => bad === "yes") && (rows.length > 0) === (name !== "success"), `${name}: only what went wrong, and that is something`, rows.length);
    await page.locator("#only-bad").uncheck();
    if (name === "tampered" || name === "crash") check(await page.locator("tr.bad .note").count() === 1, `${name}: the event that it rests on is marked`);

    const words = await page.evaluate(() => {
        const list = [...document.querySelectorAll(".words:last-of-type dt")].map((dt) => dt.textContent);
        const rest = document.querySelector("main").cloneNode(true);
        rest.querySelector(".words:last-of-type").remove();
        return { list, unused: list.filter((word) => !rest.textContent.toLowerCase().includes(word)) };
    });
    check(words.list.includes("turn") && !words.unused.length, `${name}: words are explained, those of the page alone`, words);
    await page.locator("a.skip").focus();
    await page.keyboard.press("Enter");
    check(await page.evaluate(() => document.activeElement.id === "main" && document.querySelector("#main > :first-child").matches(".answers")), `${name}: the skip link leads to the answers`);

    // paper
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    const print = await page.evaluate(() => ({ paper: getComputedStyle(document.body).backgroundColor, controls: [...document.querySelectorAll(".controls, .skip")].some((e) => e.checkVisibility()), ...0 }));
    check(print.paper === "rgb(255, 255, 255)" && !print.controls, `${name}: print is dark on white, without controls`, print);
    const larger = await page.evaluate(() => [...document.querySelectorAll("td .small, td summary")].filter((e) => parseFloat(getComputedStyle(e).fontSize) > parseFloat(getComputedStyle(e.closest("table")).fontSize) * 1.05).length);
    check(larger === 0, `${name}: in print nothing small is larger than its table`, larger);
    const pdf = await page.pdf({ format: "A4" });
    check(pdf.length > 10000 && pdf.subarray(0, 4).toString() === "%PDF", `${name}: it prints`, pdf.length);
    await page.emulateMedia({ media: "screen", colorScheme: "light" });
    await page.setViewportSize({ width: 390, height: 844 });
    const narrow = await page.evaluate(() => document.documentElement.scrollWidth);
    check(narrow <= 390, `${name}: fits a telephone`, narrow);
    const phone = await page.evaluate(() => {
        const box = (element) => element.getBoundingClientRect();
        const shown = [...document.querySelectorAll("svg.timeline")].filter((svg) => svg.checkVisibility());
        return {
            narrow: shown.length === 1 && shown[0].classList.contains("narrow") && parseFloat(getComputedStyle(shown[0].querySelector("text")).fontSize) * box(shown[0]).width / shown[0].viewBox.baseVal.width,
            outside: [...shown[0].querySelectorAll(".mark, .failure")].filter((mark) => box(mark).left < 0 || box(mark).right > innerWidth).length,
            cut: [...document.querySelectorAll("caption, td, td *, dd, p, li")].filter((e) => e.checkVisibility() && box(e).right > innerWidth + 0.5 && !e.closest("pre")).map((e) => e.textContent.slice(0, 40)).slice(0, 3),
            below: [...document.querySelectorAll("#events tbody tr[data-kind]")].filter((row) => box(row.cells[3]).top < box(row.cells[0]).bottom - 2 || box(row.cells[3]).width < 250).length,
            answer: Math.round(box(document.querySelector(".alarm, .answers")).top + scrollY) };
    });
    check(phone.narrow >= 9 && !phone.outside && !phone.cut.length && !phone.below && (name === "hostile" || phone.answer < 320), `${name}: on a telephone the picture fits, rows are stacked, the answers are near`, phone);
    const torn = await page.evaluate(() => [...document.querySelectorAll("time")].filter((time) => time.checkVisibility() && time.getClientRects().length > 1).length);
    check(torn === 0, `${name}: no moment is broken over two lines`, torn);
    const options = await page.evaluate(() => [...document.querySelectorAll(".command .nowrap")].filter((option) => option.getClientRects().length !== 1).length);
    check(options === 0 && await page.evaluate(() => [...document.querySelectorAll(".command pre")].every((pre) => (pre.textContent.match(/(^|\s)--[a-z-]+/g) ?? []).length === pre.querySelectorAll(".nowrap").length)), `${name}: no option of a command is broken`, options);
    await page.setViewportSize({ width: 1280, height: 900 });
    check(complaints.length === 0, `${name}: the console is silent`, complaints);
    check(requests.every((url) => url === "file://" + join(folder, file)), `${name}: no request leaves the page`, requests);
}

// a period: from a run to its events and back
await page.goto("file://" + join(folder, "period.html"));
const card = page.locator("article.run").first();
const run = (await card.getAttribute("id")).slice("run-".length);
await card.locator("a[data-search]").click();
const shown = await page.evaluate(() => [...document.querySelectorAll("#events tbody tr")].filter((row) => !row.hidden).map((row) => row.dataset.run));
check(shown.length > 0 && shown.every((id) => id === run) && (await page.locator("#count").innerText()).startsWith(shown.length + " of "), "period: a run's events alone", shown);
await page.locator(`#events-${run} a`).click();
check(new URL(page.url()).hash === "#run-" + run, "period: and back to the run");

// without script all of it is there, and no control that would do nothing
const plain = await chromium.launch({ executablePath, headless: true, chromiumSandbox: false, args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"] });
const still = await (await plain.newContext({ javaScriptEnabled: false })).newPage();
await still.goto("file://" + join(folder, "failed.html"));
const visible = await still.locator("body").innerText();
check(/request ids/.test(visible) && /started the run/.test(visible) && !/Dark colours/.test(visible) && !/only what went wrong/.test(visible), "without script: the answers, no dead controls");
await plain.close();
await context.close();
