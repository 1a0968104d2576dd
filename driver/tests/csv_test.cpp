#include "csv.hpp"
#include <gtest/gtest.h>
#include <sstream>
#include "failure.hpp"

namespace {

using sor::csv::decoder;
using sor::csv::reader;
using sor::csv::record;

std::vector<record> read_all(const std::string& text) {
    std::istringstream input(text);
    reader reader(input);
    std::vector<record> records;
    for (record record; reader.next(record);)
        records.push_back(record);
    return records;
}

using string_fields = std::vector<std::string>;

TEST(csv_test, ReadsLinesOfAnyEnd) {
    const auto records = read_all("a,b\nc,d\r\ne,f\rg,h");
    ASSERT_EQ(records.size(), 4U);
    EXPECT_EQ(records[1].fields, (string_fields{"c", "d"}));
    EXPECT_EQ(records[3].fields, (string_fields{"g", "h"}));
    EXPECT_EQ(records[3].line, 4U);
}

TEST(csv_test, ReadsQuotedSeparatorsQuotesAndLines) {
    const auto records = read_all("\"a,b\",\"say \"\"hi\"\"\",\"two\r\nlines\"\nnext,1,2\n");
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[0].fields, (string_fields{"a,b", "say \"hi\"", "two\r\nlines"}));
    EXPECT_EQ(records[1].line, 3U) << "the quoted line counts";
}

TEST(csv_test, SkipsTheByteOrderMarkAndKeepsEmptyFields) {
    const auto records = read_all("\xEF\xBB\xBF"
                                  "a,,\n");
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].fields, (string_fields{"a", "", ""}));
}

TEST(csv_test, TellsBlankLines) {
    const auto records = read_all("a\n\n , ,\nb\n");
    ASSERT_EQ(records.size(), 4U);
    EXPECT_FALSE(records[0].blank);
    EXPECT_TRUE(records[1].blank);
    EXPECT_TRUE(records[2].blank);
    EXPECT_EQ(records[3].line, 4U);
}

TEST(csv_test, TakesAQuoteInsideAFieldAsItIs) {
    EXPECT_EQ(read_all("5\" pipe,x\n")[0].fields, (string_fields{"5\" pipe", "x"}));
}

TEST(csv_test, ABrokenQuoteCostsItsLineAlone) {
    const auto records = read_all("a,b\n\"open,b\nc,d\n\"x\"y,z\ne,f\n\"never closed\ng,h\n");
    ASSERT_EQ(records.size(), 7U);
    EXPECT_EQ(records[1].problem, "quote that is closed by text on line 4 only");
    EXPECT_EQ(records[1].line, 2U);
    EXPECT_EQ(records[2].fields, (string_fields{"c", "d"}));
    EXPECT_EQ(records[3].problem, "text after a closing quote");
    EXPECT_EQ(records[4].fields, (string_fields{"e", "f"}));
    EXPECT_EQ(records[4].line, 5U);
    EXPECT_EQ(records[5].problem, "quote is not closed");
    EXPECT_EQ(records[6].fields, (string_fields{"g", "h"}));
}

TEST(csv_test, MemoryIsBoundedByTheLongestRecord) {
    std::string text = "\"" + std::string(2 * reader::max_record, 'x') + "\nok,1\n";
    const auto records = read_all(text);
    ASSERT_EQ(records.size(), 2U);
    EXPECT_NE(records[0].problem.find("longer than"), std::string::npos);
    EXPECT_EQ(records[1].fields, (string_fields{"ok", "1"}));
    EXPECT_EQ(records[1].line, 2U);
}

TEST(csv_test, ReadsRecordsAcrossBlocks) {
    std::string text;
    for (int i = 0; i < 50000; ++i)
        text += std::to_string(i) + ",\"field " + std::to_string(i) + "\"\r\n";
    const auto records = read_all(text);
    ASSERT_EQ(records.size(), 50000U);
    for (int i = 0; i < 50000; ++i) {
        ASSERT_EQ(records[i].fields, (string_fields{std::to_string(i), "field " + std::to_string(i)}));
        ASSERT_EQ(records[i].line, static_cast<std::uint64_t>(i) + 1);
    }
}

TEST(csv_test, AnEmptyInputHasNoRecord) {
    EXPECT_TRUE(read_all("").empty());
}

TEST(decoder_test, ReadsWindows1252) {
    decoder decoder("WINDOWS-1252");
    std::string text = "caf\xE9 \x80 5";
    EXPECT_EQ(decoder.decode(text), "");
    EXPECT_EQ(text, "café € 5");
    text = "\x81";
    EXPECT_EQ(decoder.decode(text), "byte 0x81");
}

TEST(decoder_test, RefusesWhatIsNoUtf8) {
    decoder decoder("UTF-8");
    std::string text = "it\x92s";
    EXPECT_EQ(decoder.decode(text), "byte 0x92");
    text = "café";
    EXPECT_EQ(decoder.decode(text), "");
    EXPECT_EQ(text, "café");
    text = std::string("a\0b", 3);
    EXPECT_EQ(decoder.decode(text), "byte 0x00");
    text = "after a bad one";
    EXPECT_EQ(decoder.decode(text), "");
}

TEST(decoder_test, RefusesUnknownAndWideEncodings) {
    EXPECT_THROW(decoder("NONSENSE-9"), sor::failure);
    EXPECT_THROW(decoder("UTF-16"), sor::failure);
    EXPECT_THROW(decoder("EBCDIC-US"), sor::failure);
}

} // namespace
