#include "review/summary.hpp"

#include "bridge/digest.hpp"
#include "bridge/plan_cache.hpp"
#include "review/checksum_core.hpp"
#include "review/judge.hpp"
#include "review/review_core.hpp"

namespace sor::review {

using bridge::in;

namespace {

constexpr int most_listed = 1000;
constexpr long at_a_time = 200;

void add_text(bridge::sha256_stream& hash, const text* t) {
    const std::string_view bytes = t ? bridge::view(t) : std::string_view();
    const frame length = t ? length_frame(bytes.size()) : no_text_frame;
    hash.add(length.data(), length.size());
    hash.add(bytes);
}

} // namespace

char* checksum(const text* up, const text* down) {
    bridge::sha256_stream hash;
    add_text(hash, up);
    add_text(hash, down);
    unsigned char digest[bridge::digest_size];
    hash.finish(digest);
    return bridge::to_hex(digest);
}

summary summarize(const text* up, const text* down, const char* name) {
    constexpr severity all[] = {severity::safe, severity::locking, severity::rewriting, severity::destructive,
                                severity::opaque};
    static bridge::statement findings("select direction, statement_no, severity, rule, line, detail"
                                      "  from sor.review_migration($1, $2, $3)",
                                      {TEXTOID, TEXTOID, TEXTOID});
    summary out = {};
    int counts[2][std::size(all)] = {};
    int listed = 0;
    bridge::sha256_stream hash;
    hash.add(checksum(up, down));
    bridge::json_writer list;
    list.object().key("listed").array();
    auto rows = findings.open(in(up), in(down), name ? in(name) : bridge::value::none());
    for (;;) {
        const auto some = rows.fetch(at_a_time);
        for (uint64 i = 0; i < some.count; ++i) {
            char* direction = some.string(i, 1);
            const bool is_down = strcmp(direction, "down") == 0;
            char* level = some.string(i, 3);
            char* which = some.string(i, 4);
            char* line = psprintf("\n%s\t%d\t%s\t%s", direction, some.integer(i, 2), level, which);
            // what the scope is may be said by the name, which whoever reads the texts alone does not have
            if (strcmp(which, text_of(rule::scope_creep).id) != 0)
                hash.add(line);
            for (const severity s : all)
                counts[is_down][static_cast<size_t>(s)] += strcmp(level, name_of(s)) == 0;
            const bool is_safe = strcmp(level, name_of(severity::safe)) == 0;
            const bool first_destructive = out.worst == nullptr && strcmp(level, name_of(severity::destructive)) == 0;
            if (!is_safe && (listed < most_listed || first_destructive)) {
                ++listed;
                char* detail = some.string(i, 6);
                list.object()
                    .field("direction", direction)
                    .field("statement_no", some.integer(i, 2))
                    .field("severity", level)
                    .field("rule", which)
                    .field("detail", detail);
                const bool has_line = !some.null(i, 5);
                if (has_line)
                    list.field("line", some.integer(i, 5));
                list.end();
                if (first_destructive)
                    out.worst = has_line ? psprintf("%sgrade, statement %d, line %d: %s", direction, some.integer(i, 2),
                                                    some.integer(i, 5), detail)
                                         : psprintf("%sgrade: %s", direction, detail);
                pfree(detail);
            }
            for (char* one : {direction, level, which, line})
                pfree(one);
        }
        const bool end = some.count == 0;
        some.free();
        if (end)
            break;
    }
    rows.close();
    hash.add(meanings_of_last_review());
    list.end();
    for (const bool is_down : {false, true}) {
        list.key(is_down ? "down" : "up").object();
        for (const severity s : all)
            list.field(name_of(s), counts[is_down][static_cast<size_t>(s)]);
        list.end();
        out.destructive[is_down] = counts[is_down][static_cast<size_t>(severity::destructive)];
    }
    out.findings = list.end().done();
    unsigned char digest[bridge::digest_size];
    hash.finish(digest);
    out.hash = bridge::to_hex(digest);
    return out;
}

SOR_FUNCTION(review_hash) {
    const bridge::arguments a(fcinfo);
    const text* up = a.string(0, "up");
    const text* down = a.string_or_null(1);
    return CStringGetTextDatum(bridge::with_spi([&](MemoryContext caller) {
        const char* hash = summarize(up, down).hash;
        return MemoryContextStrdup(caller, hash);
    }));
}

SOR_FUNCTION(migration_checksum) {
    const bridge::arguments a(fcinfo);
    return CStringGetTextDatum(checksum(a.string(0, "up"), a.string_or_null(1)));
}

} // namespace sor::review
