#include "csv.hpp"
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iconv.h>
#include "failure.hpp"

namespace sor::csv {
namespace {

constexpr std::size_t chunk = 64 * 1024;

bool is_blank(const std::vector<std::string>& fields) {
    return std::all_of(fields.begin(), fields.end(),
                       [](const std::string& field) { return field.find_first_not_of(" \t") == std::string::npos; });
}

} // namespace

reader::reader(std::istream& input) : input_(input) {
    while (buffer_.size() < 3 && fill()) {
    }
    if (buffer_.starts_with("\xEF\xBB\xBF"))
        position_ = 3;
}

bool reader::fill() {
    if (at_end_)
        return false;
    const auto before = buffer_.size();
    buffer_.resize(before + chunk);
    input_.read(buffer_.data() + before, chunk);
    const auto got = static_cast<std::size_t>(input_.gcount());
    buffer_.resize(before + got);
    bytes_read_ += got;
    if (got < chunk) {
        if (input_.bad())
            throw failure(exit_status::unavailable, "could not read the input",
                          "After " + std::to_string(bytes_read_) + " bytes.");
        at_end_ = true;
    }
    return got > 0;
}

bool reader::next(record& record) {
    if (position_ > chunk) {
        buffer_.erase(0, position_);
        position_ = 0;
    }
    record.fields.clear();
    record.problem.clear();
    record.blank = false;
    record.line = line_;
    if (position_ == buffer_.size() && !fill())
        return false;
    if (!parse(record)) {
        record.fields.clear();
        skip_line();
        return true;
    }
    record.blank = is_blank(record.fields);
    return true;
}

// Reads the record at position_. On broken quoting sets record.problem and leaves position_ where it was.
bool reader::parse(record& record) {
    auto at = position_;
    auto lines = line_;
    // The byte at `at`, or -1 at the end of the input. The buffer grows, so no view into it is kept.
    const auto peek = [&]() -> int {
        if (at >= buffer_.size() && !fill())
            return -1;
        return static_cast<unsigned char>(buffer_[at]);
    };
    const auto too_long = [&] {
        if (at - position_ <= max_record)
            return false;
        record.problem = "record longer than " + std::to_string(max_record) + " bytes: a quote that is not closed?";
        return true;
    };
    while (true) {
        std::string field;
        if (peek() == '"') {
            ++at;
            while (true) {
                const int c = peek();
                if (c < 0) {
                    record.problem = "quote is not closed";
                    return false;
                }
                if (too_long())
                    return false;
                ++at;
                if (c == '"') {
                    if (peek() != '"')
                        break;
                    ++at;
                }
                if (c == '\n')
                    ++lines;
                field += static_cast<char>(c);
            }
            // Spaces between the closing quote and the separator are a common slip of the writer and cost nothing.
            while (peek() == ' ')
                ++at;
            if (const int c = peek(); c >= 0 && c != ',' && c != '\r' && c != '\n') {
                record.problem = "text after a closing quote";
                if (lines > line_)
                    record.problem = "quote that is closed by text on line " + std::to_string(lines) + " only";
                return false;
            }
        } else {
            while (true) {
                const int c = peek();
                if (c < 0 || c == ',' || c == '\r' || c == '\n')
                    break;
                if (too_long())
                    return false;
                field += static_cast<char>(c);
                ++at;
            }
        }
        record.fields.push_back(std::move(field));
        const int c = peek();
        if (c == ',') {
            ++at;
            continue;
        }
        if (c == '\r') {
            ++at;
            if (peek() == '\n')
                ++at;
            ++lines;
        } else if (c == '\n') {
            ++at;
            ++lines;
        }
        position_ = at;
        line_ = lines;
        return true;
    }
}

void reader::skip_line() {
    while (true) {
        const auto end = buffer_.find_first_of("\r\n", position_);
        if (end != std::string::npos) {
            position_ = end + 1;
            if (buffer_[end] == '\r') {
                if (position_ == buffer_.size())
                    fill();
                if (position_ < buffer_.size() && buffer_[position_] == '\n')
                    ++position_;
            }
            ++line_;
            return;
        }
        buffer_.clear();
        position_ = 0;
        if (!fill())
            return;
    }
}

decoder::decoder(const std::string& encoding) : encoding_(encoding), converter_(iconv_open("UTF-8", encoding.c_str())) {
    const std::string hint =
        "iconv --list prints the known ones; convert other files first: iconv -f ENCODING -t UTF-8.";
    if (converter_ == reinterpret_cast<iconv_t>(-1)) {
        converter_ = nullptr;
        throw failure(exit_status::usage, "unknown encoding \"" + encoding + "\"", {}, hint);
    }
    // The reader splits bytes at ASCII separators before they are decoded.
    std::string separators = ",\"\r\n";
    if (!decode(separators).empty() || separators != ",\"\r\n") {
        iconv_close(converter_);
        throw failure(exit_status::usage, "encoding \"" + encoding + "\" is no superset of ASCII", {}, hint);
    }
}

decoder::~decoder() {
    if (converter_)
        iconv_close(converter_);
}

std::string decoder::decode(std::string& text) {
    if (text.find('\0') != std::string::npos)
        return "byte 0x00";
    const auto high = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
    if (scratch_.empty() == false && std::none_of(text.begin(), text.end(), high))
        return {};
    iconv(converter_, nullptr, nullptr, nullptr, nullptr);
    scratch_.resize(std::max<std::size_t>(text.size() * 4, 16));
    char* in = text.data();
    char* out = scratch_.data();
    std::size_t in_left = text.size(), out_left = scratch_.size();
    if (iconv(converter_, &in, &in_left, &out, &out_left) == static_cast<std::size_t>(-1)) {
        char name[16];
        std::snprintf(name, sizeof name, "byte 0x%02X", static_cast<unsigned>(static_cast<unsigned char>(*in)));
        return name;
    }
    text.assign(scratch_.data(), scratch_.size() - out_left);
    return {};
}

} // namespace sor::csv
