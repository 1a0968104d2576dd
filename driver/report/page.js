"use strict";
// Everything can be read without this script: it adds a choice of colours, filters, copying, and opens what is folded for print.
(function () {
    const all = (selector) => Array.from(document.querySelectorAll(selector));
    all(".controls").forEach((element) => { element.hidden = false; });

    const theme = document.getElementById("theme");
    const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const label = () => { theme.textContent = dark() ? "Light colours" : "Dark colours"; };
    theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; label(); });
    label();

    all("button.copy").forEach((button) => button.addEventListener("click", () => {
        const source = document.getElementById(button.dataset.of);
        const said = (text) => { button.textContent = text; };
        const select = () => {
            const range = document.createRange();
            range.selectNodeContents(source);
            getSelection().removeAllRanges();
            getSelection().addRange(range);
            said("Selected");
        };
        if (navigator.clipboard) navigator.clipboard.writeText(source.textContent).then(() => said("Copied"), select);
        else select();
    }));

    const search = document.getElementById("search");
    if (search) {
        const rows = all("#events tbody tr[data-kind]");
        const boxes = all("#filters input[data-kind]");
        const only = document.getElementById("only-bad");
        const count = document.getElementById("count");
        const filter = () => {
            const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.kind));
            const text = search.value.trim().toLowerCase();
            let shown = 0;
            rows.forEach((row) => {
                const fits = kinds.has(row.dataset.kind) && (!only.checked || row.dataset.bad === "yes") &&
                    (!text || row.dataset.run === text || row.textContent.toLowerCase().includes(text));
                row.hidden = !fits;
                shown += fits ? 1 : 0;
            });
            count.textContent = shown + " of " + rows.length + " events shown";
        };
        [search, only, ...boxes].forEach((input) => input.addEventListener("input", filter));
        all("a[data-search]").forEach((link) => link.addEventListener("click", () => { search.value = link.dataset.search; filter(); }));
        filter();
    }

    let opened = [];
    addEventListener("beforeprint", () => { opened = all("details:not([open])"); opened.forEach((d) => { d.open = true; }); });
    addEventListener("afterprint", () => { opened.forEach((d) => { d.open = false; }); });
})();
