#include "migrate/files.hpp"
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

namespace {

using namespace sor::migrate;

class migrate_files_test : public testing::Test {
protected:
    migrate_files_test() {
        char path[] = "/tmp/migrate_files.XXXXXX";
        directory = mkdtemp(path);
    }
    ~migrate_files_test() override { std::filesystem::remove_all(directory); }

    void write(const std::string& name, const std::string& text) {
        std::ofstream(directory + "/" + name, std::ios::binary) << text;
    }
    directory_content read() { return read_directory(directory); }
    // `NAME:LINE: reason` of each fault, without the directory.
    std::vector<std::string> refusals() {
        std::vector<std::string> found;
        try {
            read();
        } catch (const bad_files& bad) {
            EXPECT_EQ(bad.code(), sor::exit_status::bad_data);
            for (const auto& one : bad.faults())
                found.push_back(one.path.substr(directory.size() + 1) + ":" + std::to_string(one.line) + ": " +
                                one.reason);
        }
        return found;
    }
    std::string refusal() {
        const auto all = refusals();
        return all.size() == 1 ? all[0] : std::to_string(all.size()) + " refusals";
    }

    std::string directory;
};

TEST_F(migrate_files_test, ReadsEveryScheme) {
    write("0001_first.up.sql", "create table a();\n");
    write("0001_first.down.sql", "drop table a;\n");
    write("20240102030405_second.sql",
          "-- a note\n\n-- migrate:up\ncreate table b();\n\n-- migrate:down transaction:false\ndrop table b;\n");
    write("V2__third.sql", "create table c();");
    write("U2__third.sql", "drop table c;");
    write("V2_1__without_a_way_back.sql", "create table d();");
    write("R__views.sql", "create view v as select 1;");
    write("README.md", "notes");
    write("0001_first.up.sql~", "old");
    const auto content = read();
    ASSERT_EQ(content.migrations.size(), 4U);
    EXPECT_EQ(content.not_read, std::vector<std::string>{directory + "/R__views.sql"});
    const auto& first = content.migrations[0];
    EXPECT_EQ(first.version + " " + first.name, "0001 first");
    EXPECT_EQ(first.up, "create table a();\n");
    EXPECT_EQ(first.down, "drop table a;\n");
    EXPECT_EQ(first.down_at.path, directory + "/0001_first.down.sql");
    const auto& flyway = content.migrations[1];
    EXPECT_EQ(flyway.version + " " + flyway.name, "2 third");
    EXPECT_EQ(flyway.down, "drop table c;");
    EXPECT_EQ(content.migrations[2].version, "2.1");
    EXPECT_FALSE(content.migrations[2].down);
    const auto& dbmate = content.migrations[3];
    EXPECT_EQ(dbmate.version + " " + dbmate.name, "20240102030405 second");
    EXPECT_EQ(dbmate.up, "create table b();\n\n");
    EXPECT_EQ(dbmate.up_at.line, 4U);
    EXPECT_EQ(dbmate.down, "drop table b;\n");
    EXPECT_EQ(dbmate.down_at.line, 7U);
}

TEST_F(migrate_files_test, ReadsOneMigrationByEitherFile) {
    write("0001_first.up.sql", "create table a();");
    write("0001_first.down.sql", "drop table a;");
    write("nonsense.sql", "not read for another's sake");
    for (const auto* name : {"0001_first.up.sql", "0001_first.down.sql"}) {
        const auto one = read_migration(directory + "/" + name);
        EXPECT_EQ(one.up, "create table a();");
        EXPECT_EQ(one.down, "drop table a;");
    }
    EXPECT_THROW(read_migration(directory + "/0002_second.up.sql"), bad_files);
    EXPECT_THROW(read_migration(directory + "/nonsense.sql"), bad_files);
}

TEST_F(migrate_files_test, ALineEndIsALineEnd) {
    write("0001_first.up.sql", "\xef\xbb\xbf"
                               "select 1;\r\nselect '\r';\r\n");
    write("0001_first.down.sql", " \r\n");
    const auto content = read();
    EXPECT_EQ(content.migrations.at(0).up, "select 1;\nselect '\r';\n");
    EXPECT_FALSE(content.migrations.at(0).down);
}

TEST_F(migrate_files_test, RefusesWhatIsNoText) {
    write("0001_a.up.sql", "select 1;\nselect 'caf\xe9';\n");
    write("0001_a.down.sql", std::string("select 1;\nselect 1;\nselect \0;", 29));
    write("0002_b.up.sql", "\xff\xfes\0e\0");
    write("0002_b.down.sql", "\xed\xa0\x80");
    EXPECT_EQ(refusals(), (std::vector<std::string>{"0001_a.up.sql:2: is no UTF-8 at byte 0xe9",
                                                    "0001_a.down.sql:3: has a zero byte",
                                                    "0002_b.up.sql:1: is UTF-16: write it as UTF-8",
                                                    "0002_b.down.sql:1: is no UTF-8 at byte 0xed"}));
}

TEST_F(migrate_files_test, RefusesWhatIsNoFile) {
    std::filesystem::create_directory(directory + "/0001_a.up.sql");
    write("0001_a.down.sql", "");
    EXPECT_EQ(refusal(), "0001_a.up.sql:0: is no file");
    std::filesystem::remove(directory + "/0001_a.up.sql");
    std::filesystem::create_symlink("nowhere", directory + "/0001_a.up.sql");
    EXPECT_EQ(refusal().substr(0, 17), "0001_a.up.sql:0: ");
    EXPECT_THROW(read_directory(directory + "/nowhere"), sor::failure);
}

TEST_F(migrate_files_test, RefusesAMissingHalf) {
    write("0001_a.up.sql", "select 1");
    EXPECT_EQ(refusal(), "0001_a.up.sql:0: has no .down.sql beside it: an empty one says that there is no way back");
    std::filesystem::remove(directory + "/0001_a.up.sql");
    write("0001_a.down.sql", "select 1");
    EXPECT_EQ(refusal(), "0001_a.down.sql:0: has no upgrade beside it");
}

TEST_F(migrate_files_test, RefusesTwoOfOneVersion) {
    write("0001_a.up.sql", "select 1");
    write("0001_a.down.sql", "");
    write("1_b.up.sql", "select 1");
    write("1_b.down.sql", "");
    EXPECT_EQ(refusal(), "1_b.down.sql:0: has the version of \"" + directory + "/0001_a.down.sql\"");
    std::filesystem::remove(directory + "/1_b.down.sql");
    std::filesystem::remove(directory + "/1_b.up.sql");
    write("V1__c.sql", "select 1");
    EXPECT_EQ(refusal(), "V1__c.sql:0: has the version of \"" + directory + "/0001_a.up.sql\"");
    std::filesystem::remove(directory + "/V1__c.sql");
    write("01_d.sql", "-- migrate:up\nselect 1");
    EXPECT_EQ(refusal(), "01_d.sql:0: has the version of \"" + directory + "/0001_a.down.sql\"");
}

TEST_F(migrate_files_test, RefusesHalvesOfTwoNames) {
    write("0001_a.up.sql", "select 1");
    write("0001_b.down.sql", "select 1");
    EXPECT_EQ(refusal(), "0001_b.down.sql:0: has another name than \"" + directory + "/0001_a.up.sql\"");
}

TEST_F(migrate_files_test, RefusesWhatSectionsCannotBe) {
    const auto with = [&](const std::string& text) {
        write("1_a.sql", text);
        return refusal();
    };
    EXPECT_EQ(with("select 1;\n"), "1_a.sql:1: a statement before \"-- migrate:up\"");
    EXPECT_EQ(with("-- only words\n"), "1_a.sql:0: has no line \"-- migrate:up\", nor .up or .down in its name");
    EXPECT_EQ(with("-- migrate:up\nselect 1;\n-- migrate:up\n"), "1_a.sql:3: a second \"-- migrate:up\"");
    EXPECT_EQ(with("-- migrate:down\n-- migrate:up\nselect 1;"),
              "1_a.sql:1: \"-- migrate:down\" stands before \"-- migrate:up\"");
    EXPECT_EQ(with("-- migrate:up transaction:maybe\nselect 1;"), "1_a.sql:1: unknown option \"transaction:maybe\"");
    EXPECT_EQ(with("-- migrate:up\n\n-- migrate:down\nselect 1;"), "1_a.sql:0: has an empty upgrade");
}

TEST(migrate_names_test, SaysWhatAFileIs) {
    const auto is = [](const char* name) {
        const auto parsed = parse_file_name(name);
        constexpr const char* holds[] = {"up", "down", "both", "ignored", "not_read", "misnamed"};
        return std::string(holds[static_cast<int>(parsed.holds)]) + " " + parsed.version + " " + parsed.name;
    };
    EXPECT_EQ(is("0007_add_notes.up.sql"), "up 0007 add_notes");
    EXPECT_EQ(is("1.2-3_add__notes.down.sql"), "down 1.2-3 add__notes");
    EXPECT_EQ(is("20240102030405_2_tables.sql"), "both 20240102030405 2_tables");
    EXPECT_EQ(is("V1_2.3__x.sql"), "up 1.2.3 x");
    EXPECT_EQ(is("U1__x.sql"), "down 1 x");
    EXPECT_EQ(is("R__x.sql"), "not_read  ");
    EXPECT_EQ(is("B1__x.sql"), "not_read  ");
    EXPECT_EQ(is(".0007_x.up.sql"), "ignored  ");
    EXPECT_EQ(is("README.md"), "ignored  ");
    for (const auto* name : {"V1_x.sql", "V__x.sql", "V1__.sql", "x.sql", "0007.up.sql", "0007_.up.sql", "_x.sql",
                             "0007_x.UP.SQL", "0007-.sql", "up.sql", ".up.sql.sql"})
        EXPECT_NE(is(name).find(name[0] == '.' ? "ignored" : "misnamed"), std::string::npos) << name;
}

TEST(migrate_names_test, ComparesNumberByNumber) {
    for (const auto& [less, more] : {std::pair{"9", "10"},
                                     {"0009", "10"},
                                     {"1.2", "1.10"},
                                     {"1", "1.1"},
                                     {"1.9.9", "2"},
                                     {"99999999999999999999998", "99999999999999999999999"}}) {
        EXPECT_EQ(compare_versions(less, more), -1) << less;
        EXPECT_EQ(compare_versions(more, less), 1) << less;
    }
    for (const auto& [one, same] : {std::pair{"1", "0001"}, {"1.0", "1"}, {"1_2", "1.2"}, {"2024-01-01", "2024.1.1"}})
        EXPECT_EQ(compare_versions(one, same), 0) << one;
    EXPECT_TRUE(is_version("2024-01.1_7"));
    for (const auto* no : {"", "x", "1.", ".1", "1..2", "1 "})
        EXPECT_FALSE(is_version(no)) << no;
}

} // namespace
