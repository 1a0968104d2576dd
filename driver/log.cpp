#include "log.hpp"
#include <chrono>
#include <cstdio>
#include <ctime>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include "db/connection.hpp"

namespace sor {
namespace {

std::string utc_now() {
    const auto now = std::chrono::system_clock::now();
    const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
    const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    char text[40];
    const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    std::snprintf(text + length, sizeof text - length, ".%03dZ", static_cast<int>(millis));
    return text;
}

// One write(2) per message, so that lines of concurrent workers do not mix.
void put(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
}

std::string dump(const nlohmann::ordered_json& entry) {
    return entry.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

} // namespace

logger::logger(std::string command, bool verbose, bool json)
    : command_(std::move(command)), verbose_(verbose), json_(json), terminal_(isatty(STDERR_FILENO) == 1) {}

void logger::error(const failure& failure) {
    const auto* database = dynamic_cast<const db::sql_error*>(&failure);
    write("error", failure.message(), failure.detail(), failure.hint(), database ? database->sqlstate() : "",
          database ? database->context() : "");
}

void logger::error(std::string_view message, std::string_view detail, std::string_view hint) {
    write("error", message, detail, hint);
}

void logger::warning(std::string_view message, std::string_view detail, std::string_view hint) {
    write("warning", message, detail, hint);
}

void logger::info(std::string_view message) {
    if (verbose_)
        write("info", message, {}, {});
}

void logger::line(std::string_view file, std::uint64_t number, std::string_view reason) {
    progress({});
    if (json_)
        put(dump({{"time", utc_now()},
                  {"level", "error"},
                  {"command", command_},
                  {"file", file},
                  {"line", number},
                  {"message", reason}}));
    else
        put(std::string(file) + ":" + std::to_string(number) + ": " + std::string(reason) + "\n");
}

void logger::progress(std::string_view text) {
    if (!terminal_ || json_ || (text.empty() && !progress_shown_))
        return;
    put("\r\033[K" + std::string(text));
    progress_shown_ = !text.empty();
}

void logger::write(std::string_view level, std::string_view message, std::string_view detail, std::string_view hint,
                   std::string_view sqlstate, std::string_view context) {
    progress({});
    if (json_) {
        nlohmann::ordered_json entry{
            {"time", utc_now()}, {"level", level}, {"command", command_}, {"message", message}};
        if (!sqlstate.empty())
            entry["sqlstate"] = sqlstate;
        if (!detail.empty())
            entry["detail"] = detail;
        if (!hint.empty())
            entry["hint"] = hint;
        if (!context.empty())
            entry["context"] = context;
        put(dump(entry));
        return;
    }
    std::string text = "sor";
    if (!command_.empty())
        text += " " + command_;
    text += ": ";
    if (level != "info")
        text += std::string(level) + ": ";
    text += message;
    if (!sqlstate.empty())
        text += " (" + std::string(sqlstate) + ")";
    text += "\n";
    if (!detail.empty())
        text += "DETAIL: " + std::string(detail) + "\n";
    if (!hint.empty())
        text += "HINT: " + std::string(hint) + "\n";
    if (!context.empty())
        text += "CONTEXT: " + std::string(context) + "\n";
    put(text);
}

} // namespace sor
