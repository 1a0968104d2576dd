#include "destinations/file.hpp"
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <unistd.h>
#include <csignal>

namespace {

using namespace sor;
using destinations::delivery_result;
using destinations::file_sender;

class file_test : public ::testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/sor-file-test.XXXXXX";
        close(mkstemp(name));
        path_ = name;
    }
    void TearDown() override { unlink(path_.c_str()); }

    std::string content() const {
        std::ifstream file(path_);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    std::string path_;
    db::message message_{"m1", 1, 1, "audit", "x.happened", "a1", "{\"amount\": 41.00}", "d1", 1795168800};
};

TEST_F(file_test, AppendsOneLineAMessage) {
    file_sender file({path_});
    ASSERT_EQ(file.send("t1", message_, [] {}).state, delivery_result::fate::sent);
    const auto second = file.send("t1", message_, [] {});
    EXPECT_EQ(content(), destinations::file_line("t1", message_) + destinations::file_line("t1", message_));
    EXPECT_EQ(nlohmann::json::parse(second.receipt)["offset"], destinations::file_line("t1", message_).size());
    const auto line = nlohmann::json::parse(destinations::file_line("t1", message_));
    EXPECT_EQ(line["message_id"], "m1");
    EXPECT_EQ(line["created_at"], "2026-11-20T10:00:00Z");
    EXPECT_NE(content().find("41.00"), std::string::npos);
}

TEST_F(file_test, RemovesTheLineThatAKilledWriterLeft) {
    std::ofstream(path_) << "{\"whole\":1}\n{\"message_id\":\"m";
    file_sender file({path_});
    ASSERT_EQ(file.send("t1", message_, [] {}).state, delivery_result::fate::sent);
    EXPECT_EQ(content(), "{\"whole\":1}\n" + destinations::file_line("t1", message_));
}

TEST_F(file_test, AFullDiskLeavesNoPartialLine) {
    std::ofstream(path_) << "{\"whole\":1}\n";
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{40, before.rlim_max};
    std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    file_sender file({path_});
    const auto delivery = file.send("t1", message_, [] {});
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(delivery.state, delivery_result::fate::down);
    EXPECT_NE(delivery.error.find(path_), std::string::npos);
    EXPECT_EQ(content(), "{\"whole\":1}\n");
    EXPECT_EQ(file.send("t1", message_, [] {}).state, delivery_result::fate::sent) << "and goes on when there is room";
}

TEST_F(file_test, AFolderThatIsNotThereIsDown) {
    file_sender file({"/no/such/folder/file"});
    const auto delivery = file.send("t1", message_, [] {});
    EXPECT_EQ(delivery.state, delivery_result::fate::down);
    EXPECT_NE(delivery.error.find("No such file"), std::string::npos);
}

} // namespace
