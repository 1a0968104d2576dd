// What the scripts of this folder report: each check is a line of JSON, which SorTest's mcp_script turns into a test.
import { isDeepStrictEqual } from 'node:util';

function report(ok, name, got, expected) {
    console.log(JSON.stringify({ ok, name, ...(ok ? {} : { got: got === undefined ? 'undefined' : got, expected }) }));
    return ok;
}
export const ok = (value, name) => report(!!value, name, value, 'true');
export const is = (got, expected, name) => report(isDeepStrictEqual(got, expected), name, got, expected);
export const like = (got, pattern, name) => report(pattern.test(String(got)), name, got, String(pattern));

// The error that the promise is rejected with; resolving is a failed check.
export async function rejected(promise, name) {
    try {
        report(false, name, await promise, 'an error');
    } catch (error) {
        return error;
    }
    return new Error('none');
}
