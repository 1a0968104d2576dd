#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include "command.hpp"
#include "db/calls.hpp"
#include "drill/drills.hpp"
#include "process.hpp"
#include "stop.hpp"
#include "text.hpp"

namespace sor {
namespace {

using namespace drill;

struct options_of_drill : drill_options {
    std::string out, sabotage;
};

struct finding {
    bool ok = false;
    std::string evidence, reason;
};

struct round {
    std::array<std::optional<finding>, drill_count> findings;
    bool all_ok() const {
        for (const auto& one : findings)
            if (!one || !one->ok)
                return false;
        return true;
    }
};

std::string one_line(std::string text) {
    for (auto& c : text)
        if (c == '\n' || c == '\r')
            c = ' ';
    return text;
}

// Ends with the same figures wherever it is asked: this is the query that is printed.
finding judge(stage& on, int index) {
    const auto answer = on.admin().query(drills[static_cast<std::size_t>(index)].verdict, {});
    return {answer.boolean(0, 0), one_line(answer.text(0, 1)), one_line(answer.text(0, 2))};
}

finding run_drill(stage& on, int index, const drill_options& options, const std::string& without) {
    std::string trouble;
    try {
        act(index, on, options, without);
    } catch (const failure& error) {
        if (error.code() == exit_status::try_again && stop::requested())
            throw;
        trouble = error.message() + (error.detail().empty() ? "" : ": " + error.detail());
    }
    while (trouble.ends_with('.'))
        trouble.pop_back();
    auto found = judge(on, index);
    if (!trouble.empty())
        found = {
            false,
            {},
            one_line("the drill could not be done: " + trouble + (found.reason.empty() ? "" : "; " + found.reason))};
    return found;
}

std::string queries() {
    std::string text =
        "-- Recomputes every figure of the evidence; read-only. In a database of a server that has sor:\n"
        "--   createdb drill && pg_restore --dbname=drill rows.dump && psql -d drill -f queries.sql\n"
        "set default_transaction_read_only = on;\n";
    for (int i = 0; i < drill_count; ++i)
        text += "\n-- " + std::to_string(i + 1) + ". " + drills[static_cast<std::size_t>(i)].key +
                drills[static_cast<std::size_t>(i)].verdict + ";\n";
    return text;
}

// Makes the folder; what an earlier round left in it goes, for logs are read as evidence. One that holds something else
// is not touched.
void prepare(const std::string& folder) {
    namespace fs = std::filesystem;
    try {
        if (fs::exists(folder) && !fs::is_empty(folder) && !fs::exists(folder + "/queries.sql"))
            throw failure(exit_status::usage, "the folder \"" + folder + "\" holds something else than evidence", {},
                          "--out names a folder that is empty, new, or holds the evidence of an earlier drill.");
        for (const auto* own : {"logs", "broken", "evidence.json", "evidence.md", "rows.dump"})
            fs::remove_all(folder + "/" + own);
        fs::create_directories(folder + "/logs");
    } catch (const fs::filesystem_error& error) {
        throw failure(exit_status::usage, "could not make the folder \"" + folder + "\"", error.code().message(),
                      "--out names a folder that this account can write to.");
    }
    write_file(folder + "/queries.sql", queries());
}

// The server of the live database, through a connection that is not to it: it is copied whole only while nobody is in
// it.
struct server {
    db::connection control;
    std::string live;
};

server reach(command_context& context) {
    db::connection live(context.options.conninfo, "sor drill");
    if (!db::login_check(live).superuser)
        throw failure(exit_status::refused, "the drills need a superuser",
                      "They copy the database, make logins for their parts and read the server's log.",
                      "--dbname names the demo's database and a superuser; live rows are not touched.");
    return {db::connection(live, {{"dbname", "postgres"}}), live.database()};
}

class rounds {
public:
    rounds(const options_of_drill& options, command_context& context)
        : options_(options), context_(context), server_(reach(context)), who_((drop_remains(), server_.control)),
          base_(server_.control, server_.live, who_.name("base")) {}

    // One round on a fresh copy and into a folder that is prepared, under what `sabotage` takes away; the drill `only`,
    // or all.
    round run(const sabotage_text* sabotage, const std::string& folder, std::optional<int> only = std::nullopt) {
        const scratch copy(server_.control, base_.name(), who_.name(std::to_string(++copies_)));
        stage on(server_.control, who_, copy.name(), folder);
        if (sabotage)
            for (const auto* statement : sabotage->statements)
                on.admin().query(statement, {});
        round result;
        for (int i = 0; i < drill_count; ++i) {
            if (only && *only != i)
                continue;
            const auto since = std::chrono::steady_clock::now();
            auto& found = result.findings[static_cast<std::size_t>(i)];
            found = run_drill(on, i, options_, sabotage ? sabotage->name : "");
            const auto took =
                std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - since);
            context_.log.info(std::string(sabotage ? sabotage->name : "drill") + " " + std::to_string(i + 1) + " " +
                              drills[static_cast<std::size_t>(i)].key + ": " +
                              (found->ok ? "pass" : "fail: " + found->reason) + " (" + std::to_string(took.count()) +
                              " ms)");
        }
        keep_rows(on, folder);
        return result;
    }

    const std::string& live() const { return server_.live; }

    // The decision becomes an event of the live database's own history, and nothing else there changes.
    void record(const std::string& json) {
        db::connection connection(server_.control, {{"dbname", live()}, {"options", ""}});
        connection.query("select sor.record_drill($1::jsonb)",
                         {"{\"database\": " + json_quote(live()) + ", \"bundle\": " + json + "}"});
    }

private:
    void drop_remains() {
        std::string names;
        for (const auto& name : drop_left_behind(server_.control))
            names += (names.empty() ? "" : ", ") + name;
        if (!names.empty())
            context_.log.warning("dropped what a killed drill had left behind: " + names);
    }

    // Without what only the logins of the drill hold: the dump can be restored where they are not.
    void keep_rows(stage& on, const std::string& folder) {
        who_.leave(on.admin());
        on.close_admin();
        const auto outcome = run_programs(
            {{{"pg_dump", "--format=custom", "--file=" + folder + "/rows.dump", "--dbname=" + on.database()},
              db::environment_of(server_.control.parameters())}});
        end_if_stopped();
        if (!outcome.succeeded)
            throw failure(exit_status::unavailable, "the rows of the drills could not be kept", outcome.errors,
                          "pg_dump of the server's version must be in PATH.");
    }

    const options_of_drill& options_;
    command_context& context_;
    server server_;
    logins who_;
    scratch base_;
    int copies_ = 0;
};

// ------------------------------------------------------------------------------------------------------- the evidence

// The six properties of a system of record, and the numbers of the drills that show each.
struct property {
    const char* name;
    std::string_view shown_by;
};
constexpr property properties[] = {{"durable", "125"},   {"addressable", "29"}, {"governed", "178"},
                                   {"replayable", "36"}, {"inspectable", "69"}, {"policy-bound", "34568"}};

std::string properties_shown(const round& all) {
    std::string text;
    for (const auto& property : properties) {
        std::string showing, failing;
        for (const char number : property.shown_by) {
            const auto i = static_cast<std::size_t>(number - '1');
            auto& names = all.findings[i]->ok ? showing : failing;
            names += (names.empty() ? "" : ", ") + std::string(drills[i].key);
        }
        text += (text.empty() ? "" : "; ") + std::string(property.name) +
                (failing.empty() ? " (" + showing : " is not shown (" + failing + " failed") + ")";
    }
    return "The six properties and the drills that show them: " + text + ".";
}

struct broken_drill {
    const sabotage_text* sabotage;
    finding found;
};

std::string failure_of(int index, const finding& found, const sabotage_text* sabotage) {
    const auto& drill = drills[static_cast<std::size_t>(index)];
    auto reason = found.reason;
    while (reason.ends_with('.'))
        reason.pop_back();
    return std::string(drill.key) + " failed: " + reason + ". The habit that was missing: " + drill.habit +
           (sabotage && sabotage->drill == index ? std::string(". What was taken away: ") + sabotage->removes +
                                                       ". The smallest change that unblocks: " + sabotage->unblocks
                                                 : std::string());
}

// One paragraph, on one line.
std::string decision(const round& all, const sabotage_text* sabotage, const std::optional<broken_drill>& broken,
                     const std::string& live) {
    if (!all.all_ok()) {
        int failed = 0;
        std::string reasons;
        for (int i = 0; i < drill_count; ++i)
            if (const auto& found = *all.findings[static_cast<std::size_t>(i)]; !found.ok) {
                ++failed;
                reasons += " " + failure_of(i, found, sabotage) + ".";
            }
        return "BLOCKED." + reasons + " The other " + std::to_string(drill_count - failed) + " of " +
               std::to_string(drill_count) + " drills passed. " + properties_shown(all);
    }
    if (!broken || broken->found.ok)
        return "BLOCKED. All nine drills passed, and none was seen to fail" +
               (broken ? std::string(": repeated without its discipline (") + broken->sabotage->removes + "), " +
                             drills[static_cast<std::size_t>(broken->sabotage->drill)].key + " passed as well."
                       : std::string("."));
    return "PERMITTED. All nine drills passed on a copy of database " + live +
           "; each figure can be recomputed from the rows that are kept. That a drill can say no was shown by breaking "
           "one on purpose, on a copy of its own: " +
           failure_of(broken->sabotage->drill, broken->found, broken->sabotage) + ". " + properties_shown(all);
}

std::string bundle(const round& all, const std::string& release) {
    std::string json = "{\n";
    for (int i = 0; i < drill_count; ++i) {
        const auto& found = *all.findings[static_cast<std::size_t>(i)];
        json += "  " + json_quote(drills[static_cast<std::size_t>(i)].key) + ": " +
                json_quote(found.ok ? "pass" : found.reason) + ",\n";
    }
    return json + "  \"release_decision\": " + json_quote(release) + "\n}\n";
}

std::string lines_of(const round& all) {
    std::string text;
    for (int i = 0; i < drill_count; ++i)
        if (const auto& found = all.findings[static_cast<std::size_t>(i)])
            text += std::to_string(i + 1) + ". `" + drills[static_cast<std::size_t>(i)].key + "` " +
                    (found->ok ? "pass: " + found->evidence : "fail: " + found->reason) + "\n";
    return text;
}

void write_evidence(const std::string& out, const round& all, const std::string& release,
                    const std::optional<broken_drill>& broken) {
    const auto json = bundle(all, release);
    write_file(out + "/evidence.json", json);
    std::string text = "```json\n" + json + "```\n\n" + release + "\n\n## Evidence\n" + lines_of(all);
    if (broken)
        text += "\n## The drill that was broken on purpose\n" + std::to_string(broken->sabotage->drill + 1) + ". " +
                failure_of(broken->sabotage->drill, broken->found, broken->sabotage) +
                ".\n\nIts rows: `broken/rows.dump`.\n";
    text += "\n## Recompute\nThe rows are in `rows.dump`, what programs said in `logs/`; both are also in the schema "
            "`drill` of the dump.\n\n```sql\n" +
            queries() + "```\n";
    write_file(out + "/evidence.md", text);
}

const sabotage_text* find_sabotage(const std::string& name) {
    for (const auto& one : sabotages)
        if (name == one.name)
            return &one;
    return nullptr;
}

exit_status sabotage_all(const options_of_drill& options, rounds& on) {
    bool as_expected = true;
    std::array<bool, drill_count> failed{};
    for (const auto& sabotage : sabotages) {
        const auto folder = options.out + "/" + sabotage.name;
        prepare(folder);
        const auto all = on.run(&sabotage, folder);
        write_evidence(folder, all, decision(all, &sabotage, std::nullopt, on.live()), std::nullopt);
        bool right = true;
        std::string no;
        for (int i = 0; i < drill_count; ++i) {
            const bool ok = all.findings[static_cast<std::size_t>(i)]->ok;
            right &= ok == (i != sabotage.drill);
            if (!ok) {
                no += (no.empty() ? "" : ", ") + std::string(drills[static_cast<std::size_t>(i)].key);
                failed[static_cast<std::size_t>(i)] = true;
            }
        }
        std::printf("%-4s  %-18s  %s\n", right ? "ok" : "FAIL", sabotage.name,
                    no.empty() ? "no drill says no" : ("blocked by " + no).c_str());
        std::fflush(stdout);
        as_expected &= right;
    }
    for (int i = 0; i < drill_count; ++i)
        if (!failed[static_cast<std::size_t>(i)]) {
            std::printf("FAIL  %s was never seen to fail\n", drills[static_cast<std::size_t>(i)].key);
            as_expected = false;
        }
    return as_expected ? exit_status::done : exit_status::check_failed;
}

exit_status drill_command(const options_of_drill& options, command_context& context) {
    const auto* sabotage =
        options.sabotage.empty() || options.sabotage == "all" ? nullptr : find_sabotage(options.sabotage);
    if (!sabotage && !options.sabotage.empty() && options.sabotage != "all") {
        std::string known;
        for (const auto& one : sabotages)
            known += std::string(" ") + one.name;
        throw failure(exit_status::usage, "unknown sabotage \"" + options.sabotage + "\"", {},
                      "Known:" + known + ", or all.");
    }
    options_of_drill absolute = options;
    absolute.out = std::filesystem::absolute(options.out).string();
    if (options.sabotage != "all")
        prepare(absolute.out);
    rounds on(absolute, context);
    if (options.sabotage == "all")
        return sabotage_all(absolute, on);
    const auto all = on.run(sabotage, absolute.out);
    std::optional<broken_drill> broken;
    if (all.all_ok()) {
        const auto* how = find_sabotage("idempotency-key");
        prepare(absolute.out + "/broken");
        const auto again = on.run(how, absolute.out + "/broken", how->drill);
        broken = broken_drill{how, *again.findings[static_cast<std::size_t>(how->drill)]};
    }
    const auto release = decision(all, sabotage, broken, on.live());
    write_evidence(absolute.out, all, release, broken);
    if (!sabotage) // a sabotaged copy says nothing about the release
        on.record(bundle(all, release));
    std::printf("%s\n%s\n", lines_of(all).c_str(), release.c_str());
    return release.starts_with("PERMITTED") ? exit_status::done : exit_status::check_failed;
}

} // namespace

void declare_drill(CLI::App& app, common_options& common, chosen_command& chosen) {
    std::string known;
    for (const auto& one : sabotages)
        known += std::string(known.empty() ? "" : ", ") + one.name;
    auto* command = add_command(
        app, "drill", "Prove by nine drills that a release of the demo may go out, or say why not",
        "Copies the database of the expense reconciler, which must have two tenants with expenses, and runs the nine\n"
        "drills on the copy with real programs under logins of their own: a worker killed in mid-turn, a mail server "
        "that\n"
        "refuses, two sessions at one queue. Then one drill is repeated with its discipline taken away, and must "
        "fail.\n"
        "--out gets evidence.json, evidence.md with the release decision, queries.sql that recomputes every figure, "
        "and\n"
        "the rows and logs it is recomputed from. Live rows are not touched; the decision becomes an event "
        "drill.decided.\n"
        "--sabotage takes one discipline away on the copy: the matching drill, and it alone, must then say no. "
        "Known:\n" +
            known +
            "; all tries each.\n"
            "Ends with 1 when the decision is BLOCKED. For a superuser, on a machine that is not production's.",
        common);
    auto options = std::make_shared<options_of_drill>();
    command->add_option("--out", options->out, "Folder for the evidence")->type_name("DIR")->required();
    command->add_option("--sabotage", options->sabotage, "Take this discipline away; all: each in turn")
        ->type_name("NAME");
    command->add_option("--handler", options->handler, "Handler of the queue pending_transactions, as for sor work")
        ->type_name("CMD")
        ->required();
    command
        ->add_option(
            "--mail-server", options->mail_server,
            "Starts an SMTP server: prints its port, writes each mail as a line of JSON (subject) to the file "
            "that is appended as an argument, and replies to DATA with what FILE.refuse holds while that is there")
        ->type_name("CMD")
        ->required();
    command
        ->add_option("--server-log", options->server_log,
                     "The server's log, as its account sees it; else what the server names")
        ->type_name("PATH");
    command->callback([options, &chosen] {
        chosen = [options](command_context& context) { return drill_command(*options, context); };
    });
}

} // namespace sor
