ALTER TABLE reconciler.expenses DROP COLUMN notes;
