#include <cmath>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include "command.hpp"
#include "db/calls.hpp"
#include "metrics_text.hpp"

namespace sor {
namespace {

[[noreturn]] void cannot_write(const std::string& file, int error) {
    throw failure(exit_status::unavailable, "cannot write the metrics", file + ": " + std::strerror(error),
                  "--output names a file in a folder that can be written.");
}

// Whoever reads the file finds the old one or the new one, never a part.
void replace_file(const std::string& file, const std::string& text) {
    auto temporary = file + ".XXXXXX"; // node_exporter reads *.prom alone
    const int descriptor = mkstemp(temporary.data());
    if (descriptor < 0)
        cannot_write(file, errno);
    const auto give_up = [&](int error) {
        close(descriptor);
        unlink(temporary.c_str());
        cannot_write(file, error);
    };
    for (std::size_t written = 0; written < text.size();) {
        const auto n = write(descriptor, text.data() + written, text.size() - written);
        if (n < 0 && errno != EINTR)
            give_up(errno);
        written += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    if (fchmod(descriptor, 0644) != 0 || fsync(descriptor) != 0)
        give_up(errno);
    if (close(descriptor) != 0 || rename(temporary.c_str(), file.c_str()) != 0) {
        const int error = errno;
        unlink(temporary.c_str());
        cannot_write(file, error);
    }
}

exit_status metrics(const std::string& output, command_context& context) {
    auto connection = connect(context, login_kind::operator_);
    const auto text = metrics_text(db::metrics(connection));
    if (output.empty())
        std::fwrite(text.data(), 1, text.size(), stdout);
    else
        replace_file(output, text);
    return exit_status::done;
}

} // namespace

std::string metrics_text(const std::vector<db::metric>& samples) {
    const auto escaped = [](std::string_view text, bool quotes) {
        std::string out;
        for (const char c : text)
            if (c == '\n')
                out += "\\n";
            else if (c == '\\' || (quotes && c == '"'))
                out += std::string("\\") + c;
            else
                out += c;
        return out;
    };
    std::string out, family;
    for (const auto& sample : samples) {
        if (sample.family != family) {
            family = sample.family;
            out += "# HELP " + family + " " + escaped(sample.help, false) + "\n# TYPE " + family + " " + sample.type +
                   "\n";
        }
        out += sample.name;
        const auto labels = nlohmann::ordered_json::parse(sample.labels);
        std::string list;
        for (const auto& [label, value] : labels.items())
            list += (list.empty() ? "" : ",") + label + "=\"" + escaped(value.get<std::string>(), true) + "\"";
        if (!list.empty())
            out += "{" + list + "}";
        out += " " + sample.value + "\n";
    }
    return out;
}

void declare_metrics(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(app, "metrics", "Print what to watch, in the text format of Prometheus",
                                "Of the tenants granted to the login, of all for operators. The cost does not grow "
                                "with what waits. Counters are\n"
                                "kept in the database: they go on whoever calls. For node_exporter's textfile "
                                "collector: --output FILE.prom under\n"
                                "cron; the file is replaced at once. For a login in sor_auditor or sor_operator.",
                                common);
    auto output = std::make_shared<std::string>();
    command->add_option("--output", *output, "Write to this file instead, whole or not at all")->type_name("FILE");
    command->callback(
        [output, &chosen] { chosen = [output](command_context& context) { return metrics(*output, context); }; });
}

} // namespace sor
