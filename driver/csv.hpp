#pragma once
#include <cstdint>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

namespace sor::csv {

// A record of the file. `problem` is set instead of fields when its quoting is broken.
struct record {
    std::uint64_t line = 0; // on which it begins, from 1
    std::vector<std::string> fields;
    bool blank = false; // an empty line, or nothing but spaces and separators
    std::string problem;
};

// Reads RFC 4180 as a stream: LF, CRLF or CR line ends, quoted separators, quotes and newlines, a UTF-8 byte order
// mark. A quote inside an unquoted field stands for itself. Memory is bounded by the longest record; a record with
// broken quoting costs its first line, reading goes on at the next.
class reader {
public:
    static constexpr std::size_t max_record = 1 << 20; // bytes

    explicit reader(std::istream& input);

    // False at the end of the input.
    bool next(record& record);
    std::uint64_t bytes_read() const { return bytes_read_; }

private:
    bool fill();
    bool parse(record& record);
    void skip_line();

    std::istream& input_;
    std::string buffer_;
    std::size_t position_ = 0; // of the next record in the buffer
    std::uint64_t line_ = 1;
    std::uint64_t bytes_read_ = 0;
    bool at_end_ = false;
};

// Turns text of one encoding into UTF-8. Throws Failure (usage) for an encoding that iconv does not know or that is
// no superset of ASCII.
class decoder {
public:
    explicit decoder(const std::string& encoding);
    ~decoder();
    decoder(const decoder&) = delete;
    decoder& operator=(const decoder&) = delete;

    // Empty when done; else the bytes that are not valid, as `byte 0x92`.
    std::string decode(std::string& text);
    const std::string& encoding() const { return encoding_; }

private:
    std::string encoding_;
    void* converter_;
    std::string scratch_;
};

} // namespace sor::csv
