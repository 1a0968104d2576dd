#include <cmath>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <sys/file.h>
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

// Held from before the measurement until the file is replaced: a slower call would put older counters back, which
// Prometheus takes for a restart. The lock is on the file itself; one that is not there yet has nothing to put back.
class output_lock {
public:
    explicit output_lock(const std::string& file) {
        for (;;) {
            struct stat opened {};
            struct stat named {};
            descriptor_ = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
            if (descriptor_ < 0 && errno == ENOENT)
                return;
            if (descriptor_ < 0 || fstat(descriptor_, &opened) != 0)
                cannot_write(file, errno);
            if (!S_ISREG(opened.st_mode)) // to replace a device or a pipe helps nobody
                throw failure(exit_status::usage, "the output is no regular file", file,
                              "Without --output the metrics go to standard output.");
            if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0)
                throw failure(exit_status::try_again, "another sor metrics is at work on the output", file,
                              "Where it hangs, it waits for a lock in the database.");
            if (stat(file.c_str(), &named) == 0 && named.st_dev == opened.st_dev && named.st_ino == opened.st_ino)
                return;
            close(descriptor_); // replaced meanwhile
        }
    }
    ~output_lock() {
        if (descriptor_ >= 0)
            close(descriptor_);
    }
    output_lock(const output_lock&) = delete;
    output_lock& operator=(const output_lock&) = delete;

private:
    int descriptor_ = -1;
};

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
    std::optional<output_lock> lock;
    if (!output.empty())
        lock.emplace(output);
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
