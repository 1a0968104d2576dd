#include "handler.hpp"
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace {

using namespace sor;
using namespace std::chrono_literals;
using fate = handled::fate;

// Answers each item with `body`, in which $id is the item's id.
std::string script(const std::string& body) {
    return "while IFS= read -r line; do id=${line#*'\"id\":\"'}; id=${id%%'\"'*}; " + body + "; done";
}
const std::string good = R"(echo "{\"item_id\":\"$id\",\"calls\":[]}")";

class handler_test : public ::testing::Test {
protected:
    std::vector<handled> work(const std::string& command, int count, std::chrono::milliseconds limit = 5s,
                              std::chrono::milliseconds deadline = 60s) {
        items_.clear();
        for (int i = 0; i < count; ++i)
            items_.push_back({"i" + std::to_string(i), i, 1, "{\"n\":" + std::to_string(i) + "}"});
        testing::internal::CaptureStderr();
        handler_ = std::make_unique<handler>(handler::start_options{command, limit, pass_}, log_);
        auto results = handler_->work(items_, std::chrono::steady_clock::now() + deadline, [] {});
        handler_->finish();
        errors_ = testing::internal::GetCapturedStderr();
        return results;
    }

    logger log_{"work", false, false};
    std::vector<protocol::item> items_;
    std::vector<std::string> pass_;
    std::unique_ptr<handler> handler_;
    std::string errors_;
};

TEST_F(handler_test, AnswersEveryItem) {
    const auto results = work(script(good), 200);
    for (const auto& result : results)
        ASSERT_EQ(result.state, fate::answered);
    EXPECT_FALSE(handler_->at_fault()) << errors_;
    EXPECT_EQ(errors_, "");
}

TEST_F(handler_test, AnswersMayComeInAnyOrderAndAllAtOnce) {
    const auto results = work(R"(n=0; while IFS= read -r line && [ $((n += 1)) -lt 50 ]; do :; done
        while [ $((n -= 1)) -ge 0 ]; do echo "{\"item_id\":\"i$n\",\"calls\":[]}"; done; cat >/dev/null)",
                              50);
    for (const auto& result : results)
        ASSERT_EQ(result.state, fate::answered);
    EXPECT_FALSE(handler_->at_fault()) << errors_;
}

TEST_F(handler_test, BigItemsAndAnswersDoNotBlockEachOther) {
    // Each answer is larger than a pipe holds, and so is what waits to be written.
    const auto results = work(script(R"(printf '{"item_id":"%s","error":"%0200000d"}\n' "$id" 7)"), 40);
    for (const auto& result : results)
        ASSERT_EQ(result.state, fate::declined);
    EXPECT_EQ(results[39].error.size(), 200000U);
    EXPECT_FALSE(handler_->at_fault()) << errors_;
}

TEST_F(handler_test, AnErrorIsTheItems) {
    const auto results = work(script(R"(echo "{\"item_id\":\"$id\",\"error\":\"no\"}")"), 2);
    EXPECT_EQ(results[1].state, fate::declined);
    EXPECT_EQ(results[1].error, "no");
    EXPECT_FALSE(handler_->at_fault());
}

TEST_F(handler_test, OneThatDiesIsStartedAgainForTheOthers) {
    const auto results = work(script("[ $id != i1 ] || exit 3; " + good), 4);
    EXPECT_EQ(results[0].state, fate::answered);
    EXPECT_EQ(results[1].state, fate::fault);
    EXPECT_NE(results[1].error.find("exit status 3"), std::string::npos) << results[1].error;
    EXPECT_EQ(results[2].state, fate::answered);
    EXPECT_EQ(results[3].state, fate::answered);
    EXPECT_TRUE(handler_->at_fault());
    EXPECT_FALSE(handler_->given_up());
    EXPECT_NE(errors_.find("HINT"), std::string::npos);
}

TEST_F(handler_test, OneThatNeverAnswersIsGivenUp) {
    const auto results = work("exit 3", 10);
    EXPECT_TRUE(handler_->given_up());
    EXPECT_EQ(results[2].state, fate::fault);
    EXPECT_EQ(results[3].state, fate::unworked) << "the others keep their attempts";
}

TEST_F(handler_test, ACommandThatDoesNotExistIsNoItemsFault) {
    const auto results = work("/no/such/handler", 5);
    EXPECT_TRUE(handler_->given_up());
    EXPECT_TRUE(handler_->at_fault());
    EXPECT_EQ(results[0].state, fate::unworked);
    EXPECT_NE(errors_.find("exit status 127"), std::string::npos) << errors_;
}

TEST_F(handler_test, OneThatHangsIsEndedWithAllThatItStarted) {
    const auto begin = std::chrono::steady_clock::now();
    const auto results = work(script("[ $id != i0 ] || { sleep 100 & wait; }; " + good), 3, 300ms);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
    EXPECT_EQ(results[0].state, fate::fault);
    EXPECT_NE(results[0].error.find("in time"), std::string::npos);
    EXPECT_EQ(results[1].state, fate::answered);
    EXPECT_EQ(results[2].state, fate::answered);
}

TEST_F(handler_test, PastTheDeadlineTheRestComesBackUntouched) {
    const auto results = work(script("[ $id != i1 ] || sleep 5; " + good), 3, 10s, 500ms);
    EXPECT_EQ(results[0].state, fate::answered);
    EXPECT_EQ(results[1].state, fate::unworked);
    EXPECT_EQ(results[2].state, fate::unworked);
}

TEST_F(handler_test, ASecondAnswerSpoilsItsItem) {
    const auto results = work(script(good + "; [ $id != i0 ] || " + good), 3);
    EXPECT_EQ(results[0].state, fate::fault);
    EXPECT_EQ(results[0].error, "the handler answered twice");
    EXPECT_EQ(results[1].state, fate::answered);
    EXPECT_TRUE(handler_->at_fault());
}

TEST_F(handler_test, ASecondAnswerForTheLastItemIsSeen) {
    const auto results = work(script(good + "; sleep 0.002; " + good), 3);
    EXPECT_EQ(results[2].state, fate::fault);
    EXPECT_TRUE(handler_->at_fault());
}

TEST_F(handler_test, ALineTooManyAfterTheLastAnswerIsItsFault) {
    const auto results = work(script(good) + "; echo goodbye", 1);
    EXPECT_EQ(results[0].state, fate::answered);
    EXPECT_TRUE(handler_->at_fault());
    EXPECT_NE(errors_.find("goodbye"), std::string::npos) << errors_;
}

TEST_F(handler_test, GarbageSpoilsTheItemInWork) {
    const auto results = work(script("[ $id != i1 ] || echo '{nonsense'; " + good), 3);
    EXPECT_EQ(results[0].state, fate::answered);
    EXPECT_EQ(results[1].state, fate::fault);
    EXPECT_EQ(results[2].state, fate::answered);
}

TEST_F(handler_test, AMalformedAnswerSpoilsTheItemThatItNames) {
    const auto results = work(script("if [ $id = i1 ]; then echo '{\"item_id\":\"i1\"}'; else " + good + "; fi"), 3);
    EXPECT_EQ(results[0].state, fate::answered);
    EXPECT_EQ(results[1].state, fate::fault);
    EXPECT_EQ(results[2].state, fate::answered);
}

TEST_F(handler_test, AnUnknownItemIsRefused) {
    const auto results = work(script(R"(echo '{"item_id":"other","calls":[]}')"), 1);
    EXPECT_EQ(results[0].state, fate::fault);
    EXPECT_NE(errors_.find("other"), std::string::npos);
}

TEST_F(handler_test, AFailureAtItsEndIsSaid) {
    const auto results = work(script(good) + "; exit 4", 1);
    EXPECT_EQ(results[0].state, fate::answered);
    EXPECT_TRUE(handler_->at_fault());
    EXPECT_NE(errors_.find("exit status 4"), std::string::npos);
}

TEST_F(handler_test, HasNoWayToTheDatabase) {
    for (const auto* name :
         {"PGPASSWORD", "PGSERVICEFILE", "PGPASSFILE", "DATABASE_URL", "SOR_FAULT", "API_KEY", "OTHER_KEY"})
        setenv(name, "secret", 1);
    pass_ = {"API_KEY"};
    const int secret = open("/etc/hostname", O_RDONLY); // without close-on-exec, as a caller may leave it
    ASSERT_GE(secret, 3);
    const auto results = work(
        script(
            R"(echo "{\"item_id\":\"$id\",\"error\":\"$(env | cut -d= -f1 | tr '\n' ' ')| $(readlink /proc/$$/fd/* | tr '\n' ' ')\"}")"),
        1);
    close(secret);
    ASSERT_EQ(results[0].state, fate::declined);
    const auto seen = results[0].error;
    for (const auto* name : {"PG", "DATABASE_URL", "SOR_", "OTHER_KEY"})
        EXPECT_EQ(seen.find(name), std::string::npos) << seen;
    EXPECT_NE(seen.find("API_KEY"), std::string::npos);
    EXPECT_NE(seen.find("PATH"), std::string::npos);
    EXPECT_EQ(seen.find("hostname"), std::string::npos) << seen;
}

} // namespace
