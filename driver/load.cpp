#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <unistd.h>
#include "command.hpp"
#include "csv.hpp"
#include "db/calls.hpp"
#include "fault.hpp"
#include "occurrence.hpp"
#include "stop.hpp"
#include "text.hpp"

namespace sor {
namespace {

struct load_options {
    std::string table, file, tenant, tenant_from, occurrence;
    std::string encoding = "UTF-8";
    std::vector<std::string> set, ignore;
    bool strict = false;
    int batch = 1000;
};

// Where the values of a record come from.
struct load_plan {
    struct target {
        std::string name_json; // `"name":`
        std::size_t field;     // of the file
    };
    std::vector<target> targets;
    std::string fixed; // the members given by --set, ready to append
    std::optional<std::size_t> tenant_field;
    std::string occurrence; // the column that numbers equal keys; empty: none

    // The parts of the key that differ from record to record, for the numbering.
    struct key_field {
        std::size_t field;
        bool numeric;
    };
    std::vector<key_field> key_fields;
    std::size_t header_fields = 0;
};

bool is_numeric(const std::string& type) {
    for (const auto* name : {"numeric", "integer", "bigint", "smallint", "real", "double precision"})
        if (type.starts_with(name))
            return true;
    return false;
}

std::string list(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names)
        text += (text.empty() ? "\"" : ", \"") + name + "\"";
    return text;
}

load_plan make_plan(const load_options& options, const std::vector<db::column>& columns,
                    const std::vector<std::string>& header) {
    load_plan plan;
    plan.header_fields = header.size();
    const auto column = [&](const std::string& name) {
        return std::find_if(columns.begin(), columns.end(), [&](const auto& one) { return one.name == name; });
    };
    const auto given = [&](const std::string& name) {
        return std::find(header.begin(), header.end(), name) != header.end();
    };
    std::map<std::string, std::string> set;
    for (const auto& assignment : options.set) {
        const auto equals = assignment.find('=');
        if (equals == std::string::npos || equals == 0)
            throw failure(exit_status::usage, "--set takes column=value, not \"" + assignment + "\"");
        const auto name = assignment.substr(0, equals);
        if (!set.emplace(name, assignment.substr(equals + 1)).second)
            throw failure(exit_status::usage, "--set names column \"" + name + "\" twice");
        if (column(name) == columns.end() || !column(name)->is_writable)
            throw failure(exit_status::usage,
                          "table \"" + options.table + "\" has no column \"" + name + "\" that may be written",
                          "It is named by --set.");
        if (given(name))
            throw failure(exit_status::usage, "column \"" + name + "\" is given by --set and by the file", {},
                          "Leave out one of them; --ignore does not help here.");
    }

    std::vector<std::string> unknown;
    for (std::size_t field = 0; field < header.size(); ++field) {
        const auto& name = header[field];
        if (std::count(header.begin(), header.end(), name) > 1)
            throw failure(exit_status::bad_data, "the header names column \"" + name + "\" twice");
        if (!options.tenant_from.empty() && name == options.tenant_from) {
            plan.tenant_field = field;
            if (column(name) == columns.end())
                continue;
        }
        if (std::find(options.ignore.begin(), options.ignore.end(), name) != options.ignore.end())
            continue;
        const auto found = column(name);
        if (found == columns.end() || !found->is_writable) {
            unknown.push_back(name);
            continue;
        }
        plan.targets.push_back({json_quote(name) + ":", field});
    }
    if (!unknown.empty())
        throw failure(exit_status::usage,
                      "table \"" + options.table + "\" has no such column that may be written: " + list(unknown),
                      "The header of \"" + options.file + "\" names it.", "Leave a column out with --ignore COLUMN.");
    if (!options.tenant_from.empty() && !plan.tenant_field)
        throw failure(exit_status::usage, "the file has no column \"" + options.tenant_from + "\"",
                      "--tenant-from takes the tenant's name from it. The header has " + list(header) + ".");

    plan.occurrence = options.occurrence;
    if (plan.occurrence.empty()) {
        const auto found = column("occurrence");
        if (found != columns.end() && found->is_key && !given("occurrence") && !set.contains("occurrence"))
            plan.occurrence = "occurrence";
    } else {
        if (column(plan.occurrence) == columns.end() || !column(plan.occurrence)->is_writable)
            throw failure(exit_status::usage,
                          "table \"" + options.table + "\" has no column \"" + plan.occurrence +
                              "\" that may be written",
                          "It is named by --occurrence.");
        if (given(plan.occurrence) || set.contains(plan.occurrence))
            throw failure(exit_status::usage,
                          "column \"" + plan.occurrence + "\" is to be numbered but given by file or --set");
    }

    std::vector<std::string> missing;
    for (const auto& one : columns) {
        const bool from_file = std::any_of(plan.targets.begin(), plan.targets.end(),
                                           [&](const auto& target) { return header[target.field] == one.name; });
        if ((one.is_required || one.is_key) && one.is_writable && !from_file && !set.contains(one.name) &&
            one.name != plan.occurrence)
            missing.push_back(one.name);
        if (one.is_key && from_file)
            for (const auto& target : plan.targets)
                if (header[target.field] == one.name)
                    plan.key_fields.push_back({target.field, is_numeric(one.type)});
    }
    if (!missing.empty())
        throw failure(exit_status::usage,
                      "nothing gives the columns that table \"" + options.table + "\" needs: " + list(missing),
                      "The header of \"" + options.file + "\" has " + list(header) + ".",
                      "Give a column that is the same for all rows with --set column=value.");

    for (const auto& [name, value] : set)
        plan.fixed += "," + json_quote(name) + ":" + (value.empty() ? "null" : json_quote(value));
    return plan;
}

// One pass over the file. A strict load makes two: the first a dry run that undoes what it wrote.
class loader {
public:
    loader(const load_options& options, command_context& context, db::connection& connection,
           const std::vector<db::tenant>& tenants, bool dry_run)
        : options_(options), context_(context), connection_(connection), tenants_(tenants), dry_run_(dry_run),
          decoder_(options.encoding), name_(options.file == "-" ? "standard input" : options.file) {
        for (const auto& tenant : tenants)
            by_name_.emplace(fold(tenant.name), tenant.id);
        for (const auto& [alias, tenant] : context.settings.tenant_aliases) {
            const auto found = by_name_.find(fold(tenant));
            if (found != by_name_.end())
                by_name_.emplace(fold(alias), found->second);
        }
    }

    void run(std::istream& input, std::uint64_t size) {
        csv::reader reader(input);
        csv::record record;
        if (!next_filled(reader, record))
            throw failure(exit_status::bad_data, "\"" + name_ + "\" is empty", {}, "Its first line names the columns.");
        plan_ = make_plan(options_, db::describe_table(connection_, options_.table), header(record));
        fixed_tenant_ = options_.tenant.empty() ? std::string() : fixed_tenant();
        try {
            while (!stop::requested() && next_filled(reader, record)) {
                add(record);
                if ((++read_ & 1023) == 0 && context_.log.terminal())
                    show_progress(reader.bytes_read(), size);
            }
            for (auto& [tenant, batch] : batches_)
                flush(tenant, batch);
            settle();
        } catch (...) {
            print_findings();
            throw;
        }
        context_.log.progress({});
        print_findings();
    }

    std::uint64_t refused() const { return refused_; }
    std::uint64_t inserted() const { return inserted_; }
    std::uint64_t existing() const { return existing_; }
    std::uint64_t read() const { return read_; }

private:
    struct tenant_batch {
        std::string records; // a JSON array without its closing bracket
        std::vector<std::uint64_t> lines;
        occurrence_counter occurrences; // numbered per tenant
    };

    std::vector<std::string> header(csv::record& record) {
        if (!record.problem.empty())
            throw failure(exit_status::bad_data, "the header of \"" + name_ + "\" cannot be read",
                          record.problem + ".");
        std::vector<std::string> names;
        for (auto& field : record.fields) {
            if (const auto problem = decoder_.decode(field); !problem.empty())
                throw failure(exit_status::bad_data, "the header of \"" + name_ + "\" cannot be read",
                              problem + " is not valid " + decoder_.encoding() + ".", encoding_hint());
            names.emplace_back(trim(field));
        }
        // Spreadsheets leave empty columns at the right.
        while (!names.empty() && names.back().empty())
            names.pop_back();
        return names;
    }

    // Blank lines between records are reported, those at the end of the file are nothing.
    bool next_filled(csv::reader& reader, csv::record& record) {
        while (reader.next(record)) {
            if (!record.blank) {
                for (const auto line : blank_)
                    find(line, "blank line, skipped");
                blank_.clear();
                return true;
            }
            blank_.push_back(record.line);
        }
        return false;
    }

    std::string fixed_tenant() {
        const auto found = by_name_.find(fold(options_.tenant));
        if (found == by_name_.end())
            throw failure(exit_status::refused, "unknown tenant \"" + options_.tenant + "\"",
                          "No tenant of this name is granted to the login.",
                          "An operator makes tenants with sor.create_tenant and grants them with sor.grant_tenant.");
        return found->second;
    }

    void add(csv::record& record) {
        if (!record.problem.empty())
            return refuse(record.line, record.problem);
        auto& fields = record.fields;
        while (fields.size() > plan_.header_fields && trim(fields.back()).empty())
            fields.pop_back();
        if (fields.size() != plan_.header_fields)
            return refuse(record.line, std::to_string(fields.size()) + " fields where the header has " +
                                           std::to_string(plan_.header_fields));
        for (std::size_t i = 0; i < fields.size(); ++i) {
            if (const auto problem = decoder_.decode(fields[i]); !problem.empty()) {
                bad_encoding_ = true;
                return refuse(record.line,
                              problem + " in field " + std::to_string(i + 1) + " is not valid " + decoder_.encoding());
            }
            const auto trimmed = trim(fields[i]);
            if (trimmed.size() != fields[i].size())
                fields[i] = std::string(trimmed);
        }
        const std::string* tenant = &fixed_tenant_;
        if (plan_.tenant_field) {
            const auto& name = fields[*plan_.tenant_field];
            const auto found = by_name_.find(fold(name));
            if (found == by_name_.end()) {
                unknown_tenant_ = true;
                return refuse(record.line, "unknown tenant \"" + name + "\"");
            }
            tenant = &found->second;
        }
        auto& batch = batches_[*tenant];
        auto& json = batch.records;
        json += json.empty() ? "[{" : ",{";
        const char* separator = "";
        for (const auto& target : plan_.targets) {
            json += separator;
            json += target.name_json;
            json += fields[target.field].empty() ? "null" : json_quote(fields[target.field]);
            separator = ",";
        }
        if (!plan_.occurrence.empty()) {
            std::vector<std::string> key;
            for (const auto& part : plan_.key_fields)
                key.push_back(part.numeric ? canonical_decimal(fields[part.field]) : fields[part.field]);
            json += separator + json_quote(plan_.occurrence) + ":" + std::to_string(batch.occurrences.next(key));
            separator = ",";
        }
        json += *separator ? std::string_view(plan_.fixed)
                           : std::string_view(plan_.fixed).substr(plan_.fixed.empty() ? 0 : 1);
        json += '}';
        batch.lines.push_back(record.line);
        if (batch.lines.size() >= static_cast<std::size_t>(options_.batch))
            flush(*tenant, batch);
    }

    // Sends a batch; the server works on it while the next one is read.
    void flush(const std::string& tenant, tenant_batch& batch) {
        if (batch.lines.empty())
            return;
        settle();
        batch.records += ']';
        db::send_upsert_many(connection_, tenant, options_.table, batch.records, dry_run_);
        in_flight_ = std::move(batch.lines);
        batch.records.clear();
        batch.lines.clear();
    }

    void settle() {
        if (!connection_.in_flight())
            return;
        const auto upserted = db::receive_upsert_many(connection_);
        inserted_ += static_cast<std::uint64_t>(upserted.inserted);
        existing_ += static_cast<std::uint64_t>(upserted.existing);
        for (const auto& record : upserted.refused)
            refuse(in_flight_.at(record.index), record.message);
        if (!dry_run_)
            fault::point("after-batch");
    }

    void refuse(std::uint64_t line, std::string reason) {
        ++refused_;
        find(line, std::move(reason));
    }

    void find(std::uint64_t line, std::string reason) { findings_.emplace_back(line, std::move(reason)); }

    // In the order of the file: batches of several tenants come back in another.
    void print_findings() {
        std::stable_sort(findings_.begin(), findings_.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
        for (const auto& [line, reason] : findings_)
            context_.log.line(name_, line, reason);
        if (bad_encoding_)
            context_.log.warning("some lines are not valid " + decoder_.encoding(), {}, encoding_hint());
        if (unknown_tenant_)
            context_.log.warning(
                "some lines name an unknown tenant", {},
                "An operator makes and grants tenants; other spellings go into [load.tenant_aliases] of "
                "the settings.");
    }

    std::string encoding_hint() const { return "--encoding names the file's encoding, for example WINDOWS-1252."; }

    void show_progress(std::uint64_t bytes, std::uint64_t size) {
        std::string text = dry_run_ ? "checking: " : "loading: ";
        if (size > 0) {
            const auto width = 30 * std::min(bytes, size) / size;
            text += "[" + std::string(width, '#') + std::string(30 - width, ' ') + "] ";
        }
        context_.log.progress(text + std::to_string(read_) + " rows");
    }

    const load_options& options_;
    command_context& context_;
    db::connection& connection_;
    const std::vector<db::tenant>& tenants_;
    const bool dry_run_;
    csv::decoder decoder_;
    const std::string name_;
    std::unordered_map<std::string, std::string> by_name_; // folded name or alias to tenant id
    std::string fixed_tenant_;
    load_plan plan_;
    std::map<std::string, tenant_batch> batches_;
    std::vector<std::uint64_t> in_flight_; // lines of the batch that the server works on
    std::vector<std::uint64_t> blank_;
    std::vector<std::pair<std::uint64_t, std::string>> findings_;
    bool bad_encoding_ = false, unknown_tenant_ = false;
    std::uint64_t read_ = 0, refused_ = 0, inserted_ = 0, existing_ = 0;
};

// The input as a file that can be read twice.
class input_file {
public:
    input_file(const std::string& path, bool twice) {
        if (path != "-") {
            file_.open(path, std::ios::binary);
            if (!file_)
                throw failure(exit_status::usage, "could not open \"" + path + "\"", {}, "- reads standard input.");
        } else if (twice) {
            std::FILE* spool = std::tmpfile();
            if (!spool)
                throw failure(exit_status::unavailable, "could not make a temporary file", {},
                              "--strict reads its input twice; give a file, or space in the temporary directory.");
            char block[65536];
            bool written = true;
            while (std::cin.read(block, sizeof block) || std::cin.gcount() > 0) {
                const auto length = static_cast<std::size_t>(std::cin.gcount());
                written = written && std::fwrite(block, 1, length, spool) == length;
            }
            written = std::fflush(spool) == 0 && written;
            if (written)
                file_.open("/proc/self/fd/" + std::to_string(fileno(spool)), std::ios::binary);
            std::fclose(spool);
            if (!written || !file_)
                throw failure(exit_status::unavailable, "could not keep standard input in a temporary file");
        } else {
            std::ios::sync_with_stdio(false);
            return;
        }
        file_.seekg(0, std::ios::end);
        size_ = file_.tellg() > 0 ? static_cast<std::uint64_t>(file_.tellg()) : 0;
        file_.clear();
        rewind();
    }

    std::istream& stream() { return file_.is_open() ? static_cast<std::istream&>(file_) : std::cin; }
    std::uint64_t size() const { return size_; }
    void rewind() {
        file_.clear();
        file_.seekg(0);
    }

private:
    std::ifstream file_;
    std::uint64_t size_ = 0; // 0: not known
};

exit_status load(const load_options& options, command_context& context) {
    if (options.tenant.empty() == options.tenant_from.empty())
        throw failure(exit_status::usage, "one of --tenant and --tenant-from is needed");
    csv::decoder check_before_connecting(options.encoding);
    input_file input(options.file, options.strict);
    auto connection = connect(context);
    const auto tenants = db::granted_tenants(connection);
    if (options.strict) {
        loader check(options, context, connection, tenants, true);
        check.run(input.stream(), input.size());
        if (check.refused() > 0) {
            context.log.error("nothing was loaded",
                              std::to_string(check.refused()) + " of " + std::to_string(check.read()) +
                                  " rows are bad.",
                              "Without --strict the good rows are loaded.");
            return exit_status::bad_data;
        }
        if (stop::requested())
            return exit_status::done;
        input.rewind();
    }
    loader loader(options, context, connection, tenants, false);
    loader.run(input.stream(), input.size());
    const auto summary = std::to_string(loader.read()) + " rows read, " + std::to_string(loader.inserted()) +
                         " added, " + std::to_string(loader.existing()) + " there already, " +
                         std::to_string(loader.refused()) + " refused";
    if (context.log.verbose() || isatty(STDOUT_FILENO))
        std::printf("%s\n", summary.c_str());
    if (stop::requested())
        context.log.warning("stopped before the end of the file", summary + ".", "The same command finishes the load.");
    return loader.refused() > 0 ? exit_status::bad_data : exit_status::done;
}

} // namespace

void declare_load(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command =
        add_command(app, "load", "Load a CSV file into a registered table",
                    "Rows are written under the table's natural key in batches, each a transaction: a row that is "
                    "there already is\n"
                    "left alone, so the same file again, or after a kill, adds only what is missing. Values are "
                    "trimmed, an empty one\n"
                    "is null. A bad line is reported as FILE:LINE: reason on standard error and costs nothing else.\n"
                    "Rows of one file that are equal in the whole key are numbered 1, 2, ... in the --occurrence "
                    "column (by default\n"
                    "the key's column \"occurrence\").\n"
                    "Settings: [load.tenant_aliases] \"name in the file\" = \"tenant\".",
                    common);
    auto options = std::make_shared<load_options>();
    command->add_option("table", options->table, "Name under which the table is registered")
        ->required()
        ->type_name("TABLE");
    command->add_option("file", options->file, "CSV (RFC 4180) with a header line; - is standard input")
        ->required()
        ->type_name("FILE");
    command->add_option("--tenant", options->tenant, "The tenant of all rows")->type_name("NAME");
    command
        ->add_option("--tenant-from", options->tenant_from,
                     "Column that names each row's tenant, compared ignoring case and outer spaces")
        ->type_name("COLUMN");
    command->add_option("--set", options->set, "A value for all rows; repeatable")
        ->type_name("COLUMN=VALUE")
        ->allow_extra_args(false);
    command->add_option("--ignore", options->ignore, "Column of the file to leave out; repeatable")
        ->type_name("COLUMN")
        ->allow_extra_args(false);
    command->add_option("--occurrence", options->occurrence, "Column that numbers equal rows")->type_name("COLUMN");
    command->add_option("--encoding", options->encoding, "The file's encoding, as iconv names it")
        ->capture_default_str();
    command->add_flag("--strict", options->strict, "Check the whole file first; load nothing if a line is bad");
    command->add_option("--batch", options->batch, "Rows a transaction, of one tenant")
        ->check(CLI::Range(1, 10000))
        ->capture_default_str();
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return load(*options, context); }; });
}

} // namespace sor
