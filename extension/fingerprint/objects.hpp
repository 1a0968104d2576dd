// The statement that reads the catalogs: one row for each object of the user's.
//   $1 text[]: the schemas, null: all but PostgreSQL's and sor's own
//   object text, definition text, deparsed boolean (whether the server wrote the definition out of a stored tree)
// Set by set, never an object at a time. What differs between versions of PostgreSQL is read through to_jsonb(row), which
// has the columns that are there. Nothing here needs a privilege, so every caller gets the same rows; the options of user
// mappings and the connections of subscriptions, which are secrets, are left out.
#pragma once

namespace sor::fingerprint {

inline constexpr char objects_query[] =
    R"sql(
with scope as materialized (
    select n.oid, quote_ident(n.nspname) as name from pg_namespace n
     where case when $1 is null then n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'sor') else n.nspname = any ($1) end
), member as materialized (
    select classid, objid from pg_depend where deptype = 'e'
), relation as materialized (
    select c.oid, s.name || '.' || quote_ident(c.relname) as name, c.relname, c.relkind, c.relowner, c.relacl, c.relpersistence, c.relam,
           c.reltablespace, c.reloptions, c.reltoastrelid, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.reloftype, c.relispartition,
           c.relpartbound
      from pg_class c join scope s on s.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S', 'c')
       and (case when c.relkind = 'c' then 'pg_type'::regclass else 'pg_class'::regclass end, case when c.relkind = 'c' then c.reltype else c.oid end)
           not in (select classid, objid from member)
), parent as materialized (
    select i.inhrelid as oid, string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno) as names, bool_or(i.inhdetachpending) as detaching
      from pg_inherits i group by i.inhrelid
), attribute as materialized (
    select r.oid as relid, r.name, r.relkind, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated, a.attcollation,
           a.attstorage, a.attcompression, nullif(a.attstattarget, -1) as statistics, a.attoptions, a.attfdwoptions, a.attacl,
           p.oid is not null and not r.relispartition as of_child, a.attislocal, a.attinhcount
      from relation r join pg_attribute a on a.attrelid = r.oid left join parent p on p.oid = r.oid
     where r.relkind <> 'S' and a.attnum > 0 and not a.attisdropped
), listing as materialized ( -- a child's inherited columns come first after a restore, so their place says nothing
    select relid, string_agg(quote_ident(attname), ', ' order by attnum) filter (where not of_child or attinhcount = 0) as columns from attribute group by relid
), object(class, id, sub, object, definition, deparsed, owner, acl, usual) as (
    select 'pg_namespace'::regclass::oid, n.oid, 0, 'schema ' || s.name, null::text, false, n.nspowner, n.nspacl, acldefault('n', n.nspowner)
      from pg_namespace n join scope s on s.oid = n.oid

    union all -- tables, views, sequences
    select 'pg_class'::regclass, r.oid, 0,
           case r.relkind when 'v' then 'view ' when 'm' then 'materialized view ' when 'S' then 'sequence ' when 'f' then 'foreign table ' else 'table ' end || r.name,
           concat_ws(E'\n', case r.relpersistence when 'u' then 'unlogged' end,
               case r.relkind when 'S' then null else 'columns (' || coalesce(l.columns, '') || ')' end,
               case when r.relkind in ('v', 'm') then rtrim(pg_get_viewdef(r.oid), ';') end,
               case r.relkind when 'S' then (select format('%s from %s to %s start %s increment %s cache %s%s', format_type(q.seqtypid, null), q.seqmin, q.seqmax, q.seqstart, q.seqincrement, q.seqcache,
                              case when q.seqcycle then ' cycle' end) from pg_sequence q where q.seqrelid = r.oid) end,
               case r.relkind when 'S' then (select case d.deptype when 'i' then 'identity of ' else 'owned by ' end || d.refobjid::regclass || '.' || quote_ident(a.attname)
                  from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                 where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype in ('a', 'i') and d.refclassid = 'pg_class'::regclass) end,
               case when r.reloftype <> 0 then 'of ' || format_type(r.reloftype, null) end,
               case when r.relispartition then 'partition of ' || p.names || ' ' || pg_get_expr(r.relpartbound, r.oid) else 'inherits ' || p.names end,
               case when p.detaching then 'detach pending' end,
               case when r.relkind = 'p' then 'partition by ' || pg_get_partkeydef(r.oid) end,
               case r.relkind when 'f' then (select 'server ' || quote_ident(v.srvname) || coalesce(' options (' || array_to_string(f.ftoptions, ', ') || ')', '')
                  from pg_foreign_table f join pg_foreign_server v on v.oid = f.ftserver where f.ftrelid = r.oid) end,
               (select 'using ' || quote_ident(m.amname) from pg_am m where m.oid = r.relam and r.relkind <> 'S'),
               case when r.reltablespace <> 0 then (select 'tablespace ' || quote_ident(t.spcname) from pg_tablespace t where t.oid = r.reltablespace) end,
               'with (' || (select string_agg(o, ', ' order by o collate "C") from unnest(r.reloptions) o) || ')',
               'toast with (' || (select string_agg(o, ', ' order by o collate "C") from pg_class t, unnest(t.reloptions) o where t.oid = r.reltoastrelid) || ')',
               case when r.relreplident <> 'd' and r.relkind in ('r', 'p', 'm') then 'replica identity ' || case r.relreplident when 'f' then 'full' when 'n' then 'nothing' else coalesce(
                   (select quote_ident(i.relname) from pg_index x join pg_class i on i.oid = x.indexrelid where x.indrelid = r.oid and x.indisreplident), 'of no index') end end,
               case when r.relrowsecurity then 'row security enabled' end, case when r.relforcerowsecurity then 'row security forced' end),
           r.relkind in ('v', 'm'), r.relowner, r.relacl, acldefault(case r.relkind when 'S' then 's' else 'r' end::"char", r.relowner)
      from relation r left join listing l on l.relid = r.oid left join parent p on p.oid = r.oid where r.relkind <> 'c'

    union all
    select 'pg_class'::regclass, a.relid, a.attnum, 'column ' || a.name || '.' || quote_ident(a.attname),
           concat_ws(' ', format_type(a.atttypid, a.atttypmod),
               case when a.attcollation not in (0, t.typcollation) then 'collate ' || a.attcollation::regcollation end,
               case when a.attnotnull then 'not null' end,
               case when a.atthasdef then case a.attgenerated when '' then 'default ' || pg_get_expr(d.adbin, 0)
                   else format('generated %s as (%s)', case a.attgenerated when 's' then 'stored' else 'virtual' end, pg_get_expr(d.adbin, d.adrelid)) end end,
               case a.attidentity when 'a' then 'generated always as identity' when 'd' then 'generated by default as identity' end,
               case when a.attstorage <> t.typstorage then 'storage ' || case a.attstorage when 'p' then 'plain' when 'e' then 'external' when 'x' then 'extended' else 'main' end end,
               case a.attcompression when 'p' then 'compression pglz' when 'l' then 'compression lz4' end,
               'statistics ' || a.statistics,
               -- those of a name that begins with pg_ are the server's own notes (pg_attver), which no dump carries
               case when array_to_string(a.attoptions, ',') !~ '^pg_[^,]*$' then
                   'with (' || (select string_agg(o, ', ' order by o collate "C") from unnest(a.attoptions) o where o !~ '^pg_') || ')' end, 'options (' || array_to_string(a.attfdwoptions, ', ') || ')',
               case when a.of_child and a.attinhcount > 0 then case when a.attislocal then 'inherited and its own' else 'inherited' end end),
           a.atthasdef, null, a.attacl, null
      from attribute a join pg_type t on t.oid = a.atttypid left join pg_attrdef d on d.adrelid = a.relid and d.adnum = a.attnum

    union all -- those that a partition has of its parent's foreign keys go with the parent's, under names of the server's;
              -- NOT NULL, which has constraints from 18 on, is its column's
    select 'pg_constraint'::regclass, k.oid, 0, 'constraint ' || coalesce(r.name, s.name || '.' || quote_ident(t.typname)) || '.' || quote_ident(k.conname),
           concat_ws(E'\n', pg_get_constraintdef(k.oid),
               case when k.contype = 'f' and exists (select from pg_trigger g where g.tgconstraint = k.oid and g.tgenabled <> 'O') then 'triggers disabled' end),
           true, null, null, null
      from pg_constraint k left join relation r on r.oid = k.conrelid left join (pg_type t join scope s on s.oid = t.typnamespace) on t.oid = k.contypid
     where coalesce(r.oid, t.oid) is not null and k.contype <> 't' and not (k.contype = 'f' and k.conparentid <> 0) and (k.contype <> 'n' or not k.convalidated or k.connoinherit)
       and ('pg_type'::regclass, k.contypid) not in (select classid, objid from member)

    union all
    select 'pg_class'::regclass, i.oid, 0, 'index ' || s.name || '.' || quote_ident(i.relname),
           concat_ws(E'\n', pg_get_indexdef(i.oid), 'attached to ' || p.names, case when i.reltablespace <> 0 then (select 'tablespace ' || quote_ident(t.spcname) from pg_tablespace t where t.oid = i.reltablespace) end,
               case when not (x.indisvalid and x.indisready and x.indislive) then 'invalid' end, case when x.indisclustered then 'clustered' end,
               case when x.indexprs is not null then (select 'statistics ' || string_agg(format('%s: %s', a.attnum, a.attstattarget), ', ' order by a.attnum)
                  from pg_attribute a where a.attrelid = i.oid and a.attstattarget <> -1) end),
           true, null, null, null
      from relation r join pg_index x on x.indrelid = r.oid join pg_class i on i.oid = x.indexrelid join scope s on s.oid = i.relnamespace
      left join parent p on p.oid = i.oid

    union all
    select 'pg_rewrite'::regclass, w.oid, 0, 'rule ' || r.name || '.' || quote_ident(w.rulename),
           concat_ws(E'\n', pg_get_ruledef(w.oid), case w.ev_enabled when 'D' then 'disabled' when 'A' then 'enabled always' when 'R' then 'enabled on replicas' end),
           true, null, null, null
      from relation r join pg_rewrite w on w.ev_class = r.oid where w.rulename <> '_RETURN'

    union all
    select 'pg_trigger'::regclass, g.oid, 0, 'trigger ' || r.name || '.' || quote_ident(g.tgname),
           concat_ws(E'\n', pg_get_triggerdef(g.oid), case g.tgenabled when 'D' then 'disabled' when 'A' then 'enabled always' when 'R' then 'enabled on replicas' end),
           true, null, null, null
      from relation r join pg_trigger g on g.tgrelid = r.oid where not g.tgisinternal

    union all
    select 'pg_policy'::regclass, y.oid, 0, 'policy ' || r.name || '.' || quote_ident(y.polname),
           concat_ws(E'\n', format('%s for %s to %s', case when y.polpermissive then 'permissive' else 'restrictive' end,
                   case y.polcmd when '*' then 'all' when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' else 'delete' end,
                   (select string_agg(n, ', ' order by n collate "C") from (select case when o = 0 then 'public' else quote_ident(pg_get_userbyid(o)) end as n from unnest(y.polroles) o) q)),
               'using (' || pg_get_expr(y.polqual, y.polrelid) || ')', 'with check (' || pg_get_expr(y.polwithcheck, y.polrelid) || ')'),
           true, null, null, null
      from relation r join pg_policy y on y.polrelid = r.oid

    union all
    select 'pg_statistic_ext'::regclass, e.oid, 0, 'statistics ' || s.name || '.' || quote_ident(e.stxname),
           concat_ws(E'\n', pg_get_statisticsobjdef(e.oid), 'statistics ' || nullif(e.stxstattarget, -1)), true, e.stxowner, null, null
      from pg_statistic_ext e join scope s on s.oid = e.stxnamespace

    union all
    select 'pg_proc'::regclass, f.oid, 0,
           format('%s %s.%I(%s)', case f.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end, s.name, f.proname, pg_get_function_identity_arguments(f.oid)),
           case when f.prokind <> 'a' then rtrim(pg_get_functiondef(f.oid), E'\n') else
               (select concat_ws(', ', format('returns %s', format_type(f.prorettype, null)),
                   case g.aggkind when 'o' then 'ordered set, direct ' || g.aggnumdirectargs when 'h' then 'hypothetical set, direct ' || g.aggnumdirectargs end,
                   'sfunc ' || g.aggtransfn::oid::regprocedure, format('stype %s, space %s, initcond %L', format_type(g.aggtranstype, null), g.aggtransspace, g.agginitval),
                   'finalfunc ' || nullif(g.aggfinalfn, 0)::oid::regprocedure || format(' %s %s', g.aggfinalextra, g.aggfinalmodify),
                   'combinefunc ' || nullif(g.aggcombinefn, 0)::oid::regprocedure, 'serialfunc ' || nullif(g.aggserialfn, 0)::oid::regprocedure,
                   'deserialfunc ' || nullif(g.aggdeserialfn, 0)::oid::regprocedure,
                   'msfunc ' || nullif(g.aggmtransfn, 0)::oid::regprocedure || format(', mstype %s, space %s, initcond %L', format_type(g.aggmtranstype, null), g.aggmtransspace, g.aggminitval),
                   'minvfunc ' || nullif(g.aggminvtransfn, 0)::oid::regprocedure, 'mfinalfunc ' || nullif(g.aggmfinalfn, 0)::oid::regprocedure || format(' %s %s', g.aggmfinalextra, g.aggmfinalmodify),
                   'sortop ' || nullif(g.aggsortop, 0)::regoperator, 'parallel ' || f.proparallel::text) from pg_aggregate g where g.aggfnoid = f.oid) end,
           f.prosqlbody is not null, f.proowner, f.proacl, acldefault('f', f.proowner)
      from pg_proc f join scope s on s.oid = f.pronamespace
     where ('pg_proc'::regclass, f.oid) not in (select classid, objid from member)

    union all
    select 'pg_type'::regclass, t.oid, 0, case t.typtype when 'd' then 'domain ' else 'type ' end || s.name || '.' || quote_ident(t.typname),
           case t.typtype
               when 'e' then 'enum (' || (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid) || ')'
               when 'd' then concat_ws(' ', format_type(t.typbasetype, t.typtypmod), case when t.typcollation not in (0, b.typcollation) then 'collate ' || t.typcollation::regcollation end,
                                       case when t.typnotnull then 'not null' end, 'default ' || t.typdefault)
               when 'c' then 'composite (' || coalesce((select l.columns from listing l where l.relid = t.typrelid), '') || ')'
               when 'r' then (select concat_ws(', ', 'range of ' || format_type(g.rngsubtype, null),
                       (select format('operator class %s.%I', quote_ident(n.nspname), o.opcname) from pg_opclass o join pg_namespace n on n.oid = o.opcnamespace where o.oid = g.rngsubopc),
                       case when g.rngcollation <> 0 then 'collation ' || g.rngcollation::regcollation end, 'canonical ' || nullif(g.rngcanonical, 0)::oid::regprocedure,
                       'difference ' || nullif(g.rngsubdiff, 0)::oid::regprocedure, 'multirange ' || format_type(g.rngmultitypid, null)) from pg_range g where g.rngtypid = t.oid)
               else concat_ws(', ', 'base', 'input ' || t.typinput::oid::regprocedure, 'output ' || t.typoutput::oid::regprocedure, 'receive ' || nullif(t.typreceive, 0)::oid::regprocedure,
                       'send ' || nullif(t.typsend, 0)::oid::regprocedure, 'modifiers ' || nullif(t.typmodin, 0)::oid::regprocedure, 'modifiers out ' || nullif(t.typmodout, 0)::oid::regprocedure,
                       'analyze ' || nullif(t.typanalyze, 0)::oid::regprocedure, 'subscript ' || nullif(t.typsubscript, 0)::oid::regprocedure,
                       format('length %s, by value %s, alignment %s, storage %s, category %s, preferred %s, delimiter %s', t.typlen, t.typbyval, t.typalign, t.typstorage, t.typcategory,
                              t.typispreferred, t.typdelim), 'element ' || format_type(nullif(t.typelem, 0), null), 'default ' || t.typdefault, case when t.typcollation <> 0 then 'collatable' end)
           end, t.typtype = 'd', t.typowner, t.typacl, acldefault('T', t.typowner)
      from pg_type t join scope s on s.oid = t.typnamespace left join pg_type b on b.oid = t.typbasetype left join pg_class c on c.oid = t.typrelid
     where t.typisdefined and t.typtype in ('b', 'd', 'e', 'r', 'c') and coalesce(c.relkind = 'c', true) and not exists (select from pg_type e where e.typarray = t.oid)

    union all
    select 'pg_operator'::regclass, o.oid, 0, format('operator %s.%s (%s, %s)', s.name, o.oprname, coalesce(format_type(nullif(o.oprleft, 0), null), 'none'), coalesce(format_type(nullif(o.oprright, 0), null), 'none')),
           concat_ws(', ', 'function ' || o.oprcode::oid::regprocedure, 'commutator ' || nullif(o.oprcom, 0)::regoperator, 'negator ' || nullif(o.oprnegate, 0)::regoperator,
               'restrict ' || nullif(o.oprrest, 0)::oid::regprocedure, 'join ' || nullif(o.oprjoin, 0)::oid::regprocedure, case when o.oprcanhash then 'hashes' end, case when o.oprcanmerge then 'merges' end),
           false, o.oprowner, null, null
      from pg_operator o join scope s on s.oid = o.oprnamespace where o.oprcode <> 0

    union all
    select 'pg_opclass'::regclass, o.oid, 0, format('operator class %s.%I using %I', s.name, o.opcname, m.amname),
           concat_ws(', ', 'for ' || format_type(o.opcintype, null), case when o.opcdefault then 'default' end, 'storage ' || format_type(nullif(o.opckeytype, 0), null),
               format('family %I.%I', n.nspname, f.opfname)), false, o.opcowner, null, null
      from pg_opclass o join scope s on s.oid = o.opcnamespace join pg_am m on m.oid = o.opcmethod join pg_opfamily f on f.oid = o.opcfamily join pg_namespace n on n.oid = f.opfnamespace

    union all
    select 'pg_opfamily'::regclass, f.oid, 0, format('operator family %s.%I using %I', s.name, f.opfname, m.amname),
           (select string_agg(part, E'\n' order by part collate "C") from (
               select format('operator %s %s%s', o.amopstrategy, o.amopopr::regoperator, case o.amoppurpose when 'o' then ' for order by ' || (select quote_ident(g.opfname) from pg_opfamily g where g.oid = o.amopsortfamily) end)
                 from pg_amop o where o.amopfamily = f.oid
               union all
               select format('function %s (%s, %s) %s', p.amprocnum, format_type(p.amproclefttype, null), format_type(p.amprocrighttype, null), p.amproc::oid::regprocedure) from pg_amproc p where p.amprocfamily = f.oid) parts(part)),
           false, f.opfowner, null, null
      from pg_opfamily f join scope s on s.oid = f.opfnamespace join pg_am m on m.oid = f.opfmethod

    union all
    select 'pg_collation'::regclass, c.oid, 0, format('collation %s.%I', s.name, c.collname),
           concat_ws(', ', 'provider ' || c.collprovider::text, 'lc_collate ' || c.collcollate, 'lc_ctype ' || c.collctype,
               'locale ' || coalesce(j ->> 'colllocale', j ->> 'colliculocale'), 'rules ' || (j ->> 'collicurules'), case when not c.collisdeterministic then 'nondeterministic' end),
           false, c.collowner, null, null
      from pg_collation c join scope s on s.oid = c.collnamespace, to_jsonb(c) j

    union all
    select 'pg_conversion'::regclass, c.oid, 0, format('conversion %s.%I', s.name, c.conname),
           format('%sfor %s to %s from %s', case when c.condefault then 'default ' end, pg_encoding_to_char(c.conforencoding), pg_encoding_to_char(c.contoencoding), c.conproc::oid::regprocedure), false, c.conowner, null, null
      from pg_conversion c join scope s on s.oid = c.connamespace

    union all
    select 'pg_ts_config'::regclass, c.oid, 0, format('text search configuration %s.%I', s.name, c.cfgname),
           concat_ws(E'\n', format('parser %I.%I', n.nspname, p.prsname),
               (select string_agg(format('token %s with %s', m.maptokentype, m.dictionaries), E'\n' order by m.maptokentype)
                  from (select maptokentype, string_agg(mapdict::regdictionary::text, ', ' order by mapseqno) as dictionaries from pg_ts_config_map where mapcfg = c.oid group by maptokentype) m)),
           false, c.cfgowner, null, null
      from pg_ts_config c join scope s on s.oid = c.cfgnamespace join pg_ts_parser p on p.oid = c.cfgparser join pg_namespace n on n.oid = p.prsnamespace

    union all
    select 'pg_ts_dict'::regclass, d.oid, 0, format('text search dictionary %s.%I', s.name, d.dictname),
           concat_ws(', ', format('template %I.%I', n.nspname, t.tmplname), 'options ' || d.dictinitoption), false, d.dictowner, null, null
      from pg_ts_dict d join scope s on s.oid = d.dictnamespace join pg_ts_template t on t.oid = d.dicttemplate join pg_namespace n on n.oid = t.tmplnamespace

    union all
    select 'pg_ts_parser'::regclass, p.oid, 0, format('text search parser %s.%I', s.name, p.prsname),
           concat_ws(', ', 'start ' || p.prsstart::oid::regprocedure, 'token ' || p.prstoken::oid::regprocedure, 'end ' || p.prsend::oid::regprocedure,
               'headline ' || nullif(p.prsheadline, 0)::oid::regprocedure, 'lextypes ' || p.prslextype::oid::regprocedure), false, null, null, null
      from pg_ts_parser p join scope s on s.oid = p.prsnamespace

    union all
    select 'pg_ts_template'::regclass, t.oid, 0, format('text search template %s.%I', s.name, t.tmplname),
           concat_ws(', ', 'init ' || nullif(t.tmplinit, 0)::oid::regprocedure, 'lexize ' || t.tmpllexize::oid::regprocedure), false, null, null, null
      from pg_ts_template t join scope s on s.oid = t.tmplnamespace
)sql" R"sql(
    union all
    select 'pg_default_acl'::regclass, d.oid, 0, concat_ws(' ', 'default privileges of', quote_ident(pg_get_userbyid(d.defaclrole)), 'in schema ' || s.name, 'on',
               case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types' when 'n' then 'schemas' else 'large objects' end),
           null, false, null, d.defaclacl, case when d.defaclnamespace = 0 then acldefault(case d.defaclobjtype when 'S' then 's' else d.defaclobjtype end, d.defaclrole) end
      from pg_default_acl d left join scope s on s.oid = d.defaclnamespace where s.oid is not null or d.defaclnamespace = 0 and $1 is null

    union all -- what belongs to the database and to no schema
    select 'pg_extension'::regclass, e.oid, 0, 'extension ' || quote_ident(e.extname), format('version %s, schema %I', e.extversion, n.nspname), false, e.extowner, null, null
      from pg_extension e join pg_namespace n on n.oid = e.extnamespace where $1 is null

    union all
    select 'pg_language'::regclass, l.oid, 0, 'language ' || quote_ident(l.lanname),
           concat_ws(', ', case when l.lanpltrusted then 'trusted' end, 'handler ' || nullif(l.lanplcallfoid, 0)::regprocedure, 'inline ' || nullif(l.laninline, 0)::regprocedure,
               'validator ' || nullif(l.lanvalidator, 0)::regprocedure), false, l.lanowner, l.lanacl, acldefault('l', l.lanowner)
      from pg_language l where $1 is null and l.oid >= 16384

    union all
    select 'pg_event_trigger'::regclass, e.oid, 0, 'event trigger ' || quote_ident(e.evtname),
           concat_ws(', ', 'on ' || e.evtevent, 'when tag in (' || array_to_string(e.evttags, ', ') || ')', 'execute ' || e.evtfoid::regprocedure,
               case e.evtenabled when 'D' then 'disabled' when 'A' then 'enabled always' when 'R' then 'enabled on replicas' end), false, e.evtowner, null, null
      from pg_event_trigger e where $1 is null

    union all
    select 'pg_cast'::regclass, c.oid, 0, format('cast (%s as %s)', format_type(c.castsource, null), format_type(c.casttarget, null)),
           concat_ws(', ', case c.castmethod when 'b' then 'without function' when 'i' then 'with inout' else 'with ' || c.castfunc::regprocedure end,
               case c.castcontext when 'i' then 'implicit' when 'a' then 'assignment' end), false, null, null, null
      from pg_cast c where $1 is null and c.oid >= 16384

    union all
    select 'pg_transform'::regclass, t.oid, 0, format('transform for %s language %I', format_type(t.trftype, null), l.lanname),
           concat_ws(', ', 'from ' || nullif(t.trffromsql, 0)::oid::regprocedure, 'to ' || nullif(t.trftosql, 0)::oid::regprocedure), false, null, null, null
      from pg_transform t join pg_language l on l.oid = t.trflang where $1 is null

    union all
    select 'pg_am'::regclass, m.oid, 0, 'access method ' || quote_ident(m.amname), format('%s, handler %s', case m.amtype when 't' then 'table' else 'index' end, m.amhandler::oid::regprocedure), false, null, null, null
      from pg_am m where $1 is null and m.oid >= 16384

    union all
    select 'pg_foreign_data_wrapper'::regclass, w.oid, 0, 'foreign data wrapper ' || quote_ident(w.fdwname),
           concat_ws(', ', 'handler ' || nullif(w.fdwhandler, 0)::regprocedure, 'validator ' || nullif(w.fdwvalidator, 0)::regprocedure, 'options (' || array_to_string(w.fdwoptions, ', ') || ')'),
           false, w.fdwowner, w.fdwacl, acldefault('F', w.fdwowner)
      from pg_foreign_data_wrapper w where $1 is null

    union all
    select 'pg_foreign_server'::regclass, v.oid, 0, 'server ' || quote_ident(v.srvname),
           concat_ws(', ', 'wrapper ' || quote_ident(w.fdwname), 'type ' || v.srvtype, 'version ' || v.srvversion, 'options (' || array_to_string(v.srvoptions, ', ') || ')'),
           false, v.srvowner, v.srvacl, acldefault('S', v.srvowner)
      from pg_foreign_server v join pg_foreign_data_wrapper w on w.oid = v.srvfdw where $1 is null

    union all
    select 'pg_user_mapping'::regclass, u.umid, 0, format('user mapping for %I server %I', u.usename, u.srvname), null, false, null, null, null from pg_user_mappings u where $1 is null

    union all
    select 'pg_publication'::regclass, p.oid, 0, 'publication ' || quote_ident(p.pubname),
           concat_ws(E'\n', (select string_agg(case v.value when 'true' then v.key else v.key || ' ' || v.value end, ', ' order by v.key collate "C")
                               from jsonb_each_text(to_jsonb(p) - '{oid,pubname,pubowner}'::text[]) v where v.value not in ('false', 'n')),
               (select string_agg(part, E'\n' order by part collate "C") from (
                   select concat_ws(' ', 'table ' || r.prrelid::regclass,
                          '(' || (select string_agg(quote_ident(a.attname), ', ' order by a.attname collate "C") from pg_attribute a where a.attrelid = r.prrelid and a.attnum = any (r.prattrs)) || ')',
                          'where ' || pg_get_expr(r.prqual, r.prrelid)) from pg_publication_rel r where r.prpubid = p.oid
                   union all
                   select 'schema ' || s.pnnspid::regnamespace from pg_publication_namespace s where s.pnpubid = p.oid) parts(part))),
           true, p.pubowner, null, null
      from pg_publication p where $1 is null

    union all
    select 'pg_subscription'::regclass, s.oid, 0, 'subscription ' || quote_ident(s.subname),
           concat_ws(', ', 'publications ' || array_to_string(s.subpublications, ', '), 'slot ' || s.subslotname, 'synchronous commit ' || s.subsynccommit, case when s.subbinary then 'binary' end),
           false, s.subowner, null, null
      from pg_subscription s where $1 is null and s.subdbid = (select oid from pg_database where datname = current_database())
)
select o.object,
       concat_ws(E'\n', nullif(o.definition, ''), 'owner ' || quote_ident(pg_get_userbyid(o.owner)),
           case when o.acl is not null then -- what differs from the usual, which grows with the versions of PostgreSQL
               (select string_agg(line, E'\n' order by line collate "C") from (
                   select format('%s %s%s %s by %s%s', verb, string_agg(privilege_type, ', ' order by privilege_type collate "C"), '', preposition || ' ' || case when grantee = 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
                                 quote_ident(pg_get_userbyid(grantor)), case when is_grantable then ' with grant option' end) as line
                     from (select 'grant' as verb, 'to' as preposition, g.* from (select * from aclexplode(o.acl) except select * from aclexplode(o.usual)) g
                           union all
                           select 'revoke', 'from', g.* from (select * from aclexplode(o.usual) except select * from aclexplode(o.acl)) g) differences
                    group by verb, preposition, grantee, grantor, is_grantable) lines) end,
           'comment ' || quote_literal(d.description),
           l.labels),
       o.deparsed
  from object o left join pg_description d on d.classoid = o.class and d.objoid = o.id and d.objsubid = o.sub
  left join (select classoid, objoid, objsubid, string_agg(format('security label %s %L', provider, label), E'\n' order by provider collate "C") as labels
               from pg_seclabel group by classoid, objoid, objsubid) l on l.classoid = o.class and l.objoid = o.id and l.objsubid = o.sub
 where (o.class, o.id) not in (select classid, objid from member)
 order by o.object collate "C"
)sql";

} // namespace sor::fingerprint
