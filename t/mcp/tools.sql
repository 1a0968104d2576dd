-- What an operator might register, for the tests of sor mcp with clients of others. Run as the operator.
\set ON_ERROR_STOP on
SET ROLE reconciler;

-- writes (an expense, for `writes`), then sleeps
CREATE FUNCTION reconciler.nap(arguments jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF arguments ? 'writes' THEN
        INSERT INTO reconciler.expenses (tenant_id, transaction_id, trans_date, merchant, card, amount, currency, category)
        VALUES (sor.current_tenant(), (arguments ->> 'writes')::uuid, current_date, 'nap', '1', 1, 'GBP', 'Sleep');
    END IF;
    PERFORM pg_sleep((arguments ->> 'seconds')::float8);
    RETURN jsonb_build_object('slept', arguments -> 'seconds');
END $$;
CREATE FUNCTION reconciler.close_books(arguments jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp
    RETURN jsonb_build_object('closed', arguments -> 'month');
CREATE FUNCTION reconciler.break_promise(arguments jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp
    RETURN jsonb_build_object('count', 'many');

-- those that the conformance suite calls by name
CREATE FUNCTION reconciler.test_simple_text(arguments jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp
    RETURN jsonb_build_object('text', 'This is a simple text response for testing.');
CREATE FUNCTION reconciler.test_error_handling(arguments jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'This tool intentionally returns an error for testing';
END $$;
CREATE FUNCTION reconciler.test_tool_with_progress(arguments jsonb) RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp
    RETURN jsonb_build_object('waited', pg_sleep(4)::text);
RESET ROLE;

SELECT sor.register_tool('nap', 'reconciler.nap(jsonb)', 'member', 'Sleeps for some seconds.',
    '{"type": "object", "properties": {"seconds": {"type": "number", "maximum": 60}, "writes": {"type": "string"}},
      "required": ["seconds"], "additionalProperties": false}');
SELECT sor.register_tool('close_books', 'reconciler.close_books(jsonb)', 'admin', 'Closes the books of a month.',
    '{"type": "object", "properties": {"month": {"type": "string"}}, "required": ["month"]}');
SELECT sor.register_tool('break_promise', 'reconciler.break_promise(jsonb)', 'member', 'Answers otherwise than its schema says.',
    '{"type": "object"}', output_schema => '{"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}');
SELECT sor.register_tool(name, function::regprocedure, 'viewer', 'A tool of the conformance suite.', schema::jsonb, read_only => true)
FROM (VALUES
    ('test_simple_text', 'reconciler.test_simple_text(jsonb)', '{"type": "object", "additionalProperties": false}'),
    ('test_error_handling', 'reconciler.test_error_handling(jsonb)', '{"type": "object", "additionalProperties": false}'),
    ('test_tool_with_progress', 'reconciler.test_tool_with_progress(jsonb)', '{"type": "object", "additionalProperties": false}'),
    ('json_schema_2020_12_tool', 'reconciler.test_simple_text(jsonb)', '{
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
        "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        "additionalProperties": false}')) AS t(name, function, schema);

-- more than one page of tools/list holds
SELECT sor.register_tool('report_' || n, 'reconciler.test_simple_text(jsonb)', 'member', 'The report number ' || n || '.', '{"type": "object"}')
FROM generate_series(1, 60) AS n;
