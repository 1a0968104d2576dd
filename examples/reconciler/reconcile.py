#!/usr/bin/python3
"""reconciler-handler in Python: reconcile.py RULES.csv MAIL_DOMAIN, JSON lines in and out."""
import json, re, sys

starts, single = {}, []
for line in open(sys.argv[1], encoding="utf-8"):
    match, _, rest = line.rstrip("\n").partition(",")
    pattern, _, category = rest.partition(",")
    if match == "start": starts[pattern] = category
    if match == "word": single.append((pattern, category))
    if match == "default": default = category

def categorise(merchant):
    words = [w for w in re.findall("[a-z]+", merchant.lower()) if len(w) > 1]
    for n in range(len(words), 0, -1):
        if (start := " ".join(words[:n])) in starts: return starts[start]
    return next((category for word, category in single if word in words), default)

for line in sys.stdin:
    item = json.loads(line)["item"]; row = item["row"]; category = categorise(row["merchant"])
    price = f"{row['amount']:.2f} {row['currency']}"
    print(json.dumps({"item_id": item["id"], "calls": [
        {"tool": "write", "arguments": {"table": "expenses", "on_conflict": "nothing", "record": {
            "transaction_id": item["id"], "category": category,
            **{c: row[c] for c in ("trans_date", "merchant", "card", "amount", "currency")}}}},
        {"tool": "queue", "arguments": {"destination": "mail", "event_type": "expense.confirmed",
            "aggregate_id": item["id"], "dedup_key": "expense.confirmed:" + item["id"], "payload": {
                "to": f"card-{row['card'][-4:]}@{sys.argv[2]}", "subject": f"Expense confirmed: {row['merchant']}, {price}",
                "text": f"{row['trans_date']} {row['merchant']} {price}\nCategory: {category}\n"}}}]}), flush=True)
