#include "csv.hpp"
#include <gtest/gtest.h>
#include <sstream>
#include "failure.hpp"

namespace {

using sor::csv::Decoder;
using sor::csv::Reader;
using sor::csv::Record;

std::vector<Record> read_all(const std::string& text) {
    std::istringstream input(text);
    Reader reader(input);
    std::vector<Record> records;
    for (Record record; reader.next(record);)
        records.push_back(record);
    return records;
}

using Fields = std::vector<std::string>;

TEST(Csv, ReadsLinesOfAnyEnd) {
    const auto records = read_all("a,b\nc,d\r\ne,f\rg,h");
    ASSERT_EQ(records.size(), 4U);
    EXPECT_EQ(records[1].fields, (Fields{"c", "d"}));
    EXPECT_EQ(records[3].fields, (Fields{"g", "h"}));
    EXPECT_EQ(records[3].line, 4U);
}

TEST(Csv, ReadsQuotedSeparatorsQuotesAndLines) {
    const auto records = read_all("\"a,b\",\"say \"\"hi\"\"\",\"two\r\nlines\"\nnext,1,2\n");
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[0].fields, (Fields{"a,b", "say \"hi\"", "two\r\nlines"}));
    EXPECT_EQ(records[1].line, 3U) << "the quoted line counts";
}

TEST(Csv, SkipsTheByteOrderMarkAndKeepsEmptyFields) {
    const auto records = read_all("\xEF\xBB\xBF" "a,,\n");
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].fields, (Fields{"a", "", ""}));
}

TEST(Csv, TellsBlankLines) {
    const auto records = read_all("a\n\n , ,\nb\n");
    ASSERT_EQ(records.size(), 4U);
    EXPECT_FALSE(records[0].blank);
    EXPECT_TRUE(records[1].blank);
    EXPECT_TRUE(records[2].blank);
    EXPECT_EQ(records[3].line, 4U);
}

TEST(Csv, TakesAQuoteInsideAFieldAsItIs) {
    EXPECT_EQ(read_all("5\" pipe,x\n")[0].fields, (Fields{"5\" pipe", "x"}));
}

TEST(Csv, ABrokenQuoteCostsItsLineAlone) {
    const auto records = read_all("a,b\n\"open,b\nc,d\n\"x\"y,z\ne,f\n\"never closed\ng,h\n");
    ASSERT_EQ(records.size(), 7U);
    EXPECT_EQ(records[1].problem, "quote that is closed by text on line 4 only");
    EXPECT_EQ(records[1].line, 2U);
    EXPECT_EQ(records[2].fields, (Fields{"c", "d"}));
    EXPECT_EQ(records[3].problem, "text after a closing quote");
    EXPECT_EQ(records[4].fields, (Fields{"e", "f"}));
    EXPECT_EQ(records[4].line, 5U);
    EXPECT_EQ(records[5].problem, "quote is not closed");
    EXPECT_EQ(records[6].fields, (Fields{"g", "h"}));
}

TEST(Csv, MemoryIsBoundedByTheLongestRecord) {
    std::string text = "\"" + std::string(2 * Reader::max_record, 'x') + "\nok,1\n";
    const auto records = read_all(text);
    ASSERT_EQ(records.size(), 2U);
    EXPECT_NE(records[0].problem.find("longer than"), std::string::npos);
    EXPECT_EQ(records[1].fields, (Fields{"ok", "1"}));
    EXPECT_EQ(records[1].line, 2U);
}

TEST(Csv, ReadsRecordsAcrossBlocks) {
    std::string text;
    for (int i = 0; i < 50000; ++i)
        text += std::to_string(i) + ",\"field " + std::to_string(i) + "\"\r\n";
    const auto records = read_all(text);
    ASSERT_EQ(records.size(), 50000U);
    for (int i = 0; i < 50000; ++i) {
        ASSERT_EQ(records[i].fields, (Fields{std::to_string(i), "field " + std::to_string(i)}));
        ASSERT_EQ(records[i].line, static_cast<std::uint64_t>(i) + 1);
    }
}

TEST(Csv, AnEmptyInputHasNoRecord) { EXPECT_TRUE(read_all("").empty()); }

TEST(Decoder, ReadsWindows1252) {
    Decoder decoder("WINDOWS-1252");
    std::string text = "caf\xE9 \x80 5";
    EXPECT_EQ(decoder.decode(text), "");
    EXPECT_EQ(text, "café € 5");
    text = "\x81";
    EXPECT_EQ(decoder.decode(text), "byte 0x81");
}

TEST(Decoder, RefusesWhatIsNoUtf8) {
    Decoder decoder("UTF-8");
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

TEST(Decoder, RefusesUnknownAndWideEncodings) {
    EXPECT_THROW(Decoder("NONSENSE-9"), sor::Failure);
    EXPECT_THROW(Decoder("UTF-16"), sor::Failure);
    EXPECT_THROW(Decoder("EBCDIC-US"), sor::Failure);
}

} // namespace
