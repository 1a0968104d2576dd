-- Prints docs/review_rules.md: psql -XAtqf docs/review_rules.sql > docs/review_rules.md, in a database with sor.
with rules as (select row_number() over () as n, * from sor.migration_rules()),
severities(severity, o, meaning) as (values
    ('safe', 1, 'Nothing is lost, and nobody waits longer than an instant.'),
    ('locking', 2, 'Somebody waits, or what programs meet changes; or the statement fails as it stands.'),
    ('rewriting', 3, 'Every row is written again while everybody waits.'),
    ('destructive', 4, 'Data, a guarantee, a permission or a name that programs use is lost.'),
    ('opaque', 5, 'What it does cannot be read off it: a person has to.'))
select body from (
    select 0 as o, 0 as n, E'# The rules of the review\n\nPrinted by `docs/review_rules.sql` out of `sor.migration_rules()`; '
           || E'[review.md](review.md) says how they are used.' as body
    union all
    select o, 0, format(E'\n## %s\n%s', severity, meaning) from severities
    union all
    select o, n, format(E'\n### `%s`\n%s%s%s', rule, hazard,
               E'\n\n' || regexp_replace(rtrim(example, E'\n'), '^', '    ', 'gn'),
               case when safer ~ ';$' then E'\n\nInstead:\n\n    ' || safer else E'\n\n' || safer end)
      from rules join severities using (severity)) x
 order by o, n;
