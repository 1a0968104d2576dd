-- Run as the operator: the reconciler's tables, protected and registered.
\set ON_ERROR_STOP on
SET ROLE reconciler;
CREATE TABLE reconciler.pending_transactions (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL DEFAULT sor.uuid_v7(),
    statement     text NOT NULL,
    trans_date    date NOT NULL,
    merchant      text NOT NULL,
    card          text NOT NULL,
    amount        numeric NOT NULL CHECK (amount = round(amount, 2)), -- negative: a refund; numeric(12, 2) would round
    currency      char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    category_code text,
    category      text,                                             -- the truth, to measure the handler by
    occurrence    int NOT NULL DEFAULT 1 CHECK (occurrence > 0),    -- 2: the second equal purchase of a statement
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, statement, trans_date, merchant, card, amount, currency, occurrence)
);

CREATE TABLE reconciler.expenses (
    tenant_id      uuid NOT NULL,
    transaction_id uuid NOT NULL,
    trans_date     date NOT NULL,
    merchant       text NOT NULL,
    card           text NOT NULL,
    amount         numeric NOT NULL CHECK (amount = round(amount, 2)),
    currency       char(3) NOT NULL,
    category       text NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, transaction_id)
);

-- Auditors read under row security; nobody else needs a privilege on the tables.
GRANT USAGE ON SCHEMA reconciler TO reconciler_auditor;
GRANT SELECT ON reconciler.pending_transactions, reconciler.expenses TO reconciler_auditor;
RESET ROLE;

SELECT sor.protect_tenant('reconciler.pending_transactions');
SELECT sor.protect_tenant('reconciler.expenses');

-- The category is no part of what makes two rows one purchase, and no Worker may read it: the handler is to find it.
SELECT sor.register_table('reconciler.pending_transactions',
    key      => '{statement,trans_date,merchant,card,amount,currency,occurrence}',
    readable => '{id,statement,trans_date,merchant,card,amount,currency,occurrence}',
    writable => '{statement,trans_date,merchant,card,amount,currency,category_code,category,occurrence}');
SELECT sor.register_table('reconciler.expenses',
    key      => '{transaction_id}',
    writable => '{transaction_id,trans_date,merchant,card,amount,currency,category}');
SELECT sor.register_queue('reconciler.pending_transactions', max_attempts => 5, backoff_base => '30 s');
