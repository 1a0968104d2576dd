// sor migrate review and approve: what a migration does, read by a person, and that person's word for it.
#include <algorithm>
#include <map>
#include "migrate/commands.hpp"
#include "migrate/output.hpp"

namespace sor::migrate {
namespace {

bool needs_a_person(const db::finding& finding) {
    return finding.severity == "destructive" || finding.severity == "opaque";
}

struct reviewed {
    const migration* file = nullptr;
    std::vector<db::finding> findings;
    std::string hash, checksum, state;
    bool approved = false; // in this text
};

reviewed review_one(workspace& work, const migration& file) {
    reviewed result{&file,
                    db::review_migration(work.connection(), file.up, file.down, file.name),
                    db::review_hash(work.connection(), file.up, file.down),
                    work.checksum(file),
                    "not proposed",
                    false};
    if (const auto* state = work.find_state(file.version)) {
        const bool same = state->checksum == result.checksum;
        result.state = same ? state->state : state->state + " with other texts";
        result.approved = same && state->state != "proposed";
    }
    return result;
}

ordered_json findings_json(const reviewed& one) {
    auto rows = ordered_json::array();
    for (const auto& finding : one.findings)
        rows.push_back({{"direction", finding.direction},
                        {"statement_no", finding.statement_no},
                        {"place", place_text(*one.file, finding.direction, finding.line)},
                        {"severity", finding.severity},
                        {"rule", finding.rule},
                        {"detail", finding.detail},
                        {"safer", finding.safer ? ordered_json(*finding.safer) : ordered_json()}});
    return rows;
}

// The text with each further line under the first.
std::string hanging(const std::string& text, std::size_t indent) {
    std::string result;
    for (const char c : text) {
        result += c;
        if (c == '\n')
            result += std::string(indent, ' ');
    }
    return result;
}

void print_review(const reviewed& one, bool verbose) {
    print(one.file->version + " " + one.file->name + " (" + one.state + ")\n");
    if (!one.file->down)
        print("  It has no downgrade: once applied it cannot be taken back.\n");
    std::map<std::string, std::size_t> safe;
    for (const auto& finding : one.findings) {
        if (finding.severity == "safe" && !verbose) {
            ++safe[finding.direction];
            continue;
        }
        print("\n  " + finding.severity + "  " + finding.rule + "  " +
              place_text(*one.file, finding.direction, finding.line) +
              (finding.statement_no ? "  statement " + std::to_string(finding.statement_no) + " of the " : "  the ") +
              (finding.direction == "down" ? "downgrade" : "upgrade") + "\n");
        if (!finding.detail.empty())
            print("      " + hanging(finding.detail, 6) + "\n");
        if (finding.safer)
            print("      safer: " + hanging(*finding.safer, 13) + "\n");
    }
    std::string counts;
    for (const auto& [direction, count] : safe)
        counts =
            (direction == "up" ? std::to_string(count) + " of the upgrade" + (counts.empty() ? "" : ", " + counts)
                               : (counts.empty() ? "" : counts + ", ") + std::to_string(count) + " of the downgrade");
    if (!counts.empty())
        print("\n  safe: " + counts + "\n");
    print("\n  review " + one.hash + "\n");
}

} // namespace

exit_status review(const options& options, command_context& context) {
    workspace work(options, context);
    std::vector<const migration*> chosen;
    std::vector<migration> others; // files of other directories
    others.reserve(options.which.size());
    for (const auto& argument : options.which) {
        try {
            chosen.push_back(&work.file(argument));
        } catch (const failure&) {
            if (argument.find('/') == std::string::npos && !argument.ends_with(".sql"))
                throw;
            others.push_back(read_migration(argument));
            chosen.push_back(&others.back());
        }
    }
    if (options.which.empty())
        for (const auto& file : work.files())
            if (const auto* state = work.find_state(file.version); !state || state->state != "applied")
                chosen.push_back(&file);
    auto document = ordered_json::array();
    bool waits_for_a_person = false, first = true;
    for (const auto* file : chosen) {
        if (options.propose)
            work.propose(*file), work.read_states();
        const auto one = review_one(work, *file);
        waits_for_a_person |= !one.approved && std::any_of(one.findings.begin(), one.findings.end(), needs_a_person);
        if (options.json) {
            document.push_back({{"version", file->version},
                                {"name", file->name},
                                {"files", files_of(*file)},
                                {"state", one.state},
                                {"checksum", one.checksum},
                                {"review", one.hash},
                                {"findings", findings_json(one)}});
            continue;
        }
        if (!first)
            print("\n");
        first = false;
        print_review(one, context.options.verbose);
    }
    if (options.json)
        print_json({{"migrations", document}});
    return waits_for_a_person ? exit_status::check_failed : exit_status::done;
}

exit_status approve(const options& options, command_context& context) {
    workspace work(options, context);
    const auto& file = work.file(options.which.front());
    const auto* state = work.find_state(file.version);
    if (!state)
        throw failure(exit_status::refused, "migration " + file.version + " is not proposed",
                      "The database has no texts under this version, and who approves is not who proposes.",
                      "Its author runs sor migrate rehearse " + file.version + ", or sor migrate review --propose " +
                          file.version + ".");
    if (work.checksum(file) != state->checksum)
        throw failure(exit_status::refused,
                      "migration " + file.version + " reads otherwise in its files than in the database",
                      "\"" + file.up_at.path + "\" or its downgrade has changed since it was proposed.",
                      "Its author runs sor migrate rehearse " + file.version + " again; then read the review again.");
    std::optional<std::string> override_;
    if (!options.branch.empty() || !options.backup.empty() || !options.reason.empty()) {
        if (options.branch.empty() || options.backup.empty() || options.reason.empty())
            throw failure(exit_status::usage, "--branch, --backup and --reason go together", {},
                          "They are the override that a destructive migration needs: where it was rehearsed, what it "
                          "can be restored from, and why it must be.");
        override_ =
            ordered_json{{"branch", options.branch}, {"backup", options.backup}, {"reason", options.reason}}.dump(
                -1, ' ', false, ordered_json::error_handler_t::replace);
    }
    try {
        db::approve_migration(work.connection(), state->version, override_, options.review);
    } catch (const db::sql_error& error) {
        throw located(error, file);
    }
    context.log.info("migration " + state->version + " " + file.name + " is approved");
    if (options.json)
        print_json({{"version", state->version},
                    {"checksum", state->checksum},
                    {"review", options.review},
                    {"approved", true}});
    return exit_status::done;
}

} // namespace sor::migrate
