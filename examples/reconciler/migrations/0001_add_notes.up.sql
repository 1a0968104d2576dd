-- What a person has to say about an expense.
-- sor: touches reconciler.expenses
ALTER TABLE reconciler.expenses ADD COLUMN notes text;
